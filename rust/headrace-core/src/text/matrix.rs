//! Many texts as one matrix.

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::ops::Range;

use rayon::ThreadPoolBuilder;
use rayon::prelude::*;

use super::{Decoding, Scratch, Value, Vectorizer};
use crate::error::{Error, Result};
use crate::sparse::Csr;

/// A thread for less text costs more than it saves.
const PARALLEL_BYTES: usize = 1 << 16;
/// How many parts a thread gets, so that parts of unequal work even out.
const PARTS_A_THREAD: usize = 8;

/// Texts by number.
pub trait Documents: Sync {
    /// How many there are.
    fn count(&self) -> usize;
    /// How many bytes they have together, roughly.
    fn size(&self) -> usize;
    /// The bytes of one of them where they can be had without a look at them, which are no text yet.
    fn bytes(&self, row: usize) -> Option<&[u8]>;
    /// One of them; the error names the row.
    fn text(&self, row: usize) -> Result<Cow<'_, str>>;
}

/// A text as somebody else holds it.
#[derive(Debug, Clone, Copy)]
pub enum Document<'a> {
    /// A text.
    Text(&'a str),
    /// Bytes that should be UTF-8.
    Bytes(&'a [u8]),
}

impl Document<'_> {
    fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

/// Some of many documents.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    /// The documents.
    pub documents: &'a [Document<'a>],
    /// The number of the first one.
    pub first_row: usize,
    /// What happens to bytes that are no UTF-8.
    pub decoding: Decoding,
}

impl Documents for Chunk<'_> {
    fn count(&self) -> usize {
        self.documents.len()
    }
    fn size(&self) -> usize {
        self.documents.iter().map(Document::size).sum()
    }
    fn bytes(&self, row: usize) -> Option<&[u8]> {
        Some(match self.documents[row] {
            Document::Text(text) => text.as_bytes(),
            Document::Bytes(bytes) => bytes,
        })
    }
    fn text(&self, row: usize) -> Result<Cow<'_, str>> {
        match self.documents[row] {
            Document::Text(text) => Ok(Cow::Borrowed(text)),
            Document::Bytes(bytes) => self.decoding.decode(bytes).map_err(|byte| Error::NotUtf8 {
                column: None,
                row: self.first_row + row,
                byte,
            }),
        }
    }
}

impl Vectorizer {
    /// A row for each text, made by at most so many threads; the result does not depend on their number.
    pub fn matrix<T: Value>(&self, texts: &(impl Documents + ?Sized), threads: NonZeroUsize) -> Result<Csr<T>> {
        let count = texts.count();
        let threads = threads.get().min(count).min(texts.size() / PARALLEL_BYTES);
        if threads <= 1 {
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
        let mut made = Csr::new(self.columns());
        self.add(texts, rows, 0, &mut Scratch::default(), &mut made)?;
        made.shrink();
        Ok(made)
    }

    /// Appends a row for each text, without other threads, where about so many `more` are to come after these.
    pub fn append<T: Value>(
        &self,
        texts: &(impl Documents + ?Sized),
        more: usize,
        scratch: &mut Scratch,
        made: &mut Csr<T>,
    ) -> Result<()> {
        self.add(texts, 0..texts.count(), more, scratch, made)
    }

    fn add<T: Value>(
        &self,
        texts: &(impl Documents + ?Sized),
        rows: Range<usize>,
        more: usize,
        scratch: &mut Scratch,
        made: &mut Csr<T>,
    ) -> Result<()> {
        let end = rows.end;
        // After an error some may have been left.
        scratch.forget();
        for row in rows {
            let waits = texts.bytes(row).is_some_and(|bytes| self.put(bytes, scratch));
            if waits && row + 1 < end && !scratch.is_full() {
                continue;
            }
            let before = made.rows();
            self.push_waiting(scratch, made)?;
            if !waits {
                self.push(&texts.text(row)?, scratch, made)?;
            }
            made.foresee(before, (end - row - 1).saturating_add(more));
        }
        Ok(())
    }
}
