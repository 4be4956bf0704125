//! Many texts as one matrix.

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::ops::Range;

use rayon::ThreadPoolBuilder;
use rayon::prelude::*;

use super::{Scratch, Value, Vectorizer};
use crate::error::{Error, Result};
use crate::sparse::Csr;

/// Below this many bytes of text, waking threads costs more than it saves.
const PARALLEL_BYTES: usize = 1 << 16;
/// How many parts a thread gets, so that parts of unequal work even out.
const PARTS_A_THREAD: usize = 8;

/// Texts by number.
pub trait Documents: Sync {
    /// How many there are.
    fn count(&self) -> usize;
    /// How many bytes they have together, roughly.
    fn size(&self) -> usize;
    /// One of them; the error names the row.
    fn text(&self, row: usize) -> Result<Cow<'_, str>>;
}

impl Documents for [&str] {
    fn count(&self) -> usize {
        self.len()
    }
    fn size(&self) -> usize {
        self.iter().map(|text| text.len()).sum()
    }
    fn text(&self, row: usize) -> Result<Cow<'_, str>> {
        Ok(Cow::Borrowed(self[row]))
    }
}

impl Vectorizer {
    /// A row for each text, made by at most so many threads; the result does not depend on their number.
    pub fn matrix<T: Value>(&self, texts: &(impl Documents + ?Sized), threads: NonZeroUsize) -> Result<Csr<T>> {
        let count = texts.count();
        let threads = threads.get().min(count);
        if threads <= 1 || texts.size() < PARALLEL_BYTES {
            return self.part(texts, 0..count);
        }
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("headrace-text-{index}"))
            .build()
            .map_err(|error| Error::Threads { threads, reason: error.to_string() })?;
        let length = count.div_ceil(threads * PARTS_A_THREAD);
        let parts: Vec<Result<Csr<T>>> = pool.install(|| {
            let starts: Vec<usize> = (0..count).step_by(length).collect();
            starts.into_par_iter().map(|start| self.part(texts, start..(start + length).min(count))).collect()
        });
        // The error of the first row at fault, whichever thread was first.
        Csr::concat(parts.into_iter().collect::<Result<Vec<_>>>()?, self.columns())
    }

    fn part<T: Value>(&self, texts: &(impl Documents + ?Sized), rows: Range<usize>) -> Result<Csr<T>> {
        let mut scratch = Scratch::default();
        let mut made = Csr::new(self.columns());
        for row in rows {
            self.push(&texts.text(row)?, &mut scratch, &mut made)?;
        }
        Ok(made)
    }
}
