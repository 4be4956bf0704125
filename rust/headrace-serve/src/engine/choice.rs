//! Which engine computes: the one that was measured to be faster, if both say the same.

use std::time::{Duration, Instant};

use super::Engine;
use super::native::Native;
use super::onnx::{OnnxEngine, Runtime};
use crate::error::StartError;
use crate::tensor::Data;

/// Rows with which both engines are compared, and up to which they are timed.
const ROWS: usize = 512;
/// Sizes of a batch at which they are timed.
const SIZES: [usize; 4] = [1, 8, 64, ROWS];
/// Each is timed until this is over, and at least so often; the quickest run counts.
const TIMED: Duration = Duration::from_millis(2);
const RUNS: usize = 3;
/// How far apart they may be: in parts of the value, or of one where it is smaller. ONNX Runtime adds the trees of others'
/// exporters up in float32; ours are added exactly, and only the last bit of a transformation may differ.
const TOLERANCE: f64 = 1e-5;

/// What shall compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Whatever is faster.
    Quicker,
    /// ONNX Runtime.
    Onnx,
    /// The trees; a graph that is something else is refused.
    Trees,
}

/// An engine for each worker.
pub(crate) fn engines(
    runtime: &Runtime,
    onnx: &[u8],
    workers: usize,
    wanted: Wanted,
) -> Result<Vec<Box<dyn Engine>>, StartError> {
    let mut first = runtime.session(onnx)?;
    let native = match wanted {
        Wanted::Onnx => None,
        _ => Native::read(onnx, first.inputs(), first.outputs()).filter(|native| agree(native, &mut first)),
    };
    // One for all sizes of a batch: what a row is told must not depend on who asks at the same time, not even in its
    // last bit.
    let quicker = |native: &Native| SIZES.iter().all(|rows| is_faster(native, &mut first, *rows));
    let native = match wanted {
        Wanted::Trees => Some(native.ok_or_else(|| StartError::Model {
            reason:
                "the engine 'trees' was asked for, and the graph is not one tree ensemble that it can walk".to_owned(),
        })?),
        _ => native.filter(quicker),
    };
    if let Some(native) = native {
        return Ok((0..workers).map(|_| Box::new(native.clone()) as Box<dyn Engine>).collect());
    }
    let mut engines: Vec<Box<dyn Engine>> = vec![Box::new(first)];
    for _ in 1..workers {
        engines.push(Box::new(runtime.session(onnx)?));
    }
    Ok(engines)
}

/// Whether both say the same of rows that are hard to decide.
fn agree(native: &Native, onnx: &mut OnnxEngine) -> bool {
    let rows = [native.hard_rows(ROWS)];
    let (Ok(ours), Ok(theirs)) = (native.clone().run(&rows), onnx.run(&rows)) else { return false };
    let same = |ours: f64, theirs: f64| {
        ours.to_bits() == theirs.to_bits()
            || (ours.is_nan() && theirs.is_nan())
            || (ours - theirs).abs() <= TOLERANCE * theirs.abs().max(1.0)
    };
    ours.len() == theirs.len()
        && ours.iter().zip(&theirs).all(|(ours, theirs)| {
            ours.shape == theirs.shape
                && match (&ours.data, &theirs.data) {
                    (Data::F32(a), Data::F32(b)) => a.iter().zip(b).all(|(a, b)| same(f64::from(*a), f64::from(*b))),
                    (Data::F64(a), Data::F64(b)) => a.iter().zip(b).all(|(a, b)| same(*a, *b)),
                    _ => false,
                }
        })
}

fn is_faster(native: &Native, onnx: &mut OnnxEngine, rows: usize) -> bool {
    let rows = [native.hard_rows(ROWS).slice(0, rows)];
    let quickest = |engine: &mut dyn Engine| {
        let (began, mut best, mut runs) = (Instant::now(), Duration::MAX, 0);
        while runs < RUNS || began.elapsed() < TIMED {
            let start = Instant::now();
            if engine.run(&rows).is_err() {
                return Duration::MAX;
            }
            best = best.min(start.elapsed());
            runs += 1;
        }
        best
    };
    quickest(&mut native.clone()) < quickest(onnx)
}
