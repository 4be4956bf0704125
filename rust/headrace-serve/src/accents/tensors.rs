//! Named tensors, as protocol v2 has them in every form, as what is computed.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::cells::Column;
use super::{array, binary, from_columns, of_input};
use crate::error::Refusal;
use crate::inputs::Inputs;
use crate::json;
use crate::model::Model;
use crate::tensor::Tensor;

const DATATYPES: [&str; 14] = [
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES",
    "BF16",
];

/// An input's values: JSON, or bytes.
#[derive(Debug)]
pub enum Values<'a> {
    /// An array, flat or nested.
    Json(&'a RawValue),
    /// See [`binary`].
    Bytes(Cow<'a, [u8]>),
}

/// A tensor as a client says it.
#[derive(Debug)]
pub struct Given<'a> {
    /// Of the input.
    pub name: &'a str,
    /// By the protocol's name.
    pub datatype: &'a str,
    /// Lengths of the axes.
    pub shape: &'a [i64],
    /// As many as the shape says, if the client is right.
    pub values: Values<'a>,
}

impl Given<'_> {
    fn lengths(&self) -> Result<Vec<usize>, Refusal> {
        let shape: Option<Vec<usize>> = self.shape.iter().map(|length| usize::try_from(*length).ok()).collect();
        shape.ok_or_else(|| self.failed(&format!("the shape {:?} has a negative length", self.shape)))
    }

    fn failed(&self, what: &str) -> Refusal {
        of_input(self.name, what)
    }
}

/// How many values a shape has.
#[must_use]
pub fn count_of(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |count, length| count.checked_mul(*length))
}

/// All that a request gives.
pub fn inputs(model: &Model, given: &[Given<'_>]) -> Result<Inputs, Refusal> {
    if model.takes_rows() { columns(model, given) } else { tensors(model, given) }
}

/// Tensors for the graph.
fn tensors(model: &Model, given: &[Given<'_>]) -> Result<Inputs, Refusal> {
    let mut tensors: Vec<Option<Tensor>> = model.inputs.iter().map(|_| None).collect();
    for input in given {
        let position = model.position(input.name).ok_or_else(|| model.unknown(input.name))?;
        let port = &model.ports()[position];
        if input.datatype != port.kind.datatype() {
            let (found, expected) = (input.datatype.escape_debug(), port.kind.datatype());
            return Err(input.failed(&format!("its datatype is '{found}', expected {expected}")));
        }
        let shape = input.lengths()?;
        let failed = |what: String| input.failed(&what);
        let tensor = match &input.values {
            Values::Json(values) => {
                let tensor = json::tensor(values.get(), port.kind).map_err(failed)?;
                let flat = tensor.shape.len() == 1 && count_of(&shape) == Some(tensor.data.len());
                if !flat && tensor.shape != shape {
                    let found = &tensor.shape;
                    return Err(failed(format!("its data has the shape {found:?}, and says {shape:?}")));
                }
                Tensor { shape, data: tensor.data }
            }
            Values::Bytes(bytes) => {
                let count = count_of(&shape)
                    .ok_or_else(|| failed(format!("the shape {shape:?} has more values than can be")))?;
                Tensor { data: binary::data(bytes, port.kind, count).map_err(failed)?, shape }
            }
        };
        if tensors[position].replace(tensor).is_some() {
            return Err(input.failed("it is there twice"));
        }
    }
    if let Some(position) = tensors.iter().position(Option::is_none) {
        return Err(model.missing(position));
    }
    model.tensors(tensors.into_iter().flatten().collect())
}

/// Columns for the feature plan, which says itself what is wrong with a value.
fn columns(model: &Model, given: &[Given<'_>]) -> Result<Inputs, Refusal> {
    let mut named = Vec::with_capacity(given.len());
    for input in given {
        if !DATATYPES.contains(&input.datatype) {
            return Err(input.failed(&format!("there is no datatype '{}'", input.datatype.escape_debug())));
        }
        let shape = input.lengths()?;
        let rows = match shape.as_slice() {
            [rows] | [rows, 1] => *rows,
            _ => return Err(input.failed(&format!("its shape is {shape:?}, expected [rows] or [rows, 1]"))),
        };
        let values = match &input.values {
            Values::Json(values) => *values,
            Values::Bytes(bytes) => {
                let cells = binary::cells(bytes, input.datatype, rows).map_err(|what| input.failed(&what))?;
                named.push((input.name.to_owned(), Column::Made(cells)));
                continue;
            }
        };
        let mut values = array(values, &format!("the input '{}'", input.name.escape_debug()))?;
        if shape.len() == 2 {
            for value in &mut values {
                if value.get().starts_with('[') {
                    *value = match array(value, "a row")?.as_slice() {
                        [single] => single,
                        _ => return Err(input.failed("a row of it has not one value")),
                    };
                }
            }
        }
        if values.len() != rows {
            let found = values.len();
            return Err(input.failed(&format!("it has {found} values, its shape says {rows}")));
        }
        named.push((input.name.to_owned(), Column::Raw(values)));
    }
    from_columns(model, named, true)
}
