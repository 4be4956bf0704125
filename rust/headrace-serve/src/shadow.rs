//! Versions that are only tried: they compute what others were asked, and what they give is compared.
//!
//! After the answer has left, and only while no request waits for an engine. What does not fit into the queue is dropped
//! and counted: a shadow costs the others next to nothing, and may miss some.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::catalogue::Catalogue;
use crate::error::Refusal;
use crate::inputs::{Inputs, RawRows, bytes_of};
use crate::model::{Model, Output};
use crate::tensor::{Data, Tensor};

/// Requests that wait for their shadow, a worker.
const WAITING: usize = 256;
/// Bytes of them, at most, on all workers together.
const BYTES: usize = 64 << 20;
/// How long to wait before it is seen again whether somebody waits.
const PAUSE: Duration = Duration::from_millis(1);
/// Numbers differ from this on, times the greater of 1 and the answer.
const TOLERANCE: f64 = 1e-6;

/// How far a version is from those that it shadowed.
#[derive(Debug, Default)]
pub struct Difference {
    used: AtomicBool,
    compared: AtomicU64,
    different: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    numbers: AtomicU64,
    /// The bits of a float that is not negative, which have the order of the floats.
    most: AtomicU64,
    sum: AtomicU64,
}

impl Difference {
    /// Whether the version was ever a shadow.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    /// From now on it is shown.
    pub fn begin(&self) {
        self.used.store(true, Ordering::Relaxed);
    }

    /// Compares what clients got with what the shadow gave.
    pub fn compare(&self, answered: &[Output], given: &[Output]) {
        let rows = answered.first().map_or(0, |output| output.tensor.rows());
        let mut differs = vec![answered.len() != given.len(); rows];
        let (mut numbers, mut sum, mut most) = (0, 0.0, 0.0_f64);
        for Output { name, tensor } in answered {
            let Some(other) = given.iter().find(|other| other.name == *name).map(|other| &other.tensor) else {
                differs.fill(true);
                continue;
            };
            if other.shape != tensor.shape {
                differs.fill(true);
                continue;
            }
            let width = tensor.width().max(1);
            let mut note = |index: usize, apart: bool| {
                if let Some(row) = differs.get_mut(index / width) {
                    *row |= apart;
                }
            };
            let (Some(a), Some(b)) = (floats(&tensor.data), floats(&other.data)) else {
                (0..tensor.data.len()).for_each(|index| note(index, !same(&tensor.data, &other.data, index)));
                continue;
            };
            for (index, (a, b)) in a.zip(b).enumerate() {
                let difference = (a - b).abs();
                if difference.is_finite() {
                    numbers += 1;
                    sum += difference;
                    most = most.max(difference);
                }
                let equal = a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
                // A NaN is near nothing.
                let near = difference <= TOLERANCE * a.abs().max(1.0);
                note(index, !(equal || near));
            }
        }
        let different = differs.iter().filter(|differs| **differs).count();
        self.compared.fetch_add(rows as u64, Ordering::Relaxed);
        self.different.fetch_add(different as u64, Ordering::Relaxed);
        self.numbers.fetch_add(numbers, Ordering::Relaxed);
        self.most.fetch_max(most.to_bits(), Ordering::Relaxed);
        let add = |bits: u64| Some((f64::from_bits(bits) + sum).to_bits());
        // It always gives a number, so it never fails.
        let _ = self.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// The lines of each family for a version with these labels, by the family's name.
    pub(crate) fn write(&self, out: &mut String, name: &str, labels: &str) {
        let bits = |value: &AtomicU64| f64::from_bits(value.load(Ordering::Relaxed));
        let count = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let _ = match name {
            ROWS => writeln!(out, "{name}{{{labels}}} {}", count(&self.compared)),
            DIFFERENT => writeln!(out, "{name}{{{labels}}} {}", count(&self.different)),
            FAILED => writeln!(out, "{name}{{{labels}}} {}", count(&self.failed)),
            DROPPED => writeln!(out, "{name}{{{labels}}} {}", count(&self.dropped)),
            MOST => writeln!(out, "{name}{{{labels}}} {}", bits(&self.most)),
            _ => {
                let (sum, numbers) = (bits(&self.sum), count(&self.numbers));
                writeln!(out, "{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {numbers}")
            }
        };
    }
}

const ROWS: &str = "headrace_shadow_rows_total";
const DIFFERENT: &str = "headrace_shadow_different_rows_total";
const FAILED: &str = "headrace_shadow_failures_total";
const DROPPED: &str = "headrace_shadow_dropped_total";
const MOST: &str = "headrace_shadow_difference_max";
const APART: &str = "headrace_shadow_difference";

/// Name, kind and help of what is said of a shadow.
pub(crate) const FAMILIES: [(&str, &str, &str); 6] = [
    (ROWS, "counter", "Rows that a shadow computed and that were compared with the answers."),
    (DIFFERENT, "counter", "Of those, rows for which the shadow gave something else."),
    (FAILED, "counter", "Requests that a shadow could not compute."),
    (DROPPED, "counter", "Requests that a shadow did not get because it could not keep up."),
    (MOST, "gauge", "Greatest absolute difference of a number."),
    (APART, "summary", "Absolute differences of numbers."),
];

fn floats(data: &Data) -> Option<Box<dyn Iterator<Item = f64> + '_>> {
    match data {
        Data::F32(values) => Some(Box::new(values.iter().map(|value| f64::from(*value)))),
        Data::F64(values) => Some(Box::new(values.iter().copied())),
        _ => None,
    }
}

