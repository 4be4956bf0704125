//! Columns as Arrow has them, as numbers or texts.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType, Float16Type,
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, LargeStringArray, PrimitiveArray, StringArray, StringViewArray};
use arrow_buffer::{ArrowNativeType as _, NullBuffer, ToByteSlice as _};
use arrow_schema::{DataType, TimeUnit};

use super::Family;
use super::moments::TILE;
use crate::value;

/// What a column of this type is, unless somebody says otherwise.
pub(super) fn family_of(data_type: &DataType) -> Option<Family> {
    Some(match data_type {
        DataType::Null => Family::Null,
        DataType::Boolean => Family::Boolean,
        DataType::Date32 | DataType::Date64 => Family::Date,
        DataType::Timestamp(..) => Family::Datetime,
        DataType::Time32(_) | DataType::Time64(_) => Family::Time,
        DataType::Duration(_) => Family::Duration,
        text if is_text(text) => Family::Category,
        number if is_number(number) => Family::Number,
        list if list_item(list).is_some_and(is_float) => Family::Embedding,
        _ => return None,
    })
}

/// Whether a column of this type can be counted as `family`. A column of the type Null has only nulls, which fit all.
pub(super) fn readable_as(data_type: &DataType, family: Family) -> bool {
    match family {
        _ if *data_type == DataType::Null => true,
        Family::Null => family_of(data_type).is_some(),
        Family::Category => is_text(data_type) || is_written(data_type),
        Family::Text => is_text(data_type),
        other => family_of(data_type) == Some(other),
    }
}

/// Whether a category is written from such a value.
fn is_written(data_type: &DataType) -> bool {
    data_type.is_integer() || *data_type == DataType::Boolean
}

pub(super) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_text(values),
        plain => matches!(plain, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View),
    }
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric()
}

pub(super) fn is_float(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float16 | DataType::Float32 | DataType::Float64)
}

pub(super) fn list_item(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => Some(item.data_type()),
        _ => None,
    }
}

/// Calls `visit` with the number of the first row and up to [`TILE`] values: numbers as they are, dates in days, all
/// that has a clock in seconds. A null is a NaN there. False, and nothing visited, for columns of no such type.
pub(super) fn numbers(array: &ArrayRef, visit: &mut dyn FnMut(usize, &[f64])) -> bool {
    macro_rules! tiles {
        ($type:ty, $to:expr) => {
            tiles(array.as_primitive::<$type>(), $to, visit)
        };
    }
    match array.data_type() {
        DataType::Float64 => floats(array.as_primitive::<Float64Type>(), visit),
        DataType::Float32 => tiles!(Float32Type, f64::from),
        DataType::Float16 => tiles!(Float16Type, f64::from),
        DataType::Int8 => tiles!(Int8Type, f64::from),
        DataType::Int16 => tiles!(Int16Type, f64::from),
        DataType::Int32 => tiles!(Int32Type, f64::from),
        DataType::Int64 => tiles!(Int64Type, rounded),
        DataType::UInt8 => tiles!(UInt8Type, f64::from),
        DataType::UInt16 => tiles!(UInt16Type, f64::from),
        DataType::UInt32 => tiles!(UInt32Type, f64::from),
        DataType::UInt64 => tiles!(UInt64Type, rounded_unsigned),
        DataType::Decimal32(_, scale) => tiles!(Decimal32Type, scaled(*scale, f64::from)),
        DataType::Decimal64(_, scale) => tiles!(Decimal64Type, scaled(*scale, rounded)),
        DataType::Decimal128(_, scale) => tiles!(Decimal128Type, scaled(*scale, rounded_wide)),
        DataType::Decimal256(_, scale) => {
            tiles!(Decimal256Type, scaled(*scale, rounded_widest));
        }
        DataType::Date32 => tiles!(Date32Type, f64::from),
        DataType::Date64 => tiles!(Date64Type, |value| rounded(value.div_euclid(86_400_000))),
        DataType::Timestamp(TimeUnit::Second, _) => tiles!(TimestampSecondType, rounded),
        DataType::Timestamp(TimeUnit::Millisecond, _) => tiles!(TimestampMillisecondType, |v| rounded(v) / 1e3),
        DataType::Timestamp(TimeUnit::Microsecond, _) => tiles!(TimestampMicrosecondType, |v| rounded(v) / 1e6),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => tiles!(TimestampNanosecondType, |v| rounded(v) / 1e9),
        DataType::Time32(TimeUnit::Second) => tiles!(Time32SecondType, f64::from),
        DataType::Time32(_) => tiles!(Time32MillisecondType, |value| f64::from(value) / 1e3),
        DataType::Time64(TimeUnit::Microsecond) => tiles!(Time64MicrosecondType, |value| rounded(value) / 1e6),
        DataType::Time64(_) => tiles!(Time64NanosecondType, |value| rounded(value) / 1e9),
        DataType::Duration(TimeUnit::Second) => tiles!(DurationSecondType, rounded),
        DataType::Duration(TimeUnit::Millisecond) => tiles!(DurationMillisecondType, |v| rounded(v) / 1e3),
        DataType::Duration(TimeUnit::Microsecond) => tiles!(DurationMicrosecondType, |v| rounded(v) / 1e6),
        DataType::Duration(TimeUnit::Nanosecond) => tiles!(DurationNanosecondType, |v| rounded(v) / 1e9),
        _ => return false,
    }
    true
}

#[allow(clippy::cast_precision_loss, reason = "bins are float64; beyond 2^53 neighbours become one value")]
fn rounded(value: i64) -> f64 {
    value as f64
}

