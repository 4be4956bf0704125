//! The prediction log: Arrow IPC files, each whole from the moment that it has its name.
//!
//! Rows are kept in memory until there are enough of them or some time has passed, then written under a temporary name,
//! flushed and renamed. So whatever ends the process, what is there can be read, and what is lost is the last segment.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray as _;
use arrow_array::types::UInt32Type;
use arrow_array::{ArrayRef, BooleanArray, RecordBatch, StructArray, TimestampMicrosecondArray, UInt32Array};
use arrow_ipc::writer::FileWriter;
use arrow_schema::ArrowError;
use arrow_select::concat::concat_batches;
use arrow_select::filter::filter_record_batch;
use headrace_core::murmur::murmur3;

use crate::columns::{self, Columns};
use crate::error::StartError;
use crate::subject::Subject;
use crate::tap::{Record, Tap, now};

const SUFFIX: &str = ".arrow";
const PARTIAL: &str = ".partial";
/// Nobody writes a segment for so long.
const LEFT: Duration = Duration::from_hours(1);

/// Where predictions are logged, and how many.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// The folder; it is made if it is not there.
    pub folder: PathBuf,
    /// The share of requests that are logged, 0 to 1; which ones, their identities say.
    pub sample: f64,
    /// Bytes of a segment, about.
    pub segment_bytes: usize,
    /// The time after which a segment is written however small it is.
    pub segment_time: Duration,
    /// Bytes of all segments in the folder; the oldest are removed.
    pub total_bytes: u64,
}

/// Rows of a version on the way to a segment.
#[derive(Debug)]
struct Open {
    subject: Arc<Subject>,
    batches: Vec<RecordBatch>,
    bytes: usize,
    rows: usize,
    since: Instant,
}

/// Writes segments.
#[derive(Debug)]
pub(crate) struct Segments {
    options: LogOptions,
    instance: String,
    written: u64,
    tap: Arc<Tap>,
    open: Vec<Open>,
}

impl Segments {
    pub(crate) fn new(options: LogOptions, instance: &str, tap: Arc<Tap>) -> Result<Self, StartError> {
        let made = Self { options, instance: instance.to_owned(), written: 0, tap, open: Vec::new() };
        let reason = |error: io::Error| StartError::Log {
            folder: made.options.folder.display().to_string(),
            reason: error.to_string(),
        };
        fs::create_dir_all(&made.options.folder).and_then(|()| clean(&made.options.folder)).map_err(reason)?;
        Ok(made)
    }

    /// Keeps rows for the next segment.
    pub(crate) fn keep(
        &mut self,
        subject: &Arc<Subject>,
        records: &[Record],
        inputs: Option<RecordBatch>,
        outputs: Columns,
        rows: usize,
    ) {
        let batch = match self.sampled(subject, records, inputs, outputs, rows) {
            Ok(batch) if batch.num_rows() == 0 => return,
            Ok(batch) => batch,
            Err(error) => return self.lost(rows, &error.to_string()),
        };
        let same = |open: &Open| {
            Arc::ptr_eq(&open.subject, subject)
                && open.batches.first().is_none_or(|first| first.schema() == batch.schema())
        };
        let position = self.open.iter().position(same).unwrap_or_else(|| {
            let subject = Arc::clone(subject);
            self.open.push(Open { subject, batches: Vec::new(), bytes: 0, rows: 0, since: Instant::now() });
            self.open.len() - 1
        });
        let open = &mut self.open[position];
        open.rows += batch.num_rows();
        open.bytes += batch.get_array_memory_size();
        open.batches.push(batch);
        if open.bytes >= self.options.segment_bytes {
            let full = self.open.swap_remove(position);
            self.write(&full);
        }
    }

    /// Of rows, each by the name of its request and its number, whether it is kept here.
    pub(crate) fn hold(&self, rows: &[(String, u32)]) -> Vec<bool> {
        let mut found = vec![false; rows.len()];
        let mut places: HashMap<(&str, u32), Vec<usize>> = HashMap::new();
        for (place, (name, row)) in rows.iter().enumerate() {
            places.entry((name, *row)).or_default().push(place);
        }
        for batch in self.open.iter().flat_map(|open| &open.batches) {
            let names = batch.column(0).as_string_opt::<i32>();
            let numbers = batch.column(1).as_primitive_opt::<UInt32Type>();
            let Some((names, numbers)) = names.zip(numbers) else { continue };
            for (name, number) in names.iter().flatten().zip(numbers.values()) {
                for place in places.get(&(name, *number)).into_iter().flatten() {
                    found[*place] = true;
                }
            }
        }
        found
    }

