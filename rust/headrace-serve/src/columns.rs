//! What was asked and answered, as columns of Arrow.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch, RecordBatchOptions,
    StringArray,
};
use arrow_schema::{ArrowError, Field, Fields, Schema};

use crate::tap::Record;
use crate::tensor::{Data, Tensor, join};

/// Values of a row of a tensor that are kept, at most, each as a column.
pub(crate) const WIDEST: usize = 256;

/// Columns by name, all of the same length.
pub(crate) type Columns = Vec<(String, ArrayRef)>;

/// What records were told, one below the other; none where they differ in shape.
pub(crate) fn of_outputs(records: &[Record]) -> Option<Columns> {
    let first = records.first()?;
    let below = |index: usize| {
        let parts: Option<Vec<&[Tensor]>> =
            records.iter().map(|record| Some(std::slice::from_ref(&record.outputs.get(index)?.tensor))).collect();
        join(&parts?)?.pop()
    };
    let columns = first.outputs.iter().enumerate().map(|(index, output)| Some(flat(&output.name, &below(index)?)));
    Some(columns.collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
}

/// What graphs took, one below the other; nothing of what is wide or was not kept.
pub(crate) fn of_tensors(records: &[Record]) -> Option<Columns> {
    let first = records.first()?;
    let parts: Vec<&[Tensor]> = records.iter().map(|record| record.tensors.as_slice()).collect();
    let joined = join(&parts)?;
    let columns = first.subject.inputs.iter().zip(&joined).flat_map(|(name, tensor)| flat(name, tensor));
    Some(columns.collect())
}

/// One column for each value of a row; none where that would be too many.
fn flat(name: &str, tensor: &Tensor) -> Columns {
    let width = tensor.width();
    if tensor.shape.len() < 2 || width == 1 {
        return vec![(name.to_owned(), array(&tensor.data, 0, 1))];
    }
    if width > WIDEST {
        return Vec::new();
    }
    (0..width).map(|index| (format!("{name}_{index}"), array(&tensor.data, index, width))).collect()
}

/// Every `step`th value from `first` on.
fn array(data: &Data, first: usize, step: usize) -> ArrayRef {
    fn some<T: Clone>(values: &[T], first: usize, step: usize) -> impl Iterator<Item = T> {
        values.iter().skip(first).step_by(step).cloned()
    }
    match data {
        Data::F32(values) => Arc::new(Float32Array::from_iter_values(some(values, first, step))),
        Data::F64(values) => Arc::new(Float64Array::from_iter_values(some(values, first, step))),
        Data::I32(values) => Arc::new(Int32Array::from_iter_values(some(values, first, step))),
        Data::I64(values) => Arc::new(Int64Array::from_iter_values(some(values, first, step))),
        Data::Bool(values) => Arc::new(some(values, first, step).map(Some).collect::<BooleanArray>()),
        Data::Text(values) => Arc::new(StringArray::from_iter_values(some(values, first, step))),
    }
}

/// Named columns as a batch of so many rows.
pub(crate) fn batch(columns: Columns, rows: usize) -> Result<RecordBatch, ArrowError> {
    let field = |(name, column): &(String, ArrayRef)| Field::new(name, column.data_type().clone(), true);
    let fields: Fields = columns.iter().map(field).collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
}
