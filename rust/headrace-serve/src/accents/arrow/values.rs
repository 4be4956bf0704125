//! Arrow columns as the values of a tensor, row after row.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;

use crate::tensor::{Data, Kind};

/// Rows that are put in order at a time, so that what is written stays in the cache.
const TILE: usize = 64;

/// How many values of the columns are in a row, and whether they stand in lists.
pub(super) fn width(columns: &[ArrayRef]) -> Result<(usize, bool), String> {
    let [only] = columns else { return Ok((columns.len(), false)) };
    Ok(match only.data_type() {
        DataType::FixedSizeList(_, size) => (usize::try_from(*size).unwrap_or_default(), true),
        DataType::List(_) => (even(only.as_list::<i32>().offsets().iter().map(|end| i64::from(*end)))?, true),
        DataType::LargeList(_) => (even(only.as_list::<i64>().offsets().iter().copied())?, true),
        _ => (1, false),
    })
}

/// The length of every list.
fn even(ends: impl Iterator<Item = i64>) -> Result<usize, String> {
    let mut before: Option<i64> = None;
    let mut length: Option<i64> = None;
    for end in ends {
        if let Some(before) = before {
            let found = end - before;
            match length {
                Some(known) if known != found => {
                    return Err(format!("its lists have {known} and {found} values, expected as many in each"));
                }
                _ => length = Some(found),
            }
        }
        before = Some(end);
    }
    usize::try_from(length.unwrap_or_default()).map_err(|error| error.to_string())
}

/// The values of `columns` as the kind, `width` a row.
pub(super) fn data(columns: &[ArrayRef], kind: Kind, rows: usize, width: usize) -> Result<Data, String> {
    let listed;
    let columns = match columns {
        [only] => match inner(only)? {
            Some(values) => {
                listed = [values];
                // The values lie row after row already: one column of all of them.
                return of(&listed, kind, rows * width);
            }
            None => columns,
        },
        _ => columns,
    };
    of(columns, kind, rows)
}

/// The values of a column of lists.
fn inner(array: &ArrayRef) -> Result<Option<ArrayRef>, String> {
    let listed = matches!(array.data_type(), DataType::FixedSizeList(..) | DataType::List(_) | DataType::LargeList(_));
    if listed && array.null_count() > 0 {
        return Err("a row of it is null, expected a list of values".to_owned());
    }
    let of_list = |first: i64, last: i64, values: &ArrayRef| {
        let (first, last) = (usize::try_from(first).unwrap_or_default(), usize::try_from(last).unwrap_or_default());
        values.slice(first, last - first)
    };
    Ok(match array.data_type() {
        // Sliced as the array is.
        DataType::FixedSizeList(..) => Some(array.as_fixed_size_list().values().clone()),
        DataType::List(_) => {
            let lists = array.as_list::<i32>();
            let ends = lists.offsets();
            Some(of_list(i64::from(ends[0]), i64::from(ends[lists.len()]), lists.values()))
        }
        DataType::LargeList(_) => {
            let lists = array.as_list::<i64>();
            let ends = lists.offsets();
            Some(of_list(ends[0], ends[lists.len()], lists.values()))
        }
        _ => None,
    })
}

fn of(columns: &[ArrayRef], kind: Kind, rows: usize) -> Result<Data, String> {
    Ok(match kind {
        Kind::F32 => Data::F32(gather(columns, rows, f32::NAN, floats32)?),
        Kind::F64 => Data::F64(gather(columns, rows, f64::NAN, floats64)?),
        Kind::I32 => Data::I32(gather(columns, rows, 0, |column| {
            let values = wholes(column)?;
            let narrow = |value: i64| i32::try_from(value).map_err(|_| format!("holds {value}, expected INT32"));
            values.into_iter().map(narrow).collect()
        })?),
        Kind::I64 => Data::I64(gather(columns, rows, 0, wholes)?),
        Kind::Bool => Data::Bool(gather(columns, rows, false, booleans)?),
        Kind::Text => Data::Text(gather(columns, rows, String::new(), texts)?),
    })
}

/// Columns as rows.
fn gather<T: Clone>(
    columns: &[ArrayRef],
    rows: usize,
    empty: T,
    read: impl Fn(&ArrayRef) -> Result<Vec<T>, String>,
) -> Result<Vec<T>, String> {
    let width = columns.len();
    if let [only] = columns {
        return read(only);
    }
    let mut out = vec![empty; rows * width];
    let mut start = 0;
    while start < rows {
        let length = TILE.min(rows - start);
        for (place, column) in columns.iter().enumerate() {
            let values = read(&column.slice(start, length)).map_err(|what| format!("column {place}: {what}"))?;
            for (row, value) in values.into_iter().enumerate() {
                out[(start + row) * width + place] = value;
            }
        }
        start += length;
    }
    Ok(out)
}

fn primitive<P: ArrowPrimitiveType, T: Clone>(
    column: &ArrayRef,
    null: Option<T>,
    to: impl Fn(P::Native) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let array = column.as_primitive::<P>();
    if array.null_count() == 0 {
        return array.values().iter().map(|value| to(*value)).collect();
    }
    let Some(null) = null else { return Err("holds null, expected a value".to_owned()) };
    array.iter().map(|value| value.map_or_else(|| Ok(null.clone()), &to)).collect()
}