#[allow(clippy::cast_precision_loss, reason = "as above")]
fn rounded_unsigned(value: u64) -> f64 {
    value as f64
}

#[allow(clippy::cast_precision_loss, reason = "as above")]
fn rounded_wide(value: i128) -> f64 {
    value as f64
}

fn rounded_widest(value: arrow_buffer::i256) -> f64 {
    let (low, high) = value.to_parts();
    #[allow(clippy::cast_precision_loss, reason = "as above")]
    let low = low as f64;
    rounded_wide(high) * 340_282_366_920_938_463_463_374_607_431_768_211_456.0 + low
}

fn scaled<T>(scale: i8, to: impl Fn(T) -> f64) -> impl Fn(T) -> f64 {
    // A division by a power of ten that is exact (up to 10^22) is rounded once: 1.5 is 1.5 in any scale.
    let divisor = 10_f64.powi(i32::from(scale).abs());
    move |value| if scale >= 0 { to(value) / divisor } else { to(value) * divisor }
}

fn floats(array: &PrimitiveArray<Float64Type>, visit: &mut dyn FnMut(usize, &[f64])) {
    if array.null_count() > 0 {
        return tiles(array, |value| value, visit);
    }
    for (index, tile) in array.values().chunks(TILE).enumerate() {
        visit(index * TILE, tile);
    }
}

fn tiles<T: ArrowPrimitiveType>(
    array: &PrimitiveArray<T>,
    to: impl Fn(T::Native) -> f64,
    visit: &mut dyn FnMut(usize, &[f64]),
) {
    let mut buffer = [0.0; TILE];
    let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
    for (index, tile) in array.values().chunks(TILE).enumerate() {
        let start = index * TILE;
        for (slot, value) in buffer.iter_mut().zip(tile) {
            *slot = to(*value);
        }
        if let Some(nulls) = nulls {
            blank(&mut buffer[..tile.len()], nulls, start);
        }
        visit(start, &buffer[..tile.len()]);
    }
}

/// Nulls become NaN.
fn blank(values: &mut [f64], nulls: &NullBuffer, start: usize) {
    let bits = nulls.inner().slice(start, values.len());
    let chunks = bits.bit_chunks();
    for (word, values) in chunks.iter_padded().zip(values.chunks_mut(64)) {
        if word != u64::MAX {
            for (bit, value) in values.iter_mut().enumerate() {
                *value = if word >> bit & 1 == 1 { *value } else { f64::NAN };
            }
        }
    }
}

/// A column of texts in any layout but a dictionary's, or of what is written as text.
pub(super) enum Texts<'a> {
    Small(&'a StringArray),
    Large(&'a LargeStringArray),
    View(&'a StringViewArray),
    Written(Vec<u8>, Vec<usize>),
    Nothing,
}

impl<'a> Texts<'a> {
    pub(super) fn of(array: &'a ArrayRef) -> Self {
        match array.data_type() {
            DataType::Utf8 => Self::Small(array.as_string()),
            DataType::LargeUtf8 => Self::Large(array.as_string()),
            DataType::Utf8View => Self::View(array.as_string_view()),
            other if is_written(other) => Self::written(array),
            _ => Self::Nothing,
        }
    }

    fn written(array: &ArrayRef) -> Self {
        let mut text = String::new();
        let mut ends = Vec::with_capacity(array.len());
        macro_rules! integers {
            ($($name:ident => $type:ty),*) => {
                match array.data_type() {
                    $(DataType::$name => for &number in array.as_primitive::<$type>().values() {
                        value::write_integer(&mut text, number);
                        ends.push(text.len());
                    },)*
                    _ => for row in array.as_boolean().values() {
                        value::write_bool(&mut text, row);
                        ends.push(text.len());
                    },
                }
            };
        }
        integers!(Int8 => Int8Type, Int16 => Int16Type, Int32 => Int32Type, Int64 => Int64Type, UInt8 => UInt8Type,
            UInt16 => UInt16Type, UInt32 => UInt32Type, UInt64 => UInt64Type);
        Self::Written(text.into_bytes(), ends)
    }

    /// The text of a row that is not null; `None` if the offsets point outside.
    #[inline]
    pub(super) fn get(&self, row: usize) -> Option<&[u8]> {
        match self {
            Self::Small(texts) => {
                let offsets = texts.value_offsets();
                texts.value_data().get(offsets.get(row)?.as_usize()..offsets.get(row + 1)?.as_usize())
            }
            Self::Large(texts) => {
                let offsets = texts.value_offsets();
                texts.value_data().get(offsets.get(row)?.as_usize()..offsets.get(row + 1)?.as_usize())
            }
            Self::View(texts) => viewed(texts, row),
            Self::Written(text, ends) => {
                let start = if row == 0 { 0 } else { *ends.get(row - 1)? };
                text.get(start..*ends.get(row)?)
            }
            Self::Nothing => None,
        }
    }
}

/// A view is 16 bytes: the length, and the text itself if it has at most 12, else four bytes of it, buffer and offset.
#[inline]
fn viewed(texts: &StringViewArray, row: usize) -> Option<&[u8]> {
    let word = |bytes: &[u8]| Some(u32::from_le_bytes(*bytes.first_chunk()?) as usize);
    let view = texts.views().get(row)?.to_byte_slice();
    let length = word(view)?;
    if length <= 12 {
        return view.get(4..4 + length);
    }
    let (buffer, start) = (word(view.get(8..)?)?, word(view.get(12..)?)?);
    texts.data_buffers().get(buffer)?.get(start..start.checked_add(length)?)
}
