//! The one place where what was predicted is looked at: after the answer was made, by a thread of its own.
//!
//! Whoever answers leaves a [`Record`] behind, which costs a lock and a push. The recorder sleeps until the first one, then
//! gives others a moment to come, and takes all that are there. When more comes than it can take, or than the bounds
//! allow, records are dropped and counted: an answer never waits for being watched.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use arrow_array::RecordBatch;

use crate::error::StartError;
use crate::inputs::RawRows;
use crate::live::Finished;
use crate::model::Output;
use crate::recorder::Recorder;
use crate::segments::LogOptions;
use crate::subject::Subject;
use crate::tensor::Tensor;

/// Rows that may wait for the recorder.
const WAITING_ROWS: usize = 131_072;
/// Bytes that may wait for the recorder.
const WAITING_BYTES: usize = 64 * 1024 * 1024;
/// How long the recorder lets records gather.
const GATHER: Duration = Duration::from_millis(20);
/// How long is waited for the recorder to hand over what it has.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is watched.
#[derive(Debug, Clone)]
pub struct WatchOptions {
    /// Length of a live window, if there are to be some; they begin at multiples of it since 1970-01-01 UTC.
    pub period: Option<Duration>,
    /// Where predictions are logged, if they are.
    pub log: Option<LogOptions>,
}

/// A request that was answered.
#[derive(Debug)]
pub struct Record {
    /// Who answered it.
    pub subject: Arc<Subject>,
    /// What it is called.
    pub id: Arc<str>,
    /// Since 1970-01-01 UTC.
    pub time: Duration,
    /// Its rows, where the model takes raw ones.
    pub raw: Option<RawRows>,
    /// The same, where it came as a table of its own.
    pub table: Vec<RecordBatch>,
    /// What the graph took, where that is what clients give.
    pub tensors: Vec<Tensor>,
    /// What it was told.
    pub outputs: Vec<Output>,
}

impl Record {
    /// How many rows it has.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.outputs.first().map_or(0, |output| output.tensor.rows())
    }

    fn bytes(&self) -> usize {
        let outputs = self.outputs.iter().map(|output| output.tensor.data.bytes()).sum::<usize>();
        let tensors = self.tensors.iter().map(|tensor| tensor.data.bytes()).sum::<usize>();
        // What the record itself and its allocations take.
        let table = self.table.iter().map(RecordBatch::get_array_memory_size).sum::<usize>();
        outputs + table + tensors + self.raw.as_ref().map_or(0, RawRows::bytes) + 256
    }
}

/// Since 1970-01-01 UTC.
#[must_use]
pub fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// What was counted about watching itself.
#[derive(Debug, Default)]
pub struct TapCounts {
    /// Rows that nobody looked at, because too many waited.
    pub dropped: AtomicU64,
    /// Rows in live windows.
    pub counted: AtomicU64,
    /// Rows that could not be counted.
    pub uncounted: AtomicU64,
    /// Rows in segments of the log.
    pub logged: AtomicU64,
    /// Rows that could not be written.
    pub unlogged: AtomicU64,
    /// Segments written.
    pub segments: AtomicU64,
    /// Segments removed, the oldest first, to make room.
    pub removed: AtomicU64,
}

impl TapCounts {
    fn rows(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }

    /// In Prometheus' text format 0.0.4.
    pub fn write(&self, out: &mut String) {
        let counters = [
            ("headrace_tap_dropped_rows_total", "Rows that were not watched: too many waited.", &self.dropped),
            ("headrace_window_rows_total", "Rows counted in live windows.", &self.counted),
            ("headrace_window_dropped_rows_total", "Rows that no live window could count.", &self.uncounted),
            ("headrace_log_rows_total", "Rows written to the prediction log.", &self.logged),
            ("headrace_log_dropped_rows_total", "Rows that the prediction log could not write.", &self.unlogged),
            ("headrace_log_segments_total", "Segments of the prediction log that were written.", &self.segments),
            ("headrace_log_removed_segments_total", "Segments removed to stay within bounds.", &self.removed),
        ];
        for (name, help, counter) in counters {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {}", Self::rows(counter));
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Record>,
    rows: usize,
    bytes: usize,
    /// Who wants all that was counted so far.
    wanted: Vec<mpsc::Sender<()>>,
    /// Who asks whether rows wait to be written to the log.
    sought: Vec<Sought>,
    closed: bool,
}

/// Rows, each by the name of its request and its number, and who wants to know of each whether it waits.
#[derive(Debug)]
pub(crate) struct Sought {
    pub(crate) rows: Vec<(String, u32)>,
    pub(crate) tell: mpsc::Sender<Vec<bool>>,
}

/// What the recorder finds when it looks.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) records: VecDeque<Record>,
    pub(crate) wanted: Vec<mpsc::Sender<()>>,
    pub(crate) sought: Vec<Sought>,
    pub(crate) closed: bool,
}

/// Where records are left, and windows fetched.
#[derive(Debug, Default)]
pub struct Tap {
    queue: Mutex<Queue>,
    awake: Condvar,
    finished: Mutex<Vec<Finished>>,
    published: Mutex<String>,
    trouble: Mutex<Option<String>>,
    counts_windows: bool,
    logs: bool,
    /// What was counted about watching.
    pub counts: TapCounts,
}

impl Tap {
    /// Whether records of a version are of any use.
    #[must_use]
    pub fn watches(&self, subject: &Subject) -> bool {
        self.logs || (self.counts_windows && subject.references.is_some())
    }

