//! JSON as clients send it: with bare NaN and Infinity, nested or flat; and JSON as it is sent back: always valid.

use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::tensor::{Data, Kind, Tensor};

/// What a bare `NaN` is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BareNan {
    /// The string `"NaN"`, which is read as a float that is no number.
    Text,
    /// `null`: pandas has NaN where a value is missing, whatever the type of the column.
    Missing,
}

/// `text` with the bare `Infinity` and `-Infinity` of Python's clients as strings, which is what they are read from,
/// and the bare `NaN` as `nan` says; unchanged if it has none.
#[must_use]
pub fn repaired(text: &str, nan: BareNan) -> Cow<'_, str> {
    if !text.contains("NaN") && !text.contains("Infinity") {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len() + 64);
    let (mut at, mut copied, mut quoted) = (0, 0, false);
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            b'N' | b'I' | b'-' if !quoted => {
                let rest = &text[at..];
                if let Some(word) = ["NaN", "Infinity", "-Infinity"].into_iter().find(|word| rest.starts_with(word)) {
                    out.push_str(&text[copied..at]);
                    if word == "NaN" && nan == BareNan::Missing {
                        out.push_str("null");
                    } else {
                        out.push('"');
                        out.push_str(word);
                        out.push('"');
                    }
                    at += word.len();
                    copied = at;
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

/// Values of one kind out of an array, flat or nested; `Err` says in a line what is wrong.
pub fn tensor(json: &str, kind: Kind) -> Result<Tensor, String> {
    let mut state = Nested { data: Data::empty(kind), lengths: Vec::new(), leaves: None, failure: None };
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let read = Level { state: &mut state, depth: 0 }.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    if let Some(failure) = state.failure {
        return Err(failure);
    }
    read.map_err(|error| error.to_string())?;
    let shape = state.lengths.into_iter().map(Option::unwrap_or_default).collect();
    Ok(Tensor { shape, data: state.data })
}

struct Nested {
    data: Data,
    /// Lengths of the axes, outermost first, once they are known.
    lengths: Vec<Option<usize>>,
    /// How deep the values stand.
    leaves: Option<usize>,
    failure: Option<String>,
}

impl Nested {
    fn fail<T, E: serde::de::Error>(&mut self, what: String) -> Result<T, E> {
        self.failure.get_or_insert(what);
        Err(E::custom("a value cannot be read"))
    }

    fn leaf<E: serde::de::Error>(&mut self, depth: usize) -> Result<(), E> {
        match self.leaves {
            None if self.lengths.len() == depth => self.leaves = Some(depth),
            Some(known) if known == depth => {}
            _ => return self.fail("the array is ragged: values stand at different depths".to_owned()),
        }
        Ok(())
    }
}

/// What stands at some depth: an array, or a value.
struct Level<'a> {
    state: &'a mut Nested,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Level<'_> {
    fn wrong<E: serde::de::Error>(self, found: &str) -> Result<(), E> {
        let expected = self.state.data.kind().datatype();
        self.state.fail(format!("holds {found}, expected {expected}"))
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array or a value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Self { state, depth } = self;
        if state.lengths.len() == depth {
            if state.leaves.is_some() {
                return state.fail("the array is ragged: values stand at different depths".to_owned());
            }
            state.lengths.push(None);
        }
        let mut count = 0;
        while items.next_element_seed(Level { state: &mut *state, depth: depth + 1 })?.is_some() {
            count += 1;
        }
        match state.lengths[depth] {
            Some(known) if known != count => state.fail(format!("the array is ragged: {count} values beside {known}")),
            _ => {
                state.lengths[depth] = Some(count);
                Ok(())
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.wrong("an object")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.state.leaf(self.depth)?;
        match &mut self.state.data {
            Data::F32(values) => values.push(f32::NAN),
            Data::F64(values) => values.push(f64::NAN),
            _ => return self.wrong("null"),
        }
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.state.leaf(self.depth)?;
        match &mut self.state.data {
            Data::Bool(values) => values.push(value),
            _ => return self.wrong(if value { "true" } else { "false" }),
        }
        Ok(())
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.state.leaf(self.depth)?;
        match &mut self.state.data {
            #[expect(clippy::cast_precision_loss, reason = "rounded to the nearest, as every client does")]
            Data::F32(values) => values.push(value as f32),
            #[expect(clippy::cast_precision_loss, reason = "rounded to the nearest, as every client does")]
            Data::F64(values) => values.push(value as f64),
            Data::I64(values) => values.push(value),
            Data::I32(values) => match i32::try_from(value) {
                Ok(value) => values.push(value),
                Err(_) => return self.wrong(&value.to_string()),
            },
            Data::Bool(_) | Data::Text(_) => return self.wrong(&value.to_string()),
        }
        Ok(())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        if let Ok(value) = i64::try_from(value) {
            return self.visit_i64(value);
        }
        if matches!(self.state.data, Data::F32(_) | Data::F64(_)) {
            #[expect(clippy::cast_precision_loss, reason = "rounded to the nearest, as every client does")]
            return self.visit_f64(value as f64);
        }
        self.wrong(&value.to_string())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.state.leaf(self.depth)?;
        match &mut self.state.data {
            Data::F64(values) => values.push(value),
            Data::F32(values) => {
                #[expect(clippy::cast_possible_truncation, reason = "rounded to the nearest, and checked")]
                let rounded = value as f32;
                if rounded.is_infinite() && value.is_finite() {
                    return self.wrong(&format!("{value:e}"));
                }
                values.push(rounded);
            }
            // Columns of whole numbers that have missing values arrive as floats.
            #[expect(clippy::cast_possible_truncation, reason = "it is whole, and within what a float counts exactly")]
            Data::I64(values) if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 => {
                values.push(value as i64);
            }
            #[expect(clippy::cast_possible_truncation, reason = "it is whole, and within the range")]
            Data::I32(values) if value.fract() == 0.0 && value.abs() <= 2_147_483_647.0 => values.push(value as i32),
            _ => return self.wrong(&value.to_string()),
        }
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.state.leaf(self.depth)?;
        let number = match text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        };
        match (&mut self.state.data, number) {
            (Data::Text(values), _) => values.push(text.to_owned()),
            (Data::F64(values), Some(number)) => values.push(number),
            #[expect(clippy::cast_possible_truncation, reason = "neither is a number that could be rounded")]
            (Data::F32(values), Some(number)) => values.push(number as f32),
            _ => {
                let shown: String = text.chars().take(40).flat_map(char::escape_debug).collect();
                return self.wrong(&format!("the text '{shown}'"));
            }
        }
        Ok(())
    }
}

/// Appends a string.
pub fn write_text(out: &mut Vec<u8>, text: &str) {
    write(out, text);
}

/// Appends values, flat, without brackets.
pub fn write_values(out: &mut Vec<u8>, data: &Data, start: usize, end: usize) {
    match data {
        Data::F32(values) => commas(out, &values[start..end]),
        Data::F64(values) => commas(out, &values[start..end]),
        Data::I32(values) => commas(out, &values[start..end]),
        Data::I64(values) => commas(out, &values[start..end]),
        Data::Bool(values) => commas(out, &values[start..end]),
        Data::Text(values) => commas(out, &values[start..end]),
    }
}

fn commas<T: serde::Serialize>(out: &mut Vec<u8>, values: &[T]) {
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, value);
    }
}

/// A float that is no number becomes null.
fn write(out: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    // Writing numbers, booleans and text to memory cannot fail; whatever did would be no value of JSON.
    if serde_json::to_writer(&mut *out, value).is_err() {
        let _ = out.write_all(b"null");
    }
}
