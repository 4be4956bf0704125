//! The Open Inference Protocol, version 2, REST.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{array, from_columns, of_input, read};
use crate::error::Refusal;
use crate::inputs::Inputs;
use crate::json::{self, write_text, write_values};
use crate::model::{Model, Output};
use crate::tensor::Tensor;

/// A request for predictions, read and checked.
#[derive(Debug)]
pub struct Infer {
    /// What is computed.
    pub inputs: Inputs,
    /// What the client calls the request.
    id: Option<String>,
    /// The outputs that it wants, in order; `None`: all.
    wanted: Option<Vec<usize>>,
    /// How long it would wait.
    pub timeout: Option<Duration>,
}

#[derive(Deserialize)]
struct Document<'a> {
    id: Option<String>,
    parameters: Option<Parameters>,
    #[serde(borrow)]
    inputs: Vec<Input<'a>>,
    outputs: Option<Vec<Wanted>>,
}

#[derive(Deserialize)]
struct Parameters {
    /// Microseconds, as Triton has it.
    timeout: Option<u64>,
    binary_data_size: Option<u64>,
}

#[derive(Deserialize)]
struct Input<'a> {
    name: String,
    shape: Vec<i64>,
    datatype: String,
    parameters: Option<Parameters>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Wanted {
    name: String,
}

/// What is said to clients that send binary tensors.
pub const NO_BINARY: &str = "binary tensors are not understood; send `data` as JSON (tritonclient: binary_data=False)";

const DATATYPES: [&str; 14] = [
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES",
    "BF16",
];

/// Reads a request.
pub fn infer(model: &Model, text: &str) -> Result<Infer, Refusal> {
    let document: Document<'_> = read(text)?;
    let wanted = match &document.outputs {
        None => None,
        Some(wanted) if wanted.is_empty() => None,
        Some(wanted) => Some(positions(model, wanted)?),
    };
    let timeout = document.parameters.as_ref().and_then(|given| given.timeout);
    let timeout = timeout.filter(|timeout| *timeout > 0).map(Duration::from_micros);
    let inputs = if model.takes_rows() { columns(model, &document) } else { tensors(model, &document) }?;
    Ok(Infer { inputs, id: document.id, wanted, timeout })
}

/// The outputs that are wanted, each once: a short request must not ask for an answer without end.
fn positions(model: &Model, wanted: &[Wanted]) -> Result<Vec<usize>, Refusal> {
    let mut positions = Vec::new();
    for Wanted { name } in wanted {
        let position = position(model, name)?;
        if positions.contains(&position) {
            return Err(Refusal::Bad(format!("the output '{}' is wanted twice", name.escape_debug())));
        }
        positions.push(position);
    }
    Ok(positions)
}

fn position(model: &Model, name: &str) -> Result<usize, Refusal> {
    let found = model.outputs.iter().position(|column| column.name == name);
    found.ok_or_else(|| {
        let names: Vec<_> = model.outputs.iter().map(|column| format!("'{}'", column.name.escape_debug())).collect();
        let (name, names) = (name.escape_debug(), names.join(", "));
        Refusal::Bad(format!("the model has no output '{name}'; it gives {names}"))
    })
}

fn shape_of(input: &Input<'_>) -> Result<Vec<usize>, Refusal> {
    let shape: Option<Vec<usize>> = input.shape.iter().map(|length| usize::try_from(*length).ok()).collect();
    shape.ok_or_else(|| of_input(&input.name, &format!("the shape {:?} has a negative length", input.shape)))
}

fn count_of(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |count, length| count.checked_mul(*length))
}

fn data_of<'a>(input: &Input<'a>) -> Result<&'a RawValue, Refusal> {
    input.data.ok_or_else(|| {
        let binary = input.parameters.as_ref().and_then(|given| given.binary_data_size).is_some();
        let what = if binary { NO_BINARY } else { "it has no `data`" };
        of_input(&input.name, what)
    })
}

