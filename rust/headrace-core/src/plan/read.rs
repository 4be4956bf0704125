//! Columns of a frame as a plan expects them: the declared casts, and errors for everything else.
//!
//! Declared casts, and no others: any width of a number for any other; whole floats for an integer column (a null that
//! turned integers into floats on the way); categorical and enum for string; a date for a datetime without zone; a zoned
//! datetime for one of another zone (the same instant); a column of type null for anything.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float16Type, Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, new_null_array};
use arrow_schema::{DataType, Field, Schema};
use arrow_select::take::{TakeOptions, take};

use super::column::{Column, Half, Trouble, Values, shorten};
use super::nearest;
use super::types::{ColumnType, Family, UNREADABLE, of_field};
use crate::error::{Error, Result};

/// An input of a plan.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) name: String,
    pub(super) kind: ColumnType,
}

/// Where the inputs stand in a frame, after a look at its schema.
pub(super) fn find(inputs: &[Input], schema: &Schema, batches: &[RecordBatch]) -> Result<Vec<usize>> {
    let positions: Positions<'_> = Positions::new(schema);
    inputs
        .iter()
        .map(|input| {
            let position = positions.of(&input.name)?;
            check(input, schema.field(position), position, batches)?;
            Ok(position)
        })
        .collect()
}

struct Positions<'a> {
    schema: &'a Schema,
    by_name: hashbrown::HashMap<&'a str, (usize, bool)>,
}

impl<'a> Positions<'a> {
    fn new(schema: &'a Schema) -> Self {
        let mut by_name = hashbrown::HashMap::with_capacity(schema.fields().len());
        for (position, field) in schema.fields().iter().enumerate() {
            by_name.entry(field.name().as_str()).and_modify(|(_, twice)| *twice = true).or_insert((position, false));
        }
        Self { schema, by_name }
    }

    fn of(&self, name: &str) -> Result<usize> {
        let found = self.by_name.get(name).or_else(|| {
            // A name cannot have a NUL in Arrow's C interface; whoever hands over one that has writes a noncharacter.
            name.contains('\0').then(|| self.by_name.get(name.replace('\0', "\u{fffe}").as_str())).flatten()
        });
        match found {
            Some((position, false)) => Ok(*position),
            Some((_, true)) => Err(Error::ColumnTwice { column: name.to_owned() }),
            None => {
                let known: Vec<String> = self.schema.fields().iter().map(|field| field.name().clone()).collect();
                Err(missing(name, &known))
            }
        }
    }
}

/// The error of a column that is not there.
pub(super) fn missing(name: &str, known: &[String]) -> Error {
    Error::MissingColumn { column: name.to_owned(), hint: nearest::hint(name, known) }
}

fn check(input: &Input, field: &Field, position: usize, batches: &[RecordBatch]) -> Result<()> {
    let expected = &input.kind;
    let (found, name) = of_field(field);
    if let Some(reason) = field.metadata().get(UNREADABLE) {
        let what = format!("cannot be read ({reason}), the feature plan expects {}", expected.name);
        return Err(Error::WrongType { column: input.name.clone(), row: None, what });
    }
    let zoned = name.contains(", ");
    let what = if found == Family::Null {
        return Ok(());
    } else if found == expected.family {
        if found != Family::Datetime || zoned == expected.zoned {
            return Ok(());
        }
        let which = if zoned { "has a time zone" } else { "has no time zone" };
        format!("{which}, the feature plan expects {}", expected.name)
    } else {
        match (expected.family, found) {
            (Family::Float, Family::Integer) | (Family::Integer, Family::Float) => return Ok(()),
            (Family::Datetime, Family::Date) if !expected.zoned => return Ok(()),
            _ => mismatch(expected, found, &name),
        }
    };
    let (row, value) = example(field, position, batches, matches!(expected.family, Family::Integer | Family::Float));
    let value = value.map_or_else(String::new, |value| format!("; there stands {value}"));
    Err(Error::WrongType { column: input.name.clone(), row, what: what + &value })
}

/// What a column or a value of the wrong type is, and what was expected.
pub(super) fn mismatch(expected: &ColumnType, found: Family, name: &str) -> String {
    format!(
        "holds {} ({name}), the feature plan expects {} ({})",
        found.plural().unwrap_or(name),
        expected.family.plural().unwrap_or("nothing"),
        expected.name
    )
}

