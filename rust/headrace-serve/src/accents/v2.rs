//! The Open Inference Protocol, version 2, REST.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::binary::{self, Tail};
use super::cells::Column;
use super::{array, from_columns, of_input, read};
use crate::error::Refusal;
use crate::inputs::Inputs;
use crate::json::{self, write_text, write_values};
use crate::model::{Model, Output};
use crate::tensor::{Kind, Tensor};

/// A request for predictions, read and checked.
#[derive(Debug)]
pub struct Infer {
    /// What is computed.
    pub inputs: Inputs,
    /// What the client calls the request.
    pub id: Option<String>,
    /// The outputs that it wants, in order, and whether as bytes.
    wanted: Vec<(usize, bool)>,
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
    /// Whether an output is to be bytes.
    binary_data: Option<bool>,
    /// Whether outputs are that do not say.
    binary_data_output: Option<bool>,
    /// Triton's: the greatest of an output instead of the output.
    classification: Option<u64>,
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
    parameters: Option<Parameters>,
}

const DATATYPES: [&str; 14] = [
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES",
    "BF16",
];

/// Reads a request; `tail` is what stands behind its JSON, where it says where that ends.
pub fn infer(model: &Model, text: &str, tail: &[u8]) -> Result<Infer, Refusal> {
    let document: Document<'_> = read(text)?;
    let bytes = document.parameters.as_ref().and_then(|given| given.binary_data_output).unwrap_or(false);
    let wanted = match &document.outputs {
        Some(wanted) if !wanted.is_empty() => positions(model, wanted, bytes)?,
        _ => (0..model.outputs.len()).map(|position| (position, bytes)).collect(),
    };
    let timeout = document.parameters.as_ref().and_then(|given| given.timeout);
    let timeout = timeout.filter(|timeout| *timeout > 0).map(Duration::from_micros);
    let mut tail = Tail { left: tail };
    let inputs =
        if model.takes_rows() { columns(model, &document, &mut tail) } else { tensors(model, &document, &mut tail) }?;
    if !tail.left.is_empty() {
        let left = tail.left.len();
        return Err(Refusal::Bad(format!(
            "{left} bytes of the body belong to no input: their binary_data_size is less"
        )));
    }
    Ok(Infer { inputs, id: document.id, wanted, timeout })
}

/// Reads a request that is nothing but the bytes of the only input.
pub fn raw(model: &Model, body: &[u8]) -> Result<Infer, Refusal> {
    let [port] = model.ports() else {
        let what = "a body of nothing but bytes needs a model with one input, of tensors; send an inference header";
        return Err(Refusal::Bad(what.to_owned()));
    };
    let failed = |what: &str| of_input(&port.name, what);
    let free = port.shape.iter().filter(|length| length.is_none()).count();
    let tensor = if port.kind == Kind::Text {
        // Triton's rule: the whole body is the only text.
        let text = std::str::from_utf8(body).map_err(|_| failed("the body is not UTF-8"))?;
        Tensor { shape: vec![1; port.shape.len()], data: crate::tensor::Data::Text(vec![text.to_owned()]) }
    } else {
        if free > 1 {
            return Err(failed("its shape does not follow from the number of bytes; send an inference header"));
        }
        let known = port.shape.iter().flatten().try_fold(port.kind.size(), |size, length| size.checked_mul(*length));
        let Some(known) = known.filter(|known| *known > 0 && body.len().is_multiple_of(*known)) else {
            let found = body.len();
            return Err(failed(&format!("{found} bytes are no whole number of its rows")));
        };
        let shape: Vec<usize> = port.shape.iter().map(|length| length.unwrap_or(body.len() / known)).collect();
        let count = count_of(&shape).unwrap_or_default();
        Tensor { data: binary::data(body, port.kind, count).map_err(|what| failed(&what))?, shape }
    };
    let wanted = (0..model.outputs.len()).map(|position| (position, true)).collect();
    Ok(Infer { inputs: model.tensors(vec![tensor])?, id: None, wanted, timeout: None })
}