/// Tensors for the graph.
fn tensors(model: &Model, document: &Document<'_>) -> Result<Inputs, Refusal> {
    let mut tensors: Vec<Option<Tensor>> = model.inputs.iter().map(|_| None).collect();
    for input in &document.inputs {
        let position = model.position(&input.name).ok_or_else(|| model.unknown(&input.name))?;
        let port = &model.ports()[position];
        if input.datatype != port.kind.datatype() {
            let (found, expected) = (input.datatype.escape_debug(), port.kind.datatype());
            return Err(of_input(&input.name, &format!("its datatype is '{found}', expected {expected}")));
        }
        let shape = shape_of(input)?;
        let mut tensor = json::tensor(data_of(input)?.get(), port.kind).map_err(|what| of_input(&input.name, &what))?;
        let flat = tensor.shape.len() == 1 && count_of(&shape) == Some(tensor.data.len());
        if !flat && tensor.shape != shape {
            let found = &tensor.shape;
            return Err(of_input(&input.name, &format!("its data has the shape {found:?}, and says {shape:?}")));
        }
        tensor.shape = shape;
        if tensors[position].replace(tensor).is_some() {
            return Err(of_input(&input.name, "it is there twice"));
        }
    }
    if let Some(position) = tensors.iter().position(Option::is_none) {
        return Err(model.missing(position));
    }
    model.tensors(tensors.into_iter().flatten().collect())
}

/// Columns for the feature plan, which says itself what is wrong with a value.
fn columns(model: &Model, document: &Document<'_>) -> Result<Inputs, Refusal> {
    let mut named = Vec::with_capacity(document.inputs.len());
    for input in &document.inputs {
        if !DATATYPES.contains(&input.datatype.as_str()) {
            let found = input.datatype.escape_debug();
            return Err(of_input(&input.name, &format!("there is no datatype '{found}'")));
        }
        let shape = shape_of(input)?;
        let rows = match shape.as_slice() {
            [rows] | [rows, 1] => *rows,
            _ => return Err(of_input(&input.name, &format!("its shape is {shape:?}, expected [rows] or [rows, 1]"))),
        };
        let mut values = array(data_of(input)?, &format!("the input '{}'", input.name.escape_debug()))?;
        if shape.len() == 2 {
            for value in &mut values {
                if value.get().starts_with('[') {
                    *value = match array(value, "a row")?.as_slice() {
                        [single] => single,
                        _ => return Err(of_input(&input.name, "a row of it has not one value")),
                    };
                }
            }
        }
        if values.len() != rows {
            let found = values.len();
            return Err(of_input(&input.name, &format!("it has {found} values, its shape says {rows}")));
        }
        named.push((input.name.clone(), values));
    }
    from_columns(model, named, true)
}

/// The answer to a request.
#[must_use]
pub fn answer(model: &Model, request: &Infer, outputs: &[Output]) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"{\"model_name\":");
    write_text(&mut out, &model.name);
    out.extend_from_slice(b",\"model_version\":");
    write_text(&mut out, &model.version);
    if let Some(id) = &request.id {
        out.extend_from_slice(b",\"id\":");
        write_text(&mut out, id);
    }
    out.extend_from_slice(b",\"outputs\":[");
    let all: Vec<&Output> = match &request.wanted {
        None => outputs.iter().collect(),
        Some(wanted) => wanted.iter().filter_map(|index| outputs.get(*index)).collect(),
    };
    for (index, Output { name, tensor }) in all.into_iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"{\"name\":" } else { b",{\"name\":" });
        write_text(&mut out, name);
        out.extend_from_slice(b",\"datatype\":");
        write_text(&mut out, tensor.data.kind().datatype());
        out.extend_from_slice(format!(",\"shape\":{:?},\"data\":[", tensor.shape).as_bytes());
        write_values(&mut out, &tensor.data, 0, tensor.data.len());
        out.extend_from_slice(b"]}");
    }
    out.extend_from_slice(b"]}");
    out
}

/// What the server is.
#[must_use]
pub fn server(version: &str) -> Vec<u8> {
    serde_json::json!({ "name": "headrace", "version": version, "extensions": [] }).to_string().into_bytes()
}

/// What the model takes and gives.
#[must_use]
pub fn metadata(model: &Model) -> Vec<u8> {
    let columns = |columns: &[crate::model::Column]| -> Vec<serde_json::Value> {
        let one = |column: &crate::model::Column| serde_json::json!({ "name": column.name, "datatype": column.datatype, "shape": column.shape });
        columns.iter().map(one).collect()
    };
    let platform = if model.takes_rows() { "headrace_package" } else { "onnxruntime_onnx" };
    serde_json::json!({
        "name": model.name,
        "versions": [model.version],
        "platform": platform,
        "inputs": columns(&model.inputs),
        "outputs": columns(&model.outputs),
    })
    .to_string()
    .into_bytes()
}

/// A state of the server, or of the model.
#[must_use]
pub fn state(name: Option<&str>, word: &str, is: bool) -> Vec<u8> {
    let mut document = serde_json::Map::new();
    if let Some(name) = name {
        document.insert("name".to_owned(), serde_json::Value::from(name));
    }
    document.insert(word.to_owned(), serde_json::Value::from(is));
    serde_json::Value::Object(document).to_string().into_bytes()
}
