//! What rows of a model take, alone and together, before it is asked.

use std::time::{Duration, Instant};

use crate::engine::Engine;
use crate::scheduler::Scheduler;
use crate::tensor::{Tensor, join};

/// Runs of each size; the quickest counts.
const RUNS: usize = 3;
/// How long is measured, about, and values of a batch.
const TIME: Duration = Duration::from_millis(100);
const VALUES: usize = 1 << 22;

/// Runs `rows` once on each engine, since the first run of a session allocates, and on the first as batches whose sizes
/// double, up to `most`.
pub(super) fn measure(engines: &mut [Box<dyn Engine>], rows: &[Tensor], most: usize, scheduler: &Scheduler) {
    let Some(one) = repeated(rows, 1) else { return };
    for engine in &mut *engines {
        // What fails here fails for whoever asks, and is told to them.
        let _ = engine.run(&one);
    }
    let Some(engine) = engines.first_mut() else { return };
    let (began, mut size) = (Instant::now(), 1);
    while size <= most && began.elapsed() < TIME {
        let values: usize = rows.iter().map(|tensor| tensor.width().saturating_mul(size)).sum();
        let Some(batch) = repeated(rows, size).filter(|_| size == 1 || values <= VALUES) else { return };
        let mut best = Duration::MAX;
        for _ in 0..RUNS {
            let start = Instant::now();
            if engine.run(&batch).is_err() {
                return;
            }
            best = best.min(start.elapsed());
            if began.elapsed() > TIME {
                break;
            }
        }
        scheduler.learn(size, best);
        size *= 2;
    }
}

/// So many rows, the same again and again.
fn repeated(rows: &[Tensor], count: usize) -> Option<Vec<Tensor>> {
    let there = rows.first().map(Tensor::rows).filter(|there| *there > 0)?;
    let all = join(&vec![rows; count.div_ceil(there)])?;
    Some(all.iter().map(|tensor| tensor.slice(0, count)).collect())
}
