//! The protocols: bytes to what is computed, and back. What several have in common is here.

pub mod arrow;
pub mod binary;
pub mod cells;
pub mod csv;
pub mod grpc;
pub mod openapi;
pub mod rows;
pub mod tensors;
pub mod v2;

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;

use self::cells::Column;
use crate::error::Refusal;
use crate::inputs::Inputs;
use crate::json::{self, BareNan};
use crate::model::Model;
use crate::routes::Accent;

/// A request as text, with what JSON has no word for as strings; a package's NaN is a missing value.
pub fn text<'a>(model: &Model, body: &'a [u8]) -> Result<Cow<'a, str>, Refusal> {
    let text = utf8(body)?;
    let nan = if model.takes_rows() { BareNan::Missing } else { BareNan::Text };
    Ok(json::repaired(text, nan))
}

/// A body that must be text.
pub fn utf8(body: &[u8]) -> Result<&str, Refusal> {
    std::str::from_utf8(body).map_err(|error| {
        Refusal::Bad(format!("the body is not UTF-8: byte {} of it begins no character", error.valid_up_to()))
    })
}

/// Reads a document of the protocol.
pub fn read<'a, T: serde::Deserialize<'a>>(text: &'a str) -> Result<T, Refusal> {
    serde_json::from_str(text).map_err(|error| Refusal::Bad(format!("the body cannot be read: {error}")))
}

/// A refusal in the accent's own form.
#[must_use]
pub fn refusal(accent: Accent, refusal: &Refusal) -> Vec<u8> {
    let message = refusal.message();
    let document = match accent {
        Accent::Inference => serde_json::json!({ "error": message }),
        Accent::Mlflow => {
            let code = match refusal.status() {
                401 => "UNAUTHENTICATED",
                403 => "PERMISSION_DENIED",
                404 | 405 => "ENDPOINT_NOT_FOUND",
                400..=499 => "BAD_REQUEST",
                503 => "TEMPORARILY_UNAVAILABLE",
                504 => "DEADLINE_EXCEEDED",
                _ => "INTERNAL_ERROR",
            };
            serde_json::json!({ "error_code": code, "message": message })
        }
    };
    document.to_string().into_bytes()
}

/// An array of values, each as it stands.
fn array<'a>(json: &'a RawValue, what: &str) -> Result<Vec<&'a RawValue>, Refusal> {
    serde_json::from_str(json.get())
        .map_err(|_| Refusal::Bad(format!("{what}: expected an array, found {}", found(json))))
}

pub(crate) fn found(json: &RawValue) -> &'static str {
    match json.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a text",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// Columns of single values, by name, as what is computed.
fn from_columns(model: &Model, named: Vec<(String, Column<'_>)>, strict: bool) -> Result<Inputs, Refusal> {
    let mut columns: Vec<Option<Column<'_>>> = model.inputs.iter().map(|_| None).collect();
    let mut length: Option<(usize, String)> = None;
    for (name, values) in named {
        let Some(position) = model.position(&name) else {
            if strict {
                return Err(model.unknown(&name));
            }
            continue;
        };
        match &length {
            Some((rows, first)) if *rows != values.len() => {
                let (name, first, found) = (name.escape_debug(), first.escape_debug(), values.len());
                let what = format!("the input '{name}' has {found} rows, '{first}' has {rows}");
                return Err(Refusal::Bad(what));
            }
            Some(_) => {}
            None => length = Some((values.len(), name.clone())),
        }
        if columns[position].replace(values).is_some() {
            return Err(Refusal::Bad(format!("the input '{}' is there twice", name.escape_debug())));
        }
    }
    if let Some(position) = columns.iter().position(Option::is_none) {
        return Err(model.missing(position));
    }
    let columns: Vec<Column<'_>> = columns.into_iter().flatten().collect();
    let rows = length.map_or(0, |(rows, _)| rows);
    model.check_rows(rows)?;
    if model.takes_rows() {
        let row = |number: usize| {
            let mut row = Vec::with_capacity(columns.len() * 24);
            for (position, values) in columns.iter().enumerate() {
                row.push(if position == 0 { b'{' } else { b',' });
                row.extend_from_slice(model.key(position).as_bytes());
                row.extend_from_slice(values.get(number).as_bytes());
            }
            row.push(b'}');
            Cow::Owned(row)
        };
        return model.features((0..rows).map(row));
    }
    let mut tensors = Vec::with_capacity(columns.len());
    for (port, values) in model.ports().iter().zip(&columns) {
        let mut tensor = json::tensor(&values.array(), port.kind).map_err(|what| of_input(&port.name, &what))?;
        // A column of single values, for an input of one column.
        if tensor.shape.len() == 1 && port.shape.len() == 2 && port.shape[1].is_none_or(|width| width == 1) {
            tensor.shape.push(1);
        }
        tensors.push(tensor);
    }
    model.tensors(tensors)
}

/// Rows, each an object with a value a column, as what is computed.
fn from_rows(model: &Model, rows: &[&RawValue]) -> Result<Inputs, Refusal> {
    if model.takes_rows() {
        return model.features(rows.iter().map(|row| Cow::Borrowed(row.get().as_bytes())));
    }
    let mut columns: Vec<(String, Vec<&RawValue>)> =
        model.inputs.iter().map(|input| (input.name.clone(), Vec::with_capacity(rows.len()))).collect();
    for (number, row) in rows.iter().enumerate() {
        let row: HashMap<String, &RawValue> = serde_json::from_str(row.get())
            .map_err(|_| Refusal::Bad(format!("row {number}: expected an object, found {}", found(row))))?;
        for (position, (name, values)) in columns.iter_mut().enumerate() {
            values.push(row.get(name.as_str()).ok_or_else(|| model.missing(position))?);
        }
    }
    from_columns(model, columns.into_iter().map(|(name, values)| (name, Column::Raw(values))).collect(), true)
}

fn of_input(name: &str, what: &str) -> Refusal {
    Refusal::Bad(format!("the input '{}': {what}", name.escape_debug()))
}
