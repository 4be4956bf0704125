//! The thread behind the tap: what was predicted goes into live windows and into the log.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;

use crate::columns::{self, Columns};
use crate::error::StartError;
use crate::inputs::RawRows;
use crate::live::Live;
use crate::segments::Segments;
use crate::subject::{References, Subject};
use crate::tap::{Record, Sought, Taken, Tap, WatchOptions, now};

/// Rows that are looked at together, unless one request has more.
const TOGETHER: usize = 16_384;
const HOUR: Duration = Duration::from_hours(1);

/// Turns records into columns, and hands them on.
#[derive(Debug)]
pub(crate) struct Recorder {
    tap: Arc<Tap>,
    live: Live,
    /// Whether there are live windows.
    counts: bool,
    segments: Option<Segments>,
}

/// Records of one version and one period.
struct Group {
    subject: Arc<Subject>,
    start: u64,
    rows: usize,
    records: Vec<Record>,
}

impl Recorder {
    pub(crate) fn new(tap: Arc<Tap>, options: WatchOptions, instance: &str) -> Result<Self, StartError> {
        let segments = options.log.map(|log| Segments::new(log, instance, Arc::clone(&tap))).transpose()?;
        let live = Live::new(options.period.unwrap_or(HOUR));
        Ok(Self { tap, live, counts: options.period.is_some(), segments })
    }

    /// Until the tap is closed.
    pub(crate) fn run(mut self) {
        loop {
            let Taken { records, wanted, sought, closed } = self.tap.take(self.due());
            for group in self.groups(records) {
                self.record(group);
            }
            for Sought { rows, tell } in sought {
                let waits = self.segments.as_ref().map_or_else(|| vec![false; rows.len()], |log| log.hold(&rows));
                // Who asked may have given up.
                let _ = tell.send(waits);
            }
            let everything = closed || !wanted.is_empty();
            self.tap.finish(self.live.over((!everything).then(now)));
            if let Some(segments) = &mut self.segments {
                segments.roll(Instant::now(), everything);
            }
            for done in wanted {
                // Who asked may have given up.
                let _ = done.send(());
            }
            if closed {
                return;
            }
        }
    }

    /// When there is something to do even if nobody asks for predictions.
    fn due(&self) -> Option<Instant> {
        let window = self.live.next().map(|end| Instant::now() + Duration::from_secs(end).saturating_sub(now()));
        let segment = self.segments.as_ref().and_then(Segments::due);
        [window, segment].into_iter().flatten().min()
    }

    fn groups(&self, records: VecDeque<Record>) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for record in records {
            let (start, rows) = (self.live.start_of(record.time), record.rows());
            let fits = |group: &&mut Group| {
                group.records.iter().chain([&record]).all(|one| one.table.is_empty())
                    && Arc::ptr_eq(&group.subject, &record.subject)
                    && group.start == start
                    && group.rows + rows <= TOGETHER
            };
            if let Some(group) = groups.iter_mut().rev().find(fits) {
                group.rows += rows;
                group.records.push(record);
            } else {
                groups.push(Group { subject: Arc::clone(&record.subject), start, rows, records: vec![record] });
            }
        }
        groups
    }

    fn record(&mut self, group: Group) {
        let Group { subject, start, rows, records } = group;
        let outputs = columns::of_outputs(&records).unwrap_or_default();
        let inputs = inputs_of(&subject, &records, rows);
        let references = subject.references.as_ref().filter(|_| self.counts);
        if let (Some(references), Some(inputs)) = (references, &inputs) {
            let counted = scores(references, &outputs, rows)
                .map_err(headrace_core::Error::Producer)
                .and_then(|scores| self.live.count(&subject, references, start, inputs, scores.as_ref()));
            match counted {
                Ok(()) => self.tap.counts.counted.fetch_add(rows as u64, Ordering::Relaxed),
                Err(error) => {
                    self.tap.complain(format!("live windows: {error}"));
                    self.tap.counts.uncounted.fetch_add(rows as u64, Ordering::Relaxed)
                }
            };
        }
        if let Some(segments) = &mut self.segments {
            segments.keep(&subject, &records, inputs, outputs, rows);
        }
    }
}

/// The raw columns, or the tensors that a graph took; none where they cannot be told.
fn inputs_of(subject: &Subject, records: &[Record], rows: usize) -> Option<RecordBatch> {
    if let Some(first) = records.first().and_then(|record| record.table.first()) {
        return concat_batches(&first.schema(), &records[0].table).ok();
    }
    if subject.plan.is_none() {
        return columns::batch(columns::of_tensors(records)?, rows).ok();
    }
    let raw: Option<Vec<&RawRows>> = records.iter().map(|record| record.raw.as_ref()).collect();
    subject.table(raw?.into_iter().flat_map(RawRows::iter))
}

/// The columns of what the model says that are watched, as they are called there.
fn scores(
    references: &References,
    outputs: &Columns,
    rows: usize,
) -> Result<Option<RecordBatch>, arrow_schema::ArrowError> {
    if references.scores.is_none() {
        return Ok(None);
    }
    let named = references.score_columns.iter();
    let columns = named.filter_map(|(index, name)| Some((name.clone(), Arc::clone(&outputs.get(*index)?.1)))).collect();
    columns::batch(columns, rows).map(Some)
}
