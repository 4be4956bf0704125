//! The Open Inference Protocol, version 2, as gRPC has it: messages to what is computed, and back.

pub(crate) mod messages;

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use hyper::body::Bytes;
use prost::Message as _;
use prost::encoding::{DecodeContext, decode_key, skip_field};

use self::messages::{Choice, Contents, InferRequest, InferResponse, ModelMetadata, Parameter, ServerMetadata, Wanted};
use self::messages::{Tensor as Said, TensorMetadata};
use super::tensors::{self, Given, Values};
use super::{binary, of_input, v2};
use crate::error::Refusal;
use crate::inputs::Inputs;
use crate::model::{Column, Model, Output};
use crate::tensor::Data;

/// Fields of a request, at most: a short message of many empty ones would take many times its length.
const FIELDS: usize = 65_536;

/// A request for predictions, read and checked.
#[derive(Debug)]
pub(crate) struct Infer {
    pub(crate) inputs: Inputs,
    /// How long it would wait, by its parameters.
    pub(crate) timeout: Option<Duration>,
    pub(crate) id: String,
    wanted: Vec<usize>,
    /// Whether its tensors are bytes, as are then those of the answer.
    raw: bool,
}

/// A message, if it is one.
pub(crate) fn read<M: prost::Message + Default>(message: Bytes) -> Result<M, Refusal> {
    let wrong = |error: prost::DecodeError| Refusal::Bad(format!("the message cannot be read: {error}"));
    let mut left = message.clone();
    let mut fields = 0;
    while !left.is_empty() {
        let (tag, wire) = decode_key(&mut left).map_err(wrong)?;
        skip_field(wire, tag, &mut left, DecodeContext::default()).map_err(wrong)?;
        fields += 1;
        if fields > FIELDS {
            return Err(Refusal::Bad(format!("the message has more than {FIELDS} fields")));
        }
    }
    M::decode(message).map_err(wrong)
}

/// What a request asks of a model.
pub(crate) fn infer(model: &Model, request: &InferRequest) -> Result<Infer, Refusal> {
    let raw = !request.raw.is_empty();
    if raw && request.inputs.iter().any(|input| input.contents.is_some()) {
        let what = "the request has raw_input_contents and contents of an input; expected one of them";
        return Err(Refusal::Bad(what.to_owned()));
    }
    if raw && request.raw.len() != request.inputs.len() {
        let (found, expected) = (request.raw.len(), request.inputs.len());
        let what = format!("the request has {found} raw_input_contents and {expected} inputs; expected as many");
        return Err(Refusal::Bad(what));
    }
    let mut given = Vec::with_capacity(request.inputs.len());
    for (number, input) in request.inputs.iter().enumerate() {
        let bytes = match request.raw.get(number) {
            Some(bytes) => Cow::Borrowed(&**bytes),
            None => Cow::Owned(packed(input)?),
        };
        let values = Values::Bytes(bytes);
        given.push(Given { name: &input.name, datatype: &input.datatype, shape: &input.shape, values });
    }
    let timeout = match number(&request.parameters, "timeout") {
        None | Some(0) => None,
        Some(micros) => Some(Duration::from_micros(micros)),
    };
    let wanted = wanted(model, &request.outputs)?;
    Ok(Infer { inputs: tensors::inputs(model, &given)?, timeout, id: request.id.clone(), wanted, raw })
}

fn number(parameters: &HashMap<String, Parameter>, name: &str) -> Option<u64> {
    match parameters.get(name)?.choice.as_ref()? {
        Choice::Int64(value) => u64::try_from(*value).ok(),
        Choice::Uint64(value) => Some(*value),
        Choice::Bool(_) | Choice::Text(_) | Choice::Double(_) => None,
    }
}

fn wanted(model: &Model, outputs: &[Wanted]) -> Result<Vec<usize>, Refusal> {
    if outputs.is_empty() {
        return Ok((0..model.outputs.len()).collect());
    }
    let mut positions = Vec::new();
    for Wanted { name, parameters } in outputs {
        let position = v2::position(model, name)?;
        if positions.contains(&position) {
            return Err(Refusal::Bad(format!("the output '{}' is wanted twice", name.escape_debug())));
        }
        if number(parameters, "classification").is_some_and(|count| count > 0) {
            let name = name.escape_debug();
            return Err(Refusal::Bad(format!("the output '{name}': the parameter 'classification' is not understood")));
        }
        positions.push(position);
    }
    Ok(positions)
}

