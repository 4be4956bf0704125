//! One row from JSON: an object with a value a column, read into the same columns and through the same steps as a batch.

use std::borrow::Cow;
use std::fmt;

use hashbrown::HashMap;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::column::{Booleans, Column, Counts, Numbers, Texts, Values, shorten};
use super::iso;
use super::program::Program;
use super::read::{Input, as_whole, mismatch, missing, show_float};
use super::run::{Faults, Scratch, execute, to_rows};
use super::types::{ColumnType, Family};
use crate::error::{Error, Result};
use crate::value::Unit;

/// A value of a row.
#[derive(Debug)]
pub(super) enum Cell<'a> {
    Missing,
    Boolean(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Decimal(i128, i8),
    Text(Cow<'a, str>),
    Date(i32),
    Count(i64, Unit),
}

impl Cell<'_> {
    fn column(&self) -> Column<'_> {
        use std::slice::from_ref;
        let values = match self {
            Self::Missing => Values::Missing,
            Self::Boolean(value) => Values::Booleans(Booleans::One(*value)),
            Self::Signed(value) => Values::Numbers(Numbers::I64(from_ref(value))),
            Self::Unsigned(value) => Values::Numbers(Numbers::U64(from_ref(value))),
            Self::Float(value) => Values::Numbers(Numbers::F64(from_ref(value))),
            Self::Decimal(value, scale) => {
                Values::Numbers(Numbers::Decimals(super::column::Decimals::D128(from_ref(value)), *scale))
            }
            Self::Text(text) => Values::Texts(Texts::One(text)),
            Self::Date(days) => Values::Dates(from_ref(days)),
            Self::Count(count, unit) => Values::Counts(Counts::I64(from_ref(count)), *unit),
        };
        Column { nulls: None, values }
    }
}

/// Names of the inputs, to their positions.
pub(super) fn names(program: &Program) -> HashMap<Box<str>, usize> {
    program.inputs.iter().enumerate().map(|(index, input)| (Box::from(input.name.as_str()), index)).collect()
}

/// Appends the outputs of one row.
pub(super) fn row(
    program: &Program,
    names: &HashMap<Box<str>, usize>,
    json: &[u8],
    scratch: &mut Scratch,
    out: &mut Vec<f32>,
) -> Result<()> {
    let cells = read(program, names, json)?;
    let columns: Vec<Column<'_>> = cells.iter().map(Cell::column).collect();
    let mut faults = Faults::default();
    execute(program, &columns, None, &(0..1), 0, scratch, &mut faults);
    faults.check(program)?;
    let start = out.len();
    out.resize(start + program.outputs.len(), 0.0);
    to_rows(program, scratch, 1, &mut out[start..]);
    Ok(())
}

/// The values of a row, one an input.
pub(super) fn read<'a>(program: &Program, names: &HashMap<Box<str>, usize>, json: &'a [u8]) -> Result<Vec<Cell<'a>>> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let mut failure = None;
    let mut cells: Vec<Option<Cell<'a>>> = program.inputs.iter().map(|_| None).collect();
    let visitor = RowVisitor { program, names, cells: &mut cells, failure: &mut failure };
    let read = deserializer.deserialize_any(visitor).and_then(|()| deserializer.end());
    if let Some(failure) = failure {
        return Err(failure);
    }
    read.map_err(|error| Error::BadRow { reason: error.to_string() })?;
    if cells.iter().all(Option::is_some) {
        return Ok(cells.into_iter().flatten().collect());
    }
    let absent = program.inputs.iter().zip(&cells).find(|(_, cell)| cell.is_none());
    Err(absent.map_or_else(
        || Error::BadRow { reason: "it has no columns".to_owned() },
        |(input, _)| missing(&input.name, &keys_of(json)),
    ))
}

/// The keys of a row, sorted; none of what is no row.
pub(super) fn keys_of(json: &[u8]) -> Vec<String> {
    serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(json)
        .map(|row| row.into_iter().map(|(key, _)| key).collect())
        .unwrap_or_default()
}

struct RowVisitor<'a, 'b, 'c> {
    program: &'b Program,
    names: &'b HashMap<Box<str>, usize>,
    cells: &'c mut Vec<Option<Cell<'a>>>,
    failure: &'c mut Option<Error>,
}

impl<'de> Visitor<'de> for RowVisitor<'de, '_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object with a value a column")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> std::result::Result<(), A::Error> {
        while let Some(position) = items.next_key_seed(Key(self.names))? {
            let Some(position) = position else {
                items.next_value::<IgnoredAny>()?;
                continue;
            };
            let input = &self.program.inputs[position];
            if self.cells[position].is_some() {
                *self.failure = Some(Error::ColumnTwice { column: input.name.clone() });
                return Err(A::Error::custom("a key is there twice"));
            }
            let Found(cell) = items.next_value_seed(CellSeed { input, failure: &mut *self.failure })?;
            self.cells[position] = Some(cell);
        }
        Ok(())
    }
}

/// A key to the position of its input, if it is one.
struct Key<'a>(&'a HashMap<Box<str>, usize>);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> std::result::Result<Option<usize>, E> {
        Ok(self.0.get(key).copied())
    }
}

struct Found<'a>(Cell<'a>);

struct CellSeed<'b, 'c> {
    input: &'b Input,
    failure: &'c mut Option<Error>,
}

