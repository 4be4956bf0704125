//! JSON without keys that are there twice, its canonical text, and the fingerprint of a plan.

use std::fmt;
use std::fmt::Write as _;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use crate::value::write_f64;

/// What a plan computes; `choices` and `config` say how it came about.
const EXECUTABLE: [&str; 5] = ["format", "inputs", "steps", "target", "transforms"];

/// A document, or what is wrong with its text.
pub(super) fn parse(text: &str) -> Result<Map<String, Value>> {
    match serde_json::from_str::<Strict>(text) {
        Ok(Strict(Value::Object(document))) => Ok(document),
        Ok(Strict(other)) => Err(invalid(format!("expected an object, found {}", kind(&other)))),
        Err(error) => Err(invalid(format!("no JSON document: {error}"))),
    }
}

/// SHA-256 over the canonical JSON of the executable part, as 64 hexadecimal digits.
pub(super) fn fingerprint(document: &Map<String, Value>) -> Result<String> {
    let mut text = String::from("{");
    for (index, key) in EXECUTABLE.iter().enumerate() {
        let value = document.get(*key).ok_or_else(|| invalid(format!("`{key}` is missing")))?;
        if index > 0 {
            text.push(',');
        }
        write_text(&mut text, key);
        text.push(':');
        write_canonical(&mut text, value);
    }
    text.push('}');
    let mut digits = String::with_capacity(64);
    for byte in Sha256::digest(text) {
        let _ = write!(digits, "{byte:02x}"); // writing to a String cannot fail
    }
    Ok(digits)
}

pub(super) fn invalid(reason: impl Into<String>) -> Error {
    Error::InvalidPlan { reason: reason.into() }
}

/// Keys sorted, no spaces, no escapes but those that JSON requires, floats as RFC 8785 writes them.
fn write_canonical(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => crate::value::write_integer(out, value),
            (None, Some(value)) => crate::value::write_integer(out, value),
            (None, None) => write_f64(out, number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => write_text(out, text),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_canonical(out, item);
            }
            out.push(']');
        }
        Value::Object(items) => {
            // serde_json's map is sorted by the bytes of the keys, which is the order of their code points.
            out.push('{');
            for (index, (key, item)) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_text(out, key);
                out.push(':');
                write_canonical(out, item);
            }
            out.push('}');
        }
    }
}

fn write_text(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        let mut special = special.chars();
        match special.next() {
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some('\u{8}') => out.push_str("\\b"),
            Some('\u{c}') => out.push_str("\\f"),
            Some('\n') => out.push_str("\\n"),
            Some('\r') => out.push_str("\\r"),
            Some('\t') => out.push_str("\\t"),
            other => {
                let _ = write!(out, "\\u{:04x}", other.map_or(0, u32::from)); // writing to a String cannot fail
            }
        }
        rest = special.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A JSON value in which no object has a key twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> std::result::Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> std::result::Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> std::result::Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<Value, A::Error> {
        let mut made = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            made.push(item);
        }
        Ok(Value::Array(made))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> std::result::Result<Value, A::Error> {
        let mut made = Map::new();
        while let Some(key) = items.next_key::<String>()? {
            if made.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key '{}' is there twice", key.escape_debug())));
            }
            let Strict(value) = items.next_value()?;
            made.insert(key, value);
        }
        Ok(Value::Object(made))
    }
}
