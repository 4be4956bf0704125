//! The hash of each value of a column of strings, and nothing else.

use std::collections::HashSet;
use std::num::NonZeroUsize;

use arrow_array::{Array as _, RecordBatch};
use arrow_schema::Field;

use super::column::{self, Column, Reading};
use super::{Mode, Options, Problem, cut, spread};
use crate::error::Result;

/// `MurmurHash3` of each value of the first column of `batches`, strings or bytes, as scikit-learn and Spark read it; of
/// a null, `null`, without which it is an error.
pub fn hash_column(
    field: &Field,
    batches: &[RecordBatch],
    seed: u32,
    null: Option<i32>,
    threads: NonZeroUsize,
) -> Result<Vec<i32>> {
    let options = Options { columns: 1, mode: Mode::Sklearn, signed: false, categorical: HashSet::new() };
    let (mut prepared, mut nulls, mut first_row) = (Vec::new(), Vec::new(), 0);
    column::check(&options, Reading::Tokens, field)?;
    for array in batches.iter().filter_map(|batch| batch.columns().first()) {
        let column = Column::bare(&options, field.name(), array, first_row, seed)?;
        if !column.is_flat() {
            return Err(Problem::Type { column: field.name().clone(), data_type: field.data_type().clone() }.into());
        }
        prepared.push(vec![column]);
        if let Some(bits) = array.logical_nulls().filter(|bits| bits.null_count() > 0) {
            let rows = bits.iter().enumerate().filter(|(_, valid)| !valid).map(|(row, _)| first_row + row);
            nulls.extend(rows);
        }
        first_row += array.len();
    }
    if let (Some(row), None) = (nulls.first(), null) {
        return Err(Problem::Null { column: field.name().clone(), row: *row }.into());
    }
    let mut hashes = spread(cut(&prepared, batches), threads, first_row, 1, 0, |worker, piece, out: &mut [i32]| {
        worker.keys(piece.columns, piece.rows.clone(), |_, row, key| out[row] = key.cast_signed())
    })?;
    for row in nulls {
        hashes[row] = null.unwrap_or(0);
    }
    Ok(hashes)
}