fn wrong<T>(column: &ArrayRef, expected: &str) -> Result<T, String> {
    Err(format!("holds {}, expected {expected}", column.data_type()))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "rounded to the nearest, and checked")]
fn floats32(column: &ArrayRef) -> Result<Vec<f32>, String> {
    let null = Some(f32::NAN);
    let narrow = |value: f64| {
        let rounded = value as f32;
        if rounded.is_infinite() && value.is_finite() {
            return Err(format!("holds {value:e}, expected FP32"));
        }
        Ok(rounded)
    };
    match column.data_type() {
        DataType::Float32 => primitive::<Float32Type, _>(column, null, Ok),
        DataType::Float64 => primitive::<Float64Type, _>(column, null, narrow),
        DataType::Int64 => primitive::<Int64Type, _>(column, null, |value| Ok(value as f32)),
        DataType::UInt64 => primitive::<UInt64Type, _>(column, null, |value| Ok(value as f32)),
        _ => floats64(column)?.into_iter().map(narrow).collect(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "rounded to the nearest")]
fn floats64(column: &ArrayRef) -> Result<Vec<f64>, String> {
    let null = Some(f64::NAN);
    match column.data_type() {
        DataType::Float32 => primitive::<Float32Type, _>(column, null, |value| Ok(f64::from(value))),
        DataType::Float64 => primitive::<Float64Type, _>(column, null, Ok),
        DataType::Int8 => primitive::<Int8Type, _>(column, null, |value| Ok(f64::from(value))),
        DataType::Int16 => primitive::<Int16Type, _>(column, null, |value| Ok(f64::from(value))),
        DataType::Int32 => primitive::<Int32Type, _>(column, null, |value| Ok(f64::from(value))),
        DataType::Int64 => primitive::<Int64Type, _>(column, null, |value| Ok(value as f64)),
        DataType::UInt8 => primitive::<UInt8Type, _>(column, null, |value| Ok(f64::from(value))),
        DataType::UInt16 => primitive::<UInt16Type, _>(column, null, |value| Ok(f64::from(value))),
        DataType::UInt32 => primitive::<UInt32Type, _>(column, null, |value| Ok(f64::from(value))),
        DataType::UInt64 => primitive::<UInt64Type, _>(column, null, |value| Ok(value as f64)),
        DataType::Null => Ok(vec![f64::NAN; column.len()]),
        _ => wrong(column, "numbers"),
    }
}

fn wholes(column: &ArrayRef) -> Result<Vec<i64>, String> {
    match column.data_type() {
        DataType::Int8 => primitive::<Int8Type, _>(column, None, |value| Ok(i64::from(value))),
        DataType::Int16 => primitive::<Int16Type, _>(column, None, |value| Ok(i64::from(value))),
        DataType::Int32 => primitive::<Int32Type, _>(column, None, |value| Ok(i64::from(value))),
        DataType::Int64 => primitive::<Int64Type, _>(column, None, Ok),
        DataType::UInt8 => primitive::<UInt8Type, _>(column, None, |value| Ok(i64::from(value))),
        DataType::UInt16 => primitive::<UInt16Type, _>(column, None, |value| Ok(i64::from(value))),
        DataType::UInt32 => primitive::<UInt32Type, _>(column, None, |value| Ok(i64::from(value))),
        DataType::UInt64 => primitive::<UInt64Type, _>(column, None, |value| {
            i64::try_from(value).map_err(|_| format!("holds {value}, expected INT64"))
        }),
        _ => wrong(column, "whole numbers"),
    }
}

fn booleans(column: &ArrayRef) -> Result<Vec<bool>, String> {
    match column.data_type() {
        DataType::Boolean if column.null_count() == 0 => Ok(column.as_boolean().values().iter().collect()),
        DataType::Boolean => Err("holds null, expected true or false".to_owned()),
        _ => wrong(column, "booleans"),
    }
}

fn texts(column: &ArrayRef) -> Result<Vec<String>, String> {
    fn all<'a>(values: impl Iterator<Item = Option<&'a str>>) -> Result<Vec<String>, String> {
        let one =
            |value: Option<&str>| value.map(str::to_owned).ok_or_else(|| "holds null, expected a text".to_owned());
        values.map(one).collect()
    }
    match column.data_type() {
        DataType::Utf8 => all(column.as_string::<i32>().iter()),
        DataType::LargeUtf8 => all(column.as_string::<i64>().iter()),
        DataType::Utf8View => all(column.as_string_view().iter()),
        DataType::Dictionary(..) => {
            // Categories. A key that is null stands for no text, whatever else it holds.
            let dictionary = column.as_any_dictionary();
            if dictionary.keys().null_count() > 0 {
                return Err("holds null, expected a text".to_owned());
            }
            if dictionary.values().is_empty() {
                return Ok(Vec::new());
            }
            let values = texts(dictionary.values())?;
            Ok(dictionary.normalized_keys().into_iter().map(|key| values[key].clone()).collect())
        }
        _ => wrong(column, "texts"),
    }
}
