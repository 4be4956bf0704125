//! The Open Inference Protocol, version 2, REST.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::binary::{self, Tail};
use super::tensors::{self, Given, Values, count_of};
use super::{Object, object, of_input};
use crate::error::Refusal;
use crate::inputs::Inputs;
use crate::json::{write_text, write_values};
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
    parameters: Option<Object<Parameters>>,
    #[serde(borrow)]
    inputs: Vec<Object<Input<'a>>>,
    outputs: Option<Vec<Object<Wanted>>>,
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
    parameters: Option<Object<Parameters>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Wanted {
    name: String,
    parameters: Option<Object<Parameters>>,
}

/// Reads a request; `tail` is what stands behind its JSON, where it says where that ends.
pub fn infer(model: &Model, text: &str, tail: &[u8]) -> Result<Infer, Refusal> {
    let document: Document<'_> = object(text, "`inputs`")?;
    let bytes = document.parameters.as_ref().and_then(|given| given.binary_data_output).unwrap_or(false);
    let wanted = match &document.outputs {
        Some(wanted) if !wanted.is_empty() => positions(model, wanted, bytes)?,
        _ => (0..model.outputs.len()).map(|position| (position, bytes)).collect(),
    };
    let timeout = document.parameters.as_ref().and_then(|given| given.timeout);
    let timeout = timeout.filter(|timeout| *timeout > 0).map(Duration::from_micros);
    let mut tail = Tail { left: tail };
    let given: Vec<Given<'_>> =
        document.inputs.iter().map(|input| given(input, &mut tail)).collect::<Result<_, Refusal>>()?;
    let inputs = tensors::inputs(model, &given)?;
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
fn positions(model: &Model, wanted: &[Object<Wanted>], bytes: bool) -> Result<Vec<(usize, bool)>, Refusal> {
    let mut positions: Vec<(usize, bool)> = Vec::new();
    for Object(Wanted { name, parameters }) in wanted {
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

pub(super) fn position(model: &Model, name: &str) -> Result<usize, Refusal> {
    let found = model.outputs.iter().position(|column| column.name == name);
    found.ok_or_else(|| {
        let names: Vec<_> = model.outputs.iter().map(|column| format!("'{}'", column.name.escape_debug())).collect();
        let (name, names) = (name.escape_debug(), names.join(", "));
        Refusal::Bad(format!("the model has no output '{name}'; it gives {names}"))
    })
}

fn given<'a>(input: &'a Input<'a>, tail: &mut Tail<'a>) -> Result<Given<'a>, Refusal> {
    let failed = |what: &str| of_input(&input.name, what);
    let size = input.parameters.as_ref().and_then(|given| given.binary_data_size);
    let values = match (input.data, size) {
        (Some(data), None) => Values::Json(data),
        (None, Some(size)) => Values::Bytes(Cow::Borrowed(tail.take(size).map_err(|what| failed(&what))?)),
        (Some(_), Some(_)) => return Err(failed("it has `data` and a binary_data_size; expected one of them")),
        (None, None) => return Err(failed("it has no `data`")),
    };
    Ok(Given { name: &input.name, datatype: &input.datatype, shape: &input.shape, values })
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

/// What the server can beside the protocol's core.
pub(super) const EXTENSIONS: [&str; 1] = ["binary_tensor_data"];

/// What the server is.
#[must_use]
pub fn server(version: &str) -> Vec<u8> {
    serde_json::json!({ "name": "headrace", "version": version, "extensions": EXTENSIONS }).to_string().into_bytes()
}

/// What a model takes and gives, under the name that it is asked by; `versions` are there.
#[must_use]
pub fn metadata(name: &str, versions: &[&str], model: &Model) -> Vec<u8> {
    let columns = |columns: &[crate::model::Column]| -> Vec<serde_json::Value> {
        let one = |column: &crate::model::Column| serde_json::json!({ "name": column.name, "datatype": column.datatype, "shape": column.shape });
        columns.iter().map(one).collect()
    };
    let platform = platform(model);
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

/// What computes a model, as protocol v2 names it.
pub(super) fn platform(model: &Model) -> &'static str {
    if model.takes_rows() { "headrace_package" } else { "onnxruntime_onnx" }
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