impl<'de> DeserializeSeed<'de> for CellSeed<'_, '_> {
    type Value = Found<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Found<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl CellSeed<'_, '_> {
    fn refuse<'a, E: serde::de::Error>(self, what: String) -> std::result::Result<Found<'a>, E> {
        *self.failure = Some(Error::WrongType { column: self.input.name.clone(), row: Some(0), what });
        Err(E::custom("a value has the wrong type"))
    }

    fn wrong<'a, E: serde::de::Error>(
        self,
        found: Family,
        name: &str,
        value: &str,
    ) -> std::result::Result<Found<'a>, E> {
        let what = format!("{}; there stands {value}", mismatch(&self.input.kind, found, name));
        self.refuse(what)
    }

    fn kind(&self) -> &ColumnType {
        &self.input.kind
    }

    /// Text of a column that holds dates, times, decimals, or the floats that are no numbers in JSON.
    fn parsed<'a, E: serde::de::Error>(self, text: &str) -> std::result::Result<Found<'a>, E> {
        let kind = self.kind();
        let found = match kind.family {
            Family::Date => iso::date(text).map(Cell::Date),
            Family::Datetime => {
                let found = iso::datetime(text, kind.zoned).map(|(count, unit)| Cell::Count(count, unit));
                // As in a frame, a date is its midnight; only where midnight needs no zone.
                found.or_else(|| iso::date(text).filter(|_| !kind.zoned).map(Cell::Date))
            }
            Family::Time => iso::time(text).map(|count| Cell::Count(count, Unit::Nanosecond)),
            Family::Float if kind.width == super::types::Width::Decimal => {
                iso::decimal(text).map(|(value, scale)| Cell::Decimal(value, scale))
            }
            // JSON has no numbers for these; protobuf's mapping to JSON writes them so.
            Family::Float => match text {
                "NaN" => Some(Cell::Float(f64::NAN)),
                "Infinity" => Some(Cell::Float(f64::INFINITY)),
                "-Infinity" => Some(Cell::Float(f64::NEG_INFINITY)),
                _ => None,
            },
            _ => None,
        };
        if let Some(cell) = found {
            return Ok(Found(cell));
        }
        let form = match kind.family {
            Family::Date => "; as text, 2013-01-31",
            Family::Datetime if kind.zoned => "; as text with the offset from UTC, 2013-01-31T05:00:00Z",
            Family::Datetime => "; as text without an offset, 2013-01-31T05:00:00",
            Family::Time => "; as text, 05:00:00",
            _ => "",
        };
        let shown = shorten(&format!("'{}'", text.escape_debug()));
        let what = format!("{}{form}; there stands {shown}", mismatch(kind, Family::String, "string"));
        self.refuse(what)
    }

    fn float<'a, E: serde::de::Error>(self, value: f64) -> std::result::Result<Found<'a>, E> {
        let kind = self.kind();
        match kind.family {
            Family::Float => Ok(Found(Cell::Float(value))),
            Family::Integer => {
                if let Some(value) = as_whole(value) {
                    return Ok(Found(Cell::Signed(value)));
                }
                *self.failure = Some(Error::NotWhole {
                    column: self.input.name.clone(),
                    row: 0,
                    value: show_float(value),
                    found: "float64".to_owned(),
                    expected: self.input.kind.name.clone(),
                });
                Err(E::custom("a value is not whole"))
            }
            Family::Duration => {
                #[expect(clippy::cast_precision_loss, reason = "at most a billion")]
                let count = (value * kind.unit.per_second() as f64).round();
                let unit = kind.unit;
                match as_whole(count) {
                    Some(count) => Ok(Found(Cell::Count(count, unit))),
                    None => self.refuse(format!("holds {} seconds, more than its type can", show_float(value))),
                }
            }
            _ => self.wrong(Family::Float, "float64", &show_float(value)),
        }
    }
}

impl<'de> Visitor<'de> for CellSeed<'_, '_> {
    type Value = Found<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> std::result::Result<Found<'de>, E> {
        Ok(Found(Cell::Missing))
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> std::result::Result<Found<'de>, E> {
        match self.kind().family {
            Family::Boolean => Ok(Found(Cell::Boolean(value))),
            _ => self.wrong(Family::Boolean, "boolean", if value { "true" } else { "false" }),
        }
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> std::result::Result<Found<'de>, E> {
        match self.kind().family {
            Family::Integer | Family::Float => Ok(Found(Cell::Signed(value))),
            #[expect(clippy::cast_precision_loss, reason = "seconds are a float")]
            Family::Duration => self.float(value as f64),
            _ => self.wrong(Family::Integer, "int64", &value.to_string()),
        }
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> std::result::Result<Found<'de>, E> {
        match (i64::try_from(value), self.kind().family) {
            (Ok(value), _) => self.visit_i64(value),
            (_, Family::Integer | Family::Float) => Ok(Found(Cell::Unsigned(value))),
            #[expect(clippy::cast_precision_loss, reason = "seconds are a float")]
            (_, Family::Duration) => self.float(value as f64),
            _ => self.wrong(Family::Integer, "uint64", &value.to_string()),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> std::result::Result<Found<'de>, E> {
        self.float(value)
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, value: &'de str) -> std::result::Result<Found<'de>, E> {
        match self.kind().family {
            Family::String => Ok(Found(Cell::Text(Cow::Borrowed(value)))),
            _ => self.parsed(value),
        }
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> std::result::Result<Found<'de>, E> {
        match self.kind().family {
            Family::String => Ok(Found(Cell::Text(Cow::Owned(value.to_owned())))),
            _ => self.parsed(value),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> std::result::Result<Found<'de>, A::Error> {
        self.wrong(Family::Other, "an array", "[...]")
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> std::result::Result<Found<'de>, A::Error> {
        self.wrong(Family::Other, "an object", "{...}")
    }
}