    /// When the oldest rows are to be written.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.open.iter().map(|open| open.since + self.options.segment_time).min()
    }

    /// Writes what is due, or everything.
    pub(crate) fn roll(&mut self, now: Instant, everything: bool) {
        let (due, open) = std::mem::take(&mut self.open)
            .into_iter()
            .partition::<Vec<_>, _>(|open| everything || open.since + self.options.segment_time <= now);
        self.open = open;
        for open in &due {
            self.write(open);
        }
    }

    /// The rows of requests that are logged.
    fn sampled(
        &self,
        subject: &Subject,
        records: &[Record],
        inputs: Option<RecordBatch>,
        outputs: Columns,
        rows: usize,
    ) -> Result<RecordBatch, ArrowError> {
        let mut ids = StringBuilder::new();
        let (mut numbers, mut times, mut chosen) = (Vec::new(), Vec::new(), Vec::new());
        for record in records {
            let wanted = is_sampled(&record.id, self.options.sample);
            let time = i64::try_from(record.time.as_micros()).unwrap_or(i64::MAX);
            for row in 0..record.rows() {
                ids.append_value(&record.id);
                numbers.push(u32::try_from(row).unwrap_or(u32::MAX));
                times.push(time);
                chosen.push(wanted);
            }
        }
        let constant = |text: &str| -> ArrayRef {
            let mut column = StringBuilder::new();
            (0..rows).for_each(|_| column.append_value(text));
            Arc::new(column.finish())
        };
        let mut all: Columns = vec![
            ("request_id".to_owned(), Arc::new(ids.finish())),
            ("row".to_owned(), Arc::new(UInt32Array::from(numbers))),
            ("time".to_owned(), Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))),
            ("model".to_owned(), constant(&subject.model)),
            ("version".to_owned(), constant(&subject.version)),
        ];
        if let Some(inputs) = inputs.filter(|inputs| inputs.num_columns() > 0) {
            all.push(("inputs".to_owned(), Arc::new(StructArray::from(inputs))));
        }
        if !outputs.is_empty() {
            all.push(("outputs".to_owned(), Arc::new(StructArray::from(columns::batch(outputs, rows)?))));
        }
        let batch = columns::batch(all, rows)?;
        if chosen.iter().all(|chosen| *chosen) {
            return Ok(batch);
        }
        filter_record_batch(&batch, &BooleanArray::from(chosen))
    }

    fn write(&mut self, open: &Open) {
        // Sorted by name they are sorted by time.
        let name = format!("{:016}-{}-{}{SUFFIX}", now().as_micros(), self.instance, self.written);
        self.written += 1;
        match write_whole(&self.options.folder, &name, &open.batches) {
            Ok(()) => {
                self.tap.counts.logged.fetch_add(open.rows as u64, Ordering::Relaxed);
                self.tap.counts.segments.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => self.lost(open.rows, &error.to_string()),
        }
        if let Err(error) = self.make_room() {
            self.tap.complain(format!("prediction log {}: {error}", self.options.folder.display()));
        }
    }

    fn lost(&self, rows: usize, reason: &str) {
        self.tap.counts.unlogged.fetch_add(rows as u64, Ordering::Relaxed);
        self.tap.complain(format!("prediction log {}: {reason}", self.options.folder.display()));
    }

    /// Removes the oldest segments until what is left is within bounds.
    fn make_room(&self) -> io::Result<()> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(&self.options.folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().ends_with(SUFFIX) {
                // Another server may have removed it just now.
                if let Ok(about) = entry.metadata() {
                    segments.push((entry.path(), about.len()));
                }
            }
        }
        segments.sort_unstable();
        let mut total: u64 = segments.iter().map(|(_, size)| size).sum();
        for (path, size) in segments {
            if total <= self.options.total_bytes {
                break;
            }
            total -= size;
            match fs::remove_file(path) {
                Ok(()) => {
                    self.tap.counts.removed.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whether a request is among the share that is logged: all servers say the same of it.
#[must_use]
pub fn is_sampled(id: &str, share: f64) -> bool {
    f64::from(murmur3(id.as_bytes(), 0).cast_unsigned()) < share * 4_294_967_296.0
}

fn write_whole(folder: &Path, name: &str, batches: &[RecordBatch]) -> Result<(), ArrowError> {
    let Some(first) = batches.first() else { return Ok(()) };
    // It may have been removed since the start.
    fs::create_dir_all(folder)?;
    let temporary = folder.join(format!(".{name}{PARTIAL}"));
    let written = write_file(&temporary, &concat_batches(&first.schema(), batches)?)
        .and_then(|()| Ok(fs::rename(&temporary, folder.join(name))?));
    if written.is_err() {
        // What is half written is of no use; it may not be there at all.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Removes what a server that was killed left half written.
fn clean(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let old = |time: SystemTime| time.elapsed().is_ok_and(|age| age > LEFT);
        if entry.file_name().to_string_lossy().ends_with(PARTIAL) && entry.metadata()?.modified().is_ok_and(old) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn write_file(path: &Path, batch: &RecordBatch) -> Result<(), ArrowError> {
    let mut writer = FileWriter::try_new(BufWriter::new(File::create_new(path)?), &batch.schema())?;
    writer.write(batch)?;
    writer.finish()?;
    let file = writer.into_inner()?.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
    file.sync_data()?;
    Ok(())
}