/// The outputs that are wanted, each once: a short request must not ask for an answer without end.
fn positions(model: &Model, wanted: &[Wanted], bytes: bool) -> Result<Vec<(usize, bool)>, Refusal> {
    let mut positions: Vec<(usize, bool)> = Vec::new();
    for Wanted { name, parameters } in wanted {
        let position = position(model, name)?;
        if positions.iter().any(|(known, _)| *known == position) {
            return Err(Refusal::Bad(format!("the output '{}' is wanted twice", name.escape_debug())));
        }
        if parameters.as_ref().and_then(|given| given.classification).is_some_and(|count| count > 0) {
            let name = name.escape_debug();
            return Err(Refusal::Bad(format!("the output '{name}': the parameter 'classification' is not understood")));
        }
        positions.push((position, parameters.as_ref().and_then(|given| given.binary_data).unwrap_or(bytes)));
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

/// An input's values: JSON, or bytes.
enum Given<'a> {
    Json(&'a RawValue),
    Bytes(&'a [u8]),
}

fn data_of<'a>(input: &Input<'a>, tail: &mut Tail<'a>) -> Result<Given<'a>, Refusal> {
    let failed = |what: &str| of_input(&input.name, what);
    let size = input.parameters.as_ref().and_then(|given| given.binary_data_size);
    match (input.data, size) {
        (Some(data), None) => Ok(Given::Json(data)),
        (None, Some(size)) => tail.take(size).map(Given::Bytes).map_err(|what| failed(&what)),
        (Some(_), Some(_)) => Err(failed("it has `data` and a binary_data_size; expected one of them")),
        (None, None) => Err(failed("it has no `data`")),
    }
}

/// Tensors for the graph.
fn tensors<'a>(model: &Model, document: &Document<'a>, tail: &mut Tail<'a>) -> Result<Inputs, Refusal> {
    let mut tensors: Vec<Option<Tensor>> = model.inputs.iter().map(|_| None).collect();
    for input in &document.inputs {
        let position = model.position(&input.name).ok_or_else(|| model.unknown(&input.name))?;
        let port = &model.ports()[position];
        if input.datatype != port.kind.datatype() {
            let (found, expected) = (input.datatype.escape_debug(), port.kind.datatype());
            return Err(of_input(&input.name, &format!("its datatype is '{found}', expected {expected}")));
        }
        let shape = shape_of(input)?;
        let failed = |what: String| of_input(&input.name, &what);
        let tensor = match data_of(input, tail)? {
            Given::Json(values) => {
                let tensor = json::tensor(values.get(), port.kind).map_err(failed)?;
                let flat = tensor.shape.len() == 1 && count_of(&shape) == Some(tensor.data.len());
                if !flat && tensor.shape != shape {
                    let found = &tensor.shape;
                    return Err(failed(format!("its data has the shape {found:?}, and says {shape:?}")));
                }
                Tensor { shape, data: tensor.data }
            }
            Given::Bytes(bytes) => {
                let count = count_of(&shape)
                    .ok_or_else(|| failed(format!("the shape {shape:?} has more values than can be")))?;
                Tensor { data: binary::data(bytes, port.kind, count).map_err(failed)?, shape }
            }
        };
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
fn columns<'a>(model: &Model, document: &Document<'a>, tail: &mut Tail<'a>) -> Result<Inputs, Refusal> {
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
        let values = match data_of(input, tail)? {
            Given::Json(values) => values,
            Given::Bytes(bytes) => {
                let cells = binary::cells(bytes, &input.datatype, rows).map_err(|what| of_input(&input.name, &what))?;
                named.push((input.name.clone(), Column::Made(cells)));
                continue;
            }
        };
        let mut values = array(values, &format!("the input '{}'", input.name.escape_debug()))?;
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
        named.push((input.name.clone(), Column::Raw(values)));
    }
    from_columns(model, named, true)
}

/// An answer: JSON, and the tensors behind it that were wanted as bytes.
#[derive(Debug)]
pub struct Answer {
    /// All of it.
    pub body: Vec<u8>,
    /// Where the JSON ends, if bytes follow.
    pub header: Option<usize>,
}

/// The answer to a request.
#[must_use]
pub fn answer(model: &Model, request: &Infer, outputs: &[Output]) -> Answer {
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
    let mut tail: Option<Vec<u8>> = None;
    let wanted = request.wanted.iter().filter_map(|(position, bytes)| Some((outputs.get(*position)?, *bytes)));
    for (index, (Output { name, tensor }, bytes)) in wanted.enumerate() {
        out.extend_from_slice(if index == 0 { b"{\"name\":" } else { b",{\"name\":" });
        write_text(&mut out, name);
        out.extend_from_slice(b",\"datatype\":");
        write_text(&mut out, tensor.data.kind().datatype());
        out.extend_from_slice(format!(",\"shape\":{:?}", tensor.shape).as_bytes());
        if bytes {
            let values = binary::bytes(&tensor.data);
            out.extend_from_slice(format!(",\"parameters\":{{\"binary_data_size\":{}}}}}", values.len()).as_bytes());
            tail.get_or_insert_default().extend_from_slice(&values);
        } else {
            out.extend_from_slice(b",\"data\":[");
            write_values(&mut out, &tensor.data, 0, tensor.data.len());
            out.extend_from_slice(b"]}");
        }
    }
    out.extend_from_slice(b"]}");
    let header = tail.is_some().then_some(out.len());
    out.extend(tail.unwrap_or_default());
    Answer { body: out, header }
}

/// What the server is.
#[must_use]
pub fn server(version: &str) -> Vec<u8> {
    serde_json::json!({ "name": "headrace", "version": version, "extensions": ["binary_tensor_data"] })
        .to_string()
        .into_bytes()
}

/// What a model takes and gives, under the name that it is asked by; `versions` are there.
#[must_use]
pub fn metadata(name: &str, versions: &[&str], model: &Model) -> Vec<u8> {
    let columns = |columns: &[crate::model::Column]| -> Vec<serde_json::Value> {
        let one = |column: &crate::model::Column| serde_json::json!({ "name": column.name, "datatype": column.datatype, "shape": column.shape });
        columns.iter().map(one).collect()
    };
    let platform = if model.takes_rows() { "headrace_package" } else { "onnxruntime_onnx" };
    serde_json::json!({
        "name": name,
        "versions": versions,
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