/// Typed contents as the bytes that they would be; that there are as many as the shape says is found there.
fn packed(input: &Said) -> Result<Vec<u8>, Refusal> {
    fn of<T: Copy, const SIZE: usize>(values: &[T], to: impl Fn(T) -> [u8; SIZE]) -> Vec<u8> {
        values.iter().flat_map(|value| to(*value)).collect()
    }
    fn narrow<T: Copy + std::fmt::Display, N: TryFrom<T>, const SIZE: usize>(
        input: &Said,
        values: &[T],
        to: impl Fn(N) -> [u8; SIZE],
    ) -> Result<Vec<u8>, Refusal> {
        let mut out = Vec::with_capacity(values.len() * SIZE);
        for value in values {
            let narrowed = N::try_from(*value).map_err(|_| {
                of_input(&input.name, &format!("holds {value}, expected {}", input.datatype.escape_debug()))
            })?;
            out.extend_from_slice(&to(narrowed));
        }
        Ok(out)
    }
    let nothing = Contents::default();
    let contents = input.contents.as_ref().unwrap_or(&nothing);
    Ok(match input.datatype.as_str() {
        "BOOL" => contents.bools.iter().map(|value| u8::from(*value)).collect(),
        "INT8" => narrow(input, &contents.ints, i8::to_le_bytes)?,
        "INT16" => narrow(input, &contents.ints, i16::to_le_bytes)?,
        "INT32" => of(&contents.ints, i32::to_le_bytes),
        "INT64" => of(&contents.longs, i64::to_le_bytes),
        "UINT8" => narrow(input, &contents.unsigned_ints, u8::to_le_bytes)?,
        "UINT16" => narrow(input, &contents.unsigned_ints, u16::to_le_bytes)?,
        "UINT32" => of(&contents.unsigned_ints, u32::to_le_bytes),
        "UINT64" => of(&contents.unsigned_longs, u64::to_le_bytes),
        "FP32" => of(&contents.floats, f32::to_le_bytes),
        "FP64" => of(&contents.doubles, f64::to_le_bytes),
        "BYTES" => {
            let mut out = Vec::with_capacity(contents.texts.iter().map(|text| text.len() + 4).sum());
            for text in &contents.texts {
                let length =
                    u32::try_from(text.len()).map_err(|_| of_input(&input.name, "a text of it is too long"))?;
                out.extend_from_slice(&length.to_le_bytes());
                out.extend_from_slice(text);
            }
            out
        }
        // The name of the datatype is checked with the others'.
        _ => Vec::new(),
    })
}

/// The answer to a request.
pub(crate) fn answer(model: &Model, infer: Infer, outputs: &[Output]) -> Vec<u8> {
    let mut response = InferResponse {
        model_name: model.name.clone(),
        model_version: model.version.clone(),
        id: infer.id,
        ..InferResponse::default()
    };
    for Output { name, tensor } in infer.wanted.into_iter().filter_map(|position| outputs.get(position)) {
        let shape = tensor.shape.iter().map(|length| i64::try_from(*length).unwrap_or(i64::MAX)).collect();
        let datatype = tensor.data.kind().datatype().to_owned();
        let mut said = Said { name: name.to_string(), datatype, shape, ..Said::default() };
        if infer.raw {
            response.raw.push(binary::bytes(&tensor.data));
        } else {
            said.contents = Some(contents(&tensor.data));
        }
        response.outputs.push(said);
    }
    response.encode_to_vec()
}

fn contents(data: &Data) -> Contents {
    let mut contents = Contents::default();
    match data {
        Data::F32(values) => contents.floats.clone_from(values),
        Data::F64(values) => contents.doubles.clone_from(values),
        Data::I32(values) => contents.ints.clone_from(values),
        Data::I64(values) => contents.longs.clone_from(values),
        Data::Bool(values) => contents.bools.clone_from(values),
        Data::Text(values) => {
            contents.texts = values.iter().map(|text| Bytes::copy_from_slice(text.as_bytes())).collect();
        }
    }
    contents
}

/// What the server is.
pub(crate) fn server(version: &str) -> Vec<u8> {
    let extensions = v2::EXTENSIONS.iter().map(|name| (*name).to_owned()).collect();
    ServerMetadata { name: "headrace".to_owned(), version: version.to_owned(), extensions }.encode_to_vec()
}

/// What a model takes and gives.
pub(crate) fn metadata(name: &str, versions: Vec<String>, model: &Model) -> Vec<u8> {
    let columns = |columns: &[Column]| -> Vec<TensorMetadata> {
        let one = |column: &Column| TensorMetadata {
            name: column.name.clone(),
            datatype: column.datatype.clone(),
            shape: column.shape.clone(),
        };
        columns.iter().map(one).collect()
    };
    let platform = v2::platform(model).to_owned();
    let (inputs, outputs) = (columns(&model.inputs), columns(&model.outputs));
    ModelMetadata { name: name.to_owned(), versions, platform, inputs, outputs }.encode_to_vec()
}
