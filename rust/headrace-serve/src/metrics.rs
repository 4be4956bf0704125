//! What Prometheus reads: counters and histograms of each version.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::{Reason, Refusal};
use crate::shadow::{Difference, FAMILIES};

const SECONDS: [f64; 12] = [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0];
const ROWS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1024.0];

/// Counts values by size.
#[derive(Debug)]
struct Histogram<const N: usize> {
    bounds: [f64; N],
    counts: [AtomicU64; N],
    count: AtomicU64,
    /// In billionths, so that it can be added to without a lock.
    sum: AtomicU64,
}

impl<const N: usize> Histogram<N> {
    fn new(bounds: [f64; N]) -> Self {
        Self { bounds, counts: [const { AtomicU64::new(0) }; N], count: AtomicU64::new(0), sum: AtomicU64::new(0) }
    }

    fn add(&self, value: f64, billionths: u64) {
        if let Some(index) = self.bounds.iter().position(|bound| value <= *bound) {
            self.counts[index].fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(billionths, Ordering::Relaxed);
    }

    fn write(&self, out: &mut String, name: &str, labels: &str) {
        let mut below = 0;
        for (bound, count) in self.bounds.iter().zip(&self.counts) {
            below += count.load(Ordering::Relaxed);
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {below}");
        }
        let count = self.count.load(Ordering::Relaxed).max(below);
        let (whole, part) =
            (self.sum.load(Ordering::Relaxed) / 1_000_000_000, self.sum.load(Ordering::Relaxed) % 1_000_000_000);
        let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}");
        let _ = writeln!(out, "{name}_sum{{{labels}}} {whole}.{part:09}");
        let _ = writeln!(out, "{name}_count{{{labels}}} {count}");
    }
}

/// What was counted since the server started.
#[derive(Debug)]
pub struct Metrics {
    labels: String,
    answered: AtomicU64,
    rows: AtomicU64,
    refused: [AtomicU64; Reason::ALL.len()],
    queue: Histogram<{ SECONDS.len() }>,
    compute: Histogram<{ SECONDS.len() }>,
    batches: Histogram<{ ROWS.len() }>,
    /// How far it is from those that it shadowed.
    pub shadow: Difference,
}

impl Metrics {
    /// Of a version of a model.
    #[must_use]
    pub fn new(model: &str, version: &str) -> Self {
        Self {
            labels: labels(model, version),
            answered: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            refused: [const { AtomicU64::new(0) }; Reason::ALL.len()],
            queue: Histogram::new(SECONDS),
            compute: Histogram::new(SECONDS),
            batches: Histogram::new(ROWS),
            shadow: Difference::default(),
        }
    }

    /// A request for predictions was answered with so many rows.
    pub fn answered(&self, rows: usize) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// A request was refused.
    pub fn refused(&self, refusal: &Refusal) {
        let reason = refusal.reason();
        if let Some(index) = Reason::ALL.iter().position(|one| *one == reason) {
            self.refused[index].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A batch was computed.
    pub fn batch(&self, rows: usize, took: Duration) {
        #[expect(clippy::cast_precision_loss, reason = "a batch has fewer than 2^52 rows")]
        self.batches.add(rows as f64, (rows as u64).saturating_mul(1_000_000_000));
        self.compute.add(took.as_secs_f64(), nanoseconds(took));
    }

    /// A request waited.
    pub fn queued(&self, waited: Duration) {
        self.queue.add(waited.as_secs_f64(), nanoseconds(waited));
    }

    /// Requests answered, rows predicted, requests refused.
    #[must_use]
    pub fn totals(&self) -> (u64, u64, u64) {
        let refused = self.refused.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        (self.answered.load(Ordering::Relaxed), self.rows.load(Ordering::Relaxed), refused)
    }

    /// Whether they are those of that version.
    #[must_use]
    pub fn are_of(&self, model: &str, version: &str) -> bool {
        self.labels == labels(model, version)
    }

    /// In Prometheus' text format 0.0.4, as if nothing else were counted.
    #[must_use]
    pub fn text(&self, waiting: (usize, usize)) -> String {
        text(&[(self, waiting)], None)
    }

    fn write_refused(&self, out: &mut String, name: &str) {
        for (reason, count) in Reason::ALL.iter().zip(&self.refused) {
            let (labels, reason, count) = (&self.labels, reason.name(), count.load(Ordering::Relaxed));
            let _ = writeln!(out, "{name}{{{labels},reason=\"{reason}\"}} {count}");
        }
    }
}

/// Writes a family's lines of a version, for which rows and bytes wait.
type Write<'a> = &'a dyn Fn(&mut String, &Metrics, (usize, usize));

/// Versions, each with the rows and bytes that wait for it, and requests that reached none, in Prometheus' text format
/// 0.0.4.
#[must_use]
pub fn text(versions: &[(&Metrics, (usize, usize))], strangers: Option<&Metrics>) -> String {
    let mut out = String::with_capacity(4096 * (versions.len() + 1));
    let mut family = |name: &str, kind: &str, help: &str, write: Write<'_>| {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (version, waiting) in versions {
            write(&mut out, version, *waiting);
        }
        if let (Some(strangers), "headrace_refusals_total") = (strangers, name) {
            write(&mut out, strangers, (0, 0));
        }
    };
    let name = "headrace_requests_total";
    family(name, "counter", "Requests answered with predictions.", &|out, of, _| {
        let _ = writeln!(out, "{name}{{{}}} {}", of.labels, of.answered.load(Ordering::Relaxed));
    });
    let name = "headrace_rows_total";
    family(name, "counter", "Rows predicted.", &|out, of, _| {
        let _ = writeln!(out, "{name}{{{}}} {}", of.labels, of.rows.load(Ordering::Relaxed));
    });
    let name = "headrace_refusals_total";
    family(name, "counter", "Requests refused, by reason.", &|out, of, _| of.write_refused(out, name));
    let name = "headrace_waiting_rows";
    family(name, "gauge", "Rows that wait for an engine.", &|out, of, waiting| {
        let _ = writeln!(out, "{name}{{{}}} {}", of.labels, waiting.0);
    });
    let name = "headrace_waiting_bytes";
    family(name, "gauge", "Bytes of inputs that wait for an engine.", &|out, of, waiting| {
        let _ = writeln!(out, "{name}{{{}}} {}", of.labels, waiting.1);
    });
    let name = "headrace_queue_seconds";
    let help = "Time from a request's parsing to the start of its batch.";
    family(name, "histogram", help, &|out, of, _| of.queue.write(out, name, &of.labels));
    let name = "headrace_compute_seconds";
    let help = "Time that a batch took in the engine.";
    family(name, "histogram", help, &|out, of, _| of.compute.write(out, name, &of.labels));
    let name = "headrace_batch_rows";
    family(name, "histogram", "Rows of a batch.", &|out, of, _| of.batches.write(out, name, &of.labels));
    if versions.iter().any(|(version, _)| version.shadow.is_used()) {
        for (name, kind, help) in FAMILIES {
            family(name, kind, help, &|out, of, _| {
                if of.shadow.is_used() {
                    of.shadow.write(out, name, &of.labels);
                }
            });
        }
    }
    out
}

fn labels(model: &str, version: &str) -> String {
    format!("model=\"{}\",version=\"{}\"", escaped(model), escaped(version))
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A label's value.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
