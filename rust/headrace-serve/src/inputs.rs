//! What a request became: tensors for the engine, and its rows as they came, for whoever watches or tries them.

use arrow_array::{Array as _, RecordBatch};

use crate::tensor::Tensor;

/// What is computed, and what it was made from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Inputs {
    /// One for each input of the graph, in order.
    pub tensors: Vec<Tensor>,
    /// The raw rows, where the model takes such and is watched.
    pub raw: Option<RawRows>,
    /// The rows as a table, where they came as one and a shadow is tried on them.
    pub table: Option<RecordBatch>,
}

impl Inputs {
    /// How many rows are asked for.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.tensors.first().map_or(0, Tensor::rows)
    }
}

impl From<Vec<Tensor>> for Inputs {
    fn from(tensors: Vec<Tensor>) -> Self {
        Self { tensors, raw: None, table: None }
    }
}

/// About how much memory a piece of a table takes.
#[must_use]
pub fn bytes_of(piece: &RecordBatch) -> usize {
    let bytes = |column: &arrow_array::ArrayRef| column.to_data().get_slice_memory_size().unwrap_or(usize::MAX / 1024);
    piece.columns().iter().map(bytes).sum()
}

/// Rows as JSON objects of raw columns, one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawRows {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl RawRows {
    /// Appends a row.
    pub fn push(&mut self, row: &[u8]) {
        self.text.extend_from_slice(row);
        self.ends.push(self.text.len());
    }

    /// The rows, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.text[start..*end])
    }

    /// About how much memory they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.text.len() + self.ends.len() * size_of::<usize>()
    }
}