/// The first row that has a value, or where numbers are expected and there is text, the first text that is none.
fn example(field: &Field, position: usize, batches: &[RecordBatch], numbers: bool) -> (Option<usize>, Option<String>) {
    let mut first = None;
    let mut start = 0;
    for batch in batches {
        let array = batch.column(position);
        let unpacked = unpack(array).unwrap_or_else(|_| Arc::clone(array));
        if let Some(column) = Column::of(&unpacked, field) {
            for row in (0..array.len()).filter(|row| !column.is_null(*row)) {
                first.get_or_insert_with(|| (start + row, column.show(row)));
                match &column.values {
                    Values::Texts(texts) if numbers => {
                        let text = texts.text(row).ok().flatten().unwrap_or_default();
                        if text.trim().parse::<f64>().is_err() {
                            return (Some(start + row), Some(column.show(row)));
                        }
                    }
                    _ => return split(first),
                }
            }
        } else if let Some(row) = (0..array.len()).find(|row| array.is_valid(*row)) {
            return (Some(start + row), None);
        }
        start += array.len();
    }
    split(first)
}

fn split(found: Option<(usize, String)>) -> (Option<usize>, Option<String>) {
    found.map_or((None, None), |(row, value)| (Some(row), Some(value)))
}

/// A column of a batch with the casts applied that change how it lies in memory. `fault` is told of rows that cannot be.
pub(super) fn cast(
    array: &ArrayRef,
    expected: &ColumnType,
    fault: &mut dyn FnMut(usize, Trouble),
) -> Result<ArrayRef, String> {
    let array = unpack(array)?;
    let found = || of_field(&Field::new("", array.data_type().clone(), true)).1;
    match (expected.family, array.data_type()) {
        (_, DataType::Null) => Ok(new_null_array(&DataType::Null, array.len())),
        (Family::Integer, DataType::Float16) => {
            Ok(whole(array.as_primitive::<Float16Type>().iter().map(|value| value.map(Half::to_f64)), &found(), fault))
        }
        (Family::Integer, DataType::Float32) => {
            Ok(whole(array.as_primitive::<Float32Type>().iter().map(|value| value.map(f64::from)), &found(), fault))
        }
        (Family::Integer, DataType::Float64) => Ok(whole(array.as_primitive::<Float64Type>().iter(), &found(), fault)),
        (Family::Integer, DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..)) => {
            let column = Column::of(&array, &Field::new("", array.data_type().clone(), true));
            let Some(Values::Numbers(numbers)) = column.map(|column| column.values) else {
                return Ok(Arc::clone(&array));
            };
            let values = (0..array.len()).map(|row| array.is_valid(row).then(|| super::number::real(&numbers, row)));
            Ok(whole(values, &found(), fault))
        }
        _ => Ok(array),
    }
}

/// A dictionary whose entries are no text, as a plain array.
fn unpack(array: &ArrayRef) -> Result<ArrayRef, String> {
    match array.data_type() {
        DataType::Dictionary(_, values)
            if !matches!(values.as_ref(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) =>
        {
            let dictionary = array.as_any_dictionary_opt().ok_or("a dictionary array has no keys")?;
            let checked = TakeOptions { check_bounds: true };
            take(dictionary.values(), dictionary.keys(), Some(checked)).map_err(|error| error.to_string())
        }
        _ => Ok(Arc::clone(array)),
    }
}

/// Whole floats as integers, NaN as null.
fn whole(values: impl Iterator<Item = Option<f64>>, found: &str, fault: &mut dyn FnMut(usize, Trouble)) -> ArrayRef {
    let integers: Int64Array = values
        .enumerate()
        .map(|(row, value)| {
            let value = value.filter(|value| !value.is_nan())?;
            let integer = as_whole(value);
            if integer.is_none() {
                fault(row, Trouble::NotWhole { value: show_float(value), found: found.to_owned() });
            }
            integer
        })
        .collect();
    Arc::new(integers)
}

/// A whole float below 2^63 as an integer.
pub(super) fn as_whole(value: f64) -> Option<i64> {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    #[expect(clippy::cast_possible_truncation, clippy::float_cmp, reason = "whole floats are exact")]
    (value.trunc() == value && value.abs() < BEYOND).then_some(value as i64)
}

/// A float as Python shows it, for messages.
pub(super) fn show_float(value: f64) -> String {
    let text = format!("{value:?}");
    shorten(&text)
}