fn same(a: &Data, b: &Data, index: usize) -> bool {
    match (a, b) {
        (Data::I32(a), Data::I32(b)) => a.get(index) == b.get(index),
        (Data::I64(a), Data::I64(b)) => a.get(index) == b.get(index),
        (Data::Bool(a), Data::Bool(b)) => a.get(index) == b.get(index),
        (Data::Text(a), Data::Text(b)) => a.get(index) == b.get(index),
        _ => false,
    }
}

/// A request that was answered, and a version to be tried on it.
#[derive(Debug)]
pub struct Job {
    inputs: Inputs,
    names: Vec<String>,
    outputs: Arc<[Output]>,
    shadow: Arc<Model>,
    bytes: usize,
}

/// What waits for its shadow.
#[derive(Debug)]
pub struct Shadows {
    workers: Vec<mpsc::Sender<Job>>,
    bytes: AtomicUsize,
}

impl Shadows {
    /// For so many workers, each of which gets a receiver for [`Shadows::work`].
    #[must_use]
    pub fn new(workers: usize) -> (Self, Vec<mpsc::Receiver<Job>>) {
        let (workers, receivers) = (0..workers).map(|_| mpsc::channel(WAITING)).unzip();
        (Self { workers, bytes: AtomicUsize::new(0) }, receivers)
    }

    /// What the shadows of a request will be given, if it has any.
    #[must_use]
    pub fn kept(model: &Model, inputs: &Inputs) -> Option<Inputs> {
        if !model.is_shaded() {
            return None;
        }
        // Rows are enough: each shadow has its own plan.
        let tensors = if inputs.raw.is_some() { Vec::new() } else { inputs.tensors.clone() };
        Some(Inputs { tensors, raw: inputs.raw.clone(), table: None })
    }

    /// Has what `model` was asked computed by its shadows, too, if there is room.
    pub fn offer(&self, worker: usize, model: &Model, inputs: &Inputs, outputs: &[Output]) {
        let shadows = model.shadows();
        let outputs: Arc<[Output]> = Arc::from(outputs);
        let values = outputs.iter().map(|output| &output.tensor).chain(&inputs.tensors);
        let bytes = values.map(|tensor| tensor.data.bytes()).sum::<usize>()
            + inputs.raw.as_ref().map_or(0, RawRows::bytes)
            + inputs.table.as_ref().map_or(0, bytes_of);
        let names: Vec<String> = model.ports().iter().map(|port| port.name.clone()).collect();
        for shadow in shadows.iter() {
            let difference = Arc::clone(&shadow.metrics);
            let job = Job {
                inputs: inputs.clone(),
                names: names.clone(),
                outputs: Arc::clone(&outputs),
                shadow: Arc::clone(shadow),
                bytes,
            };
            let room = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= BYTES;
            let sent = room && self.workers.get(worker).is_some_and(|queue| queue.try_send(job).is_ok());
            if !sent {
                self.bytes.fetch_sub(bytes, Ordering::Relaxed);
                difference.shadow.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Tries shadows on what comes, whenever nothing else waits.
    pub async fn work(&self, catalogue: &Catalogue, worker: usize, mut jobs: mpsc::Receiver<Job>, limit: Duration) {
        while let Some(job) = jobs.recv().await {
            // The answer leaves first.
            tokio::task::yield_now().await;
            while catalogue.somebody_waits() {
                tokio::time::sleep(PAUSE).await;
            }
            self.bytes.fetch_sub(job.bytes, Ordering::Relaxed);
            let shadow = Arc::clone(&job.shadow);
            let difference = &shadow.metrics.shadow;
            // The columns of a table are many rows, and the event loop has others to answer.
            let (read, job) = if job.inputs.table.is_some() {
                let Ok(read) = tokio::task::spawn_blocking(move || (inputs(&job), job)).await else {
                    difference.failed.fetch_add(1, Ordering::Relaxed);
                    continue;
                };
                read
            } else {
                (inputs(&job), job)
            };
            let given = match read {
                Ok(inputs) => job.shadow.compute(worker, inputs, limit).await,
                Err(refusal) => Err(refusal),
            };
            match given {
                Ok(given) => difference.compare(&job.outputs, &given),
                Err(_) => {
                    difference.failed.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

/// What the shadow takes: rows go through its own plan, tensors are those of the same name.
fn inputs(job: &Job) -> Result<Vec<Tensor>, Refusal> {
    if let Some(table) = &job.inputs.table {
        return job.shadow.columns(table, 0, BYTES);
    }
    if job.shadow.takes_rows() {
        let rows: Vec<Cow<'_, [u8]>> = job.inputs.raw.iter().flat_map(|raw| raw.iter().map(Cow::Borrowed)).collect();
        return Ok(job.shadow.features(rows.into_iter())?.tensors);
    }
    let mut tensors = Vec::new();
    for port in job.shadow.ports() {
        let found = job.names.iter().position(|name| *name == port.name);
        let tensor =
            found.and_then(|index| job.inputs.tensors.get(index)).filter(|tensor| tensor.data.kind() == port.kind);
        tensors.push(tensor.ok_or_else(|| job.shadow.unknown(&port.name))?.clone());
    }
    Ok(job.shadow.tensors(tensors)?.tensors)
}