    /// Leaves a record, or drops it where too much waits.
    pub fn leave(&self, record: Record) {
        let (rows, bytes) = (record.rows(), record.bytes());
        let mut queue = locked(&self.queue);
        if queue.closed || queue.rows + rows > WAITING_ROWS || queue.bytes + bytes > WAITING_BYTES {
            drop(queue);
            self.counts.dropped.fetch_add(rows as u64, Ordering::Relaxed);
            return;
        }
        queue.rows += rows;
        queue.bytes += bytes;
        let first = queue.waiting.is_empty();
        queue.waiting.push_back(record);
        drop(queue);
        if first {
            self.awake.notify_one();
        }
    }

    /// Waits for the first record, or for `until`, then gives others a moment to come.
    pub(crate) fn take(&self, until: Option<Instant>) -> Taken {
        let hurried = |queue: &Queue| !queue.wanted.is_empty() || !queue.sought.is_empty() || queue.closed;
        let idle = |queue: &Queue| queue.waiting.is_empty() && !hurried(queue);
        let mut queue = locked(&self.queue);
        while idle(&queue) {
            let Some(until) = until else {
                queue = self.awake.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else { break };
            queue = self.awake.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let gathered = Instant::now() + GATHER;
        while !queue.waiting.is_empty() && !hurried(&queue) && queue.rows < WAITING_ROWS / 2 {
            let Some(left) = gathered.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                break;
            };
            queue = self.awake.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        queue.rows = 0;
        queue.bytes = 0;
        Taken {
            records: std::mem::take(&mut queue.waiting),
            wanted: std::mem::take(&mut queue.wanted),
            sought: std::mem::take(&mut queue.sought),
            closed: queue.closed,
        }
    }

    /// Windows that are over; with `current`, those that are not over yet as well: what comes later is in another part.
    #[must_use]
    pub fn windows(&self, current: bool) -> Vec<Finished> {
        if current {
            let (done, told) = mpsc::channel();
            let mut queue = locked(&self.queue);
            if !queue.closed {
                queue.wanted.push(done);
                drop(queue);
                self.awake.notify_one();
                // A recorder that does not answer has ended, and left what it had.
                let _ = told.recv_timeout(PATIENCE);
            }
        }
        std::mem::take(&mut *locked(&self.finished))
    }

    /// Of rows, each by the name of its request and its number, whether it waits to be written to the log.
    #[must_use]
    pub fn waits(&self, rows: Vec<(String, u32)>) -> Vec<bool> {
        let nothing = vec![false; rows.len()];
        if !self.logs {
            return nothing;
        }
        let (tell, told) = mpsc::channel();
        let mut queue = locked(&self.queue);
        if queue.closed {
            return nothing;
        }
        queue.sought.push(Sought { rows, tell });
        drop(queue);
        self.awake.notify_one();
        // A recorder that does not answer has ended, and written what it had.
        told.recv_timeout(PATIENCE).unwrap_or(nothing)
    }

    pub(crate) fn finish(&self, windows: impl IntoIterator<Item = Finished>) {
        locked(&self.finished).extend(windows);
    }

    /// What went wrong with the log since it was last asked.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        locked(&self.trouble).take()
    }

    pub(crate) fn complain(&self, reason: String) {
        locked(&self.trouble).get_or_insert(reason);
    }

    /// More to say to Prometheus, instead of what was said here before.
    pub fn publish(&self, text: String) {
        *locked(&self.published) = text;
    }

    /// Appends what Prometheus reads.
    pub fn write(&self, out: &mut String) {
        self.counts.write(out);
        out.push_str(&locked(&self.published));
    }

    fn close(&self) {
        locked(&self.queue).closed = true;
        self.awake.notify_one();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that can panic is done while one is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A tap and the thread behind it.
#[derive(Debug)]
pub struct Watcher {
    /// Where records are left.
    pub tap: Arc<Tap>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Watcher {
    /// Starts the thread. `instance` names segments of the log.
    pub fn start(options: WatchOptions, instance: &str) -> Result<Self, StartError> {
        let (counts_windows, logs) = (options.period.is_some(), options.log.is_some());
        let tap = Arc::new(Tap { counts_windows, logs, ..Tap::default() });
        let recorder = Recorder::new(Arc::clone(&tap), options, instance)?;
        let thread = std::thread::Builder::new().name("headrace-recorder".to_owned()).spawn(move || recorder.run());
        let thread = thread.map_err(|error| StartError::Threads { reason: error.to_string() })?;
        Ok(Self { tap, thread: Mutex::new(Some(thread)) })
    }

    /// Records what waits, finishes windows and segments, and ends.
    pub fn stop(&self) {
        self.tap.close();
        let thread = locked(&self.thread).take();
        if let Some(thread) = thread {
            // One that panicked has ended as well.
            let _ = thread.join();
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop();
    }
}
