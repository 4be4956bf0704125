//! Live windows: rows counted on the bins of the version that predicted them, by period.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use headrace_core::profile::{Threads, Window};

use crate::subject::{References, Subject};

/// Rows of a period that were counted.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Name of the model.
    pub model: String,
    /// Its version.
    pub version: String,
    /// Start of the period, seconds since 1970-01-01 UTC.
    pub start: u64,
    /// Length of the period, seconds.
    pub period: u64,
    /// The how manieth window that this server hands over: each is handed over once.
    pub part: u64,
    /// How many rows.
    pub rows: u64,
    /// Counts of the inputs, as `Window::to_bytes` writes them.
    pub inputs: Vec<u8>,
    /// Counts of the scores; empty without.
    pub scores: Vec<u8>,
}

#[derive(Debug)]
struct Counted {
    inputs: Window,
    scores: Option<Window>,
}

/// The windows that are not over.
#[derive(Debug)]
pub(crate) struct Live {
    period: u64,
    parts: u64,
    threads: Threads,
    open: BTreeMap<u64, Vec<(Arc<Subject>, Counted)>>,
}

impl Live {
    pub(crate) fn new(period: Duration) -> Self {
        let threads = Threads::new(NonZeroUsize::MIN);
        Self { period: period.as_secs().max(1), parts: 0, threads, open: BTreeMap::new() }
    }

    /// The start of the period of a moment, in seconds.
    pub(crate) fn start_of(&self, time: Duration) -> u64 {
        time.as_secs() / self.period * self.period
    }

    /// Counts rows of a period, all of them or none.
    pub(crate) fn count(
        &mut self,
        subject: &Arc<Subject>,
        references: &References,
        start: u64,
        inputs: &RecordBatch,
        scores: Option<&RecordBatch>,
    ) -> headrace_core::Result<()> {
        let counted = Counted {
            inputs: counted(references.inputs.window(), inputs, &mut self.threads)?,
            scores: match (&references.scores, scores) {
                (Some(profile), Some(batch)) => Some(counted(profile.window(), batch, &mut self.threads)?),
                _ => None,
            },
        };
        let open = self.open.entry(start).or_default();
        let Some((_, all)) = open.iter_mut().find(|(known, _)| Arc::ptr_eq(known, subject)) else {
            open.push((Arc::clone(subject), counted));
            return Ok(());
        };
        all.inputs.absorb(&counted.inputs)?;
        match (&mut all.scores, &counted.scores) {
            (Some(scores), Some(more)) => scores.absorb(more),
            _ => Ok(()),
        }
    }

    /// When the first window is over, in seconds.
    pub(crate) fn next(&self) -> Option<u64> {
        self.open.keys().next().map(|start| start + self.period)
    }

    /// The windows of periods that ended before `now`; all of them with `None`.
    pub(crate) fn over(&mut self, now: Option<Duration>) -> Vec<Finished> {
        let mut finished = Vec::new();
        while let Some(entry) = self.open.first_entry() {
            let start = *entry.key();
            if now.is_some_and(|now| now.as_secs() < start + self.period) {
                break;
            }
            for (subject, counted) in entry.remove() {
                finished.push(Finished {
                    model: subject.model.clone(),
                    version: subject.version.clone(),
                    start,
                    period: self.period,
                    part: self.parts,
                    rows: counted.inputs.rows(),
                    inputs: counted.inputs.to_bytes(),
                    scores: counted.scores.map_or_else(Vec::new, |scores| scores.to_bytes()),
                });
                self.parts += 1;
            }
        }
        finished
    }
}

/// The rows of a batch in a window, which was empty.
fn counted(mut window: Window, batch: &RecordBatch, threads: &mut Threads) -> headrace_core::Result<Window> {
    let reader = window.reader(&batch.schema(), true)?;
    window.update(batch, &reader, threads)?;
    Ok(window)
}
