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
use self::rows::Columns;
use crate::engine::Port;
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

/// Reads a document of the protocol that is an object; `keys` says which it has.
fn object<'a, T: serde::Deserialize<'a>>(text: &'a str, keys: &str) -> Result<T, Refusal> {
    let first = text.trim_start();
    if !first.is_empty() && !first.starts_with('{') {
        let found = found(read(text)?);
        return Err(Refusal::Bad(format!("the body: expected an object with {keys}, found {found}")));
    }
    read(text).map(|Object(document)| document)
}

/// What is written as an object, and not, as `serde` would have it too, as an array of its values in order.
#[derive(Debug)]
struct Object<T>(T);

impl<T> std::ops::Deref for Object<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<'de, T: serde::Deserialize<'de>> serde::Deserialize<'de> for Object<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map<T>(std::marker::PhantomData<T>);
        impl<'de, T: serde::Deserialize<'de>> serde::de::Visitor<'de> for Map<T> {
            type Value = T;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, items: A) -> Result<T, A::Error> {
                T::deserialize(serde::de::value::MapAccessDeserializer::new(items))
            }
        }
        deserializer.deserialize_map(Map(std::marker::PhantomData)).map(Self)
    }
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
    if let [port] = model.ports()
        && rows.first().is_some_and(|row| is_of_a_frame(port, row))
    {
        return in_order(model, port, rows);
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

/// Whether a row does not name the only input, and so has its numbers by the names of a data frame's columns.
fn is_of_a_frame(port: &Port, row: &RawValue) -> bool {
    let Ok(Columns(pairs)) = serde_json::from_str::<Columns<'_>>(row.get()) else { return false };
    let single = port.shape.iter().skip(1).all(|length| *length == Some(1));
    let named = pairs.iter().find(|(name, _)| *name == port.name);
    named.is_none_or(|(_, value)| !single && pairs.len() > 1 && !value.get().starts_with('['))
}

/// The values of each row, in the order of the first row's names, as the row of the only input.
fn in_order(model: &Model, port: &Port, rows: &[&RawValue]) -> Result<Inputs, Refusal> {
    let mut names: HashMap<String, usize> = HashMap::new();
    let mut text = String::from("[");
    for (number, row) in rows.iter().enumerate() {
        let Columns(pairs) = serde_json::from_str(row.get())
            .map_err(|_| Refusal::Bad(format!("row {number}: expected an object, found {}", found(row))))?;
        if number == 0 {
            names = pairs.iter().enumerate().map(|(place, (name, _))| (name.clone(), place)).collect();
        }
        let mut values: Vec<Option<&str>> = vec![None; names.len()];
        for (name, value) in &pairs {
            let shown = name.escape_debug();
            let Some(place) = names.get(name) else {
                return Err(Refusal::Bad(format!("row {number}: the column '{shown}' is not in row 0")));
            };
            if values[*place].replace(value.get()).is_some() {
                return Err(Refusal::Bad(format!("row {number}: the column '{shown}' is there twice")));
            }
        }
        if let Some((name, _)) = names.iter().find(|(_, place)| values[**place].is_none()) {
            let shown = name.escape_debug();
            return Err(Refusal::Bad(format!("row {number}: the column '{shown}' is missing, row 0 has it")));
        }
        text.push_str(if number == 0 { "[" } else { ",[" });
        text.push_str(&values.into_iter().flatten().collect::<Vec<_>>().join(","));
        text.push(']');
    }
    text.push(']');
    let mut tensor = json::tensor(&text, port.kind).map_err(|what| of_input(&port.name, &what))?;
    if port.shape.len() == 1 && tensor.shape.get(1) == Some(&1) {
        tensor.shape.truncate(1);
    }
    model.tensors(vec![tensor])
}

fn of_input(name: &str, what: &str) -> Refusal {
    Refusal::Bad(format!("the input '{}': {what}", name.escape_debug()))
}
