//! A model and tables of many rows: how they are cut, and what a piece becomes.

use std::num::NonZeroUsize;

use arrow_array::RecordBatch;
use headrace_core::plan::Order;

use super::{Model, Work};
use crate::accents::arrow;
use crate::error::Refusal;
use crate::tensor::{Data, Tensor};

/// Features of a piece, at most, where a row has many.
const PIECE_FEATURES: usize = 1 << 22;

impl Model {
    /// Rows of a piece of a table: so many, or fewer where they are wide.
    pub(crate) fn piece(&self, most: NonZeroUsize) -> usize {
        match &*self.work {
            Work::Package(raw) => most.get().min(PIECE_FEATURES / raw.plan.outputs().len().max(1)).max(1),
            Work::Graph(_) => most.get(),
        }
    }

    /// A piece of a table, whose first row has the number `first`, as what is computed. The feature plan reads columns with
    /// the types that it reads in training; `most` are the bytes of a tensor.
    pub(crate) fn columns(&self, piece: &RecordBatch, first: usize, most: usize) -> Result<Vec<Tensor>, Refusal> {
        let raw = match &*self.work {
            Work::Package(raw) => raw,
            Work::Graph(ports) => {
                let tensors = arrow::tensors(ports, self, piece, most)?;
                self.check_shapes(&tensors)?;
                return Ok(tensors);
            }
        };
        let (rows, width) = (piece.num_rows(), raw.plan.outputs().len());
        if rows.checked_mul(width).is_none_or(|values| values > most.max(PIECE_FEATURES)) {
            let what = format!("{rows} rows that depend on each other are too many for {width} features");
            return Err(Refusal::TooLarge(what));
        }
        let features = raw
            .plan
            .matrix(&piece.schema(), std::slice::from_ref(piece), Order::RowMajor, NonZeroUsize::MIN)
            .map_err(|error| of_piece(&error, first))?;
        Ok(vec![Tensor { shape: vec![rows, width], data: Data::F32(features) }])
    }
}

/// What the plan says of a row, with the number that the row has in the request.
fn of_piece(error: &headrace_core::Error, first: usize) -> Refusal {
    let place = error.place().map(|place| match place.rsplit_once(", row ") {
        Some((column, row)) => match row.parse::<usize>() {
            Ok(row) => format!("{column}, row {}: ", first + row),
            Err(_) => format!("{place}: "),
        },
        None => format!("{place}: "),
    });
    let hint = error.hint().map(|hint| format!(" {hint}")).unwrap_or_default();
    Refusal::Bad(format!("{}{error}.{hint}", place.unwrap_or_default()))
}
