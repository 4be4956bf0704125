//! A column as the steps see it: typed slices and a validity, whether they lie in an Arrow array or are one value of a
//! JSON row.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, DurationMicrosecondType,
    DurationMillisecondType, DurationNanosecondType, DurationSecondType, Float16Type, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, StringViewType, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow_schema::{DataType, Field, TimeUnit};

use super::types::{WIDE_INTEGER, unit};
use crate::value::{
    Unit, write_bool, write_date, write_datetime, write_decimal, write_f32, write_f64, write_integer, write_time,
};

/// float16 as arrow holds it.
pub(super) type Half = <Float16Type as ArrowPrimitiveType>::Native;

/// Rows of one column.
#[derive(Debug, Clone)]
pub(super) struct Column<'a> {
    pub(super) nulls: Option<&'a NullBuffer>,
    pub(super) values: Values<'a>,
}

#[derive(Debug, Clone)]
pub(super) enum Values<'a> {
    /// Nothing in any row.
    Missing,
    Booleans(Booleans<'a>),
    Numbers(Numbers<'a>),
    Texts(Texts<'a>),
    /// Days since 1970-01-01.
    Dates(&'a [i32]),
    /// Datetimes, times of day or durations.
    Counts(Counts<'a>, Unit),
}

#[derive(Debug, Clone)]
pub(super) enum Booleans<'a> {
    Bits(&'a BooleanBuffer),
    One(bool),
}

impl Booleans<'_> {
    #[inline]
    pub(super) fn at(&self, row: usize) -> bool {
        match self {
            Self::Bits(bits) => bits.value(row),
            Self::One(value) => *value,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) enum Numbers<'a> {
    I8(&'a [i8]),
    I16(&'a [i16]),
    I32(&'a [i32]),
    I64(&'a [i64]),
    U8(&'a [u8]),
    U16(&'a [u16]),
    U32(&'a [u32]),
    U64(&'a [u64]),
    /// 128-bit integers, sixteen bytes each, little-endian.
    Wide {
        bytes: &'a [u8],
        signed: bool,
    },
    F16(&'a [Half]),
    F32(&'a [f32]),
    F64(&'a [f64]),
    Decimals(Decimals<'a>, i8),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Decimals<'a> {
    D32(&'a [i32]),
    D64(&'a [i64]),
    D128(&'a [i128]),
}

impl Decimals<'_> {
    #[inline]
    pub(super) fn at(&self, row: usize) -> i128 {
        match self {
            Self::D32(values) => values[row].into(),
            Self::D64(values) => values[row].into(),
            Self::D128(values) => values[row],
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Counts<'a> {
    I32(&'a [i32]),
    I64(&'a [i64]),
}

impl Counts<'_> {
    #[inline]
    pub(super) fn at(&self, row: usize) -> i64 {
        match self {
            Self::I32(values) => values[row].into(),
            Self::I64(values) => values[row],
        }
    }
}

#[derive(Debug, Clone)]
pub(super) enum Texts<'a> {
    Small { offsets: &'a [i32], data: &'a [u8] },
    Large { offsets: &'a [i64], data: &'a [u8] },
    Views { views: &'a [u128], buffers: &'a [Buffer] },
    Dictionary(Keys<'a>, Box<Column<'a>>, usize),
    One(&'a str),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Keys<'a> {
    I8(&'a [i8]),
    I16(&'a [i16]),
    I32(&'a [i32]),
    I64(&'a [i64]),
    U8(&'a [u8]),
    U16(&'a [u16]),
    U32(&'a [u32]),
    U64(&'a [u64]),
}

impl Keys<'_> {
    /// The key of a row; a negative one is larger than any dictionary.
    #[inline]
    pub(super) fn at(&self, row: usize) -> usize {
        match self {
            Self::I8(keys) => usize::try_from(keys[row]).unwrap_or(usize::MAX),
            Self::I16(keys) => usize::try_from(keys[row]).unwrap_or(usize::MAX),
            Self::I32(keys) => usize::try_from(keys[row]).unwrap_or(usize::MAX),
            Self::I64(keys) => usize::try_from(keys[row]).unwrap_or(usize::MAX),
            Self::U8(keys) => keys[row].into(),
            Self::U16(keys) => keys[row].into(),
            Self::U32(keys) => usize::try_from(keys[row]).unwrap_or(usize::MAX),
            Self::U64(keys) => usize::try_from(keys[row]).unwrap_or(usize::MAX),
        }
    }
}

/// Why a value cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Buffers that contradict each other.
    Damaged(String),
    /// A moment or a time of day that does not exist.
    BeyondCalendar(String),
    /// A float where whole numbers are expected.
    NotWhole { value: String, found: String },
}

impl Trouble {
    /// Bytes of a text that are no UTF-8.
    fn not_utf8(error: &std::str::Utf8Error) -> Self {
        Self::Damaged(format!("the text is not UTF-8: byte {} of it begins no character", error.valid_up_to()))
    }

    /// What is wrong with bytes that were refused.
    #[cold]
    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(_) => Self::Damaged("the text cannot be read".to_owned()),
            Err(error) => Self::not_utf8(&error),
        }
    }
}

impl<'a> Texts<'a> {
    /// The bytes of a row, checked to lie inside their buffer; none for a null of the dictionary.
    #[inline]
    pub(super) fn bytes(&self, row: usize) -> Result<Option<&'a [u8]>, Trouble> {
        match self {
            Self::Small { offsets, data } => span(data, i64::from(offsets[row]), i64::from(offsets[row + 1])).map(Some),
            Self::Large { offsets, data } => span(data, offsets[row], offsets[row + 1]).map(Some),
            Self::Views { views, buffers } => view_bytes(&views[row], buffers).map(Some),
            Self::Dictionary(keys, values, size) => {
                let key = keys.at(row);
                if key >= *size {
                    return Err(Trouble::Damaged(format!("a dictionary key points to value {key} of {size}")));
                }
                if values.is_null(key) {
                    return Ok(None);
                }
                match &values.values {
                    Values::Texts(texts) => texts.bytes(key),
                    _ => Ok(None),
                }
            }
            Self::One(text) => Ok(Some(text.as_bytes())),
        }
    }

    /// The text of a row; none for a null of the dictionary.
    pub(super) fn text(&self, row: usize) -> Result<Option<&'a str>, Trouble> {
        match self.bytes(row)? {
            None => Ok(None),
            Some(bytes) => std::str::from_utf8(bytes).map(Some).map_err(|error| Trouble::not_utf8(&error)),
        }
    }
}

#[inline]
fn span(data: &[u8], start: i64, end: i64) -> Result<&[u8], Trouble> {
    usize::try_from(start)
        .ok()
        .zip(usize::try_from(end).ok())
        .and_then(|(start, end)| data.get(start..end))
        .ok_or_else(|| Trouble::Damaged(format!("a text goes from byte {start} to {end} of {}", data.len())))
}

/// The bytes of a string view: in itself up to twelve, else in one of the buffers.
#[inline]
pub(super) fn view_bytes<'a>(view: &'a u128, buffers: &'a [Buffer]) -> Result<&'a [u8], Trouble> {
    // The layout is four 32-bit numbers: length, and for long texts a prefix, the buffer and the offset in it.
    #[expect(clippy::cast_possible_truncation, reason = "the fields of the layout")]
    let (length, buffer, offset) = (*view as u32, (*view >> 64) as u32, (*view >> 96) as u32);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let inside = if length <= super::vocabulary::INLINE {
        view_inline(view, length)
    } else {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        usize::try_from(buffer)
            .ok()
            .and_then(|buffer| buffers.get(buffer))
            .and_then(|buffer| buffer.get(offset..offset.checked_add(length)?))
    };
    inside.ok_or_else(|| {
        Trouble::Damaged(format!("a text of {length} bytes at byte {offset} of buffer {buffer} lies outside"))
    })
}

fn view_inline(view: &u128, length: usize) -> Option<&[u8]> {
    // Little-endian, which the crate insists on: the four bytes of the length, then the text.
    arrow_buffer::ToByteSlice::to_byte_slice(std::slice::from_ref(view)).get(4..4 + length)
}

impl<'a> Column<'a> {
    /// A column of an Arrow array; none for a type that no plan reads.
    pub(super) fn of(array: &'a ArrayRef, field: &Field) -> Option<Self> {
        Some(Self { nulls: array.nulls(), values: values_of(array, field)? })
    }

    #[inline]
    pub(super) fn is_null(&self, row: usize) -> bool {
        self.nulls.is_some_and(|nulls| nulls.is_null(row))
    }

    /// Whether there is a value, which a NaN is not.
    pub(super) fn is_missing(&self, row: usize) -> bool {
        if self.is_null(row) {
            return true;
        }
        match &self.values {
            Values::Missing => true,
            Values::Numbers(Numbers::F16(values)) => values[row].is_nan(),
            Values::Numbers(Numbers::F32(values)) => values[row].is_nan(),
            Values::Numbers(Numbers::F64(values)) => values[row].is_nan(),
            Values::Texts(Texts::Dictionary(keys, values, size)) => {
                let key = keys.at(row);
                key < *size && values.is_null(key)
            }
            _ => false,
        }
    }

    /// A value as a message shows it.
    pub(super) fn show(&self, row: usize) -> String {
        let mut out = String::new();
        match &self.values {
            Values::Missing => out.push_str("null"),
            Values::Booleans(values) => out.push_str(if values.at(row) { "True" } else { "False" }),
            Values::Numbers(numbers) => write_number(&mut out, numbers, row),
            Values::Texts(texts) => match texts.text(row) {
                Ok(Some(text)) => return shorten(&format!("'{}'", text.escape_debug())),
                Ok(None) => out.push_str("null"),
                Err(_) => out.push_str("bytes that are no text"),
            },
            Values::Dates(days) => {
                if !write_date(&mut out, days[row].into()) {
                    out = format!("day {}", days[row]);
                }
            }
            Values::Counts(counts, unit) => {
                if !write_datetime(&mut out, counts.at(row), *unit, false) {
                    out = counts.at(row).to_string();
                }
            }
        }
        shorten(&out)
    }
}

/// At most sixty characters.
pub(super) fn shorten(text: &str) -> String {
    if text.chars().count() <= 60 { text.to_owned() } else { text.chars().take(57).chain("...".chars()).collect() }
}

/// A number as it is, in its own width.
pub(super) fn write_number(out: &mut String, numbers: &Numbers<'_>, row: usize) {
    match numbers {
        Numbers::I8(values) => write_integer(out, values[row]),
        Numbers::I16(values) => write_integer(out, values[row]),
        Numbers::I32(values) => write_integer(out, values[row]),
        Numbers::I64(values) => write_integer(out, values[row]),
        Numbers::U8(values) => write_integer(out, values[row]),
        Numbers::U16(values) => write_integer(out, values[row]),
        Numbers::U32(values) => write_integer(out, values[row]),
        Numbers::U64(values) => write_integer(out, values[row]),
        Numbers::Wide { bytes, signed: true } => write_integer(out, wide(bytes, row)),
        Numbers::Wide { bytes, signed: false } => write_integer(out, wide(bytes, row).cast_unsigned()),
        Numbers::F16(values) => write_f32(out, values[row].to_f32()),
        Numbers::F32(values) => write_f32(out, values[row]),
        Numbers::F64(values) => write_f64(out, values[row]),
        Numbers::Decimals(values, scale) => write_scaled(out, values.at(row), *scale),
    }
}

/// The number `row` of sixteen bytes each.
#[inline]
pub(super) fn wide(bytes: &[u8], row: usize) -> i128 {
    bytes.as_chunks::<16>().0.get(row).map_or(0, |number| i128::from_le_bytes(*number))
}

/// A decimal, also with a scale below zero.
pub(super) fn write_scaled(out: &mut String, value: i128, scale: i8) {
    if let Ok(scale) = u8::try_from(scale) {
        write_decimal(out, value, scale);
    } else {
        write_integer(out, value);
        if value != 0 {
            out.extend(std::iter::repeat_n('0', scale.unsigned_abs().into()));
        }
    }
}

/// The key text of a number in the width of the plan's type; a decimal that meets a float is converted first, and a
/// float that meets a decimal is written as it stands.
pub(super) fn write_number_key(
    out: &mut String,
    numbers: &Numbers<'_>,
    row: usize,
    width: Option<super::types::Width>,
) {
    use super::types::Width;
    let float = |out: &mut String, value: f64| match width {
        Some(Width::Half) => write_f32(out, f32::from(to_half(value))),
        #[expect(clippy::cast_possible_truncation, reason = "rounded to the type of the plan")]
        Some(Width::Single) => write_f32(out, value as f32),
        _ => write_f64(out, value),
    };
    match numbers {
        Numbers::F16(values) => float(out, values[row].to_f64()),
        Numbers::F32(values) => float(out, values[row].into()),
        Numbers::F64(values) => float(out, values[row]),
        // Whole numbers and decimals of a decimal or an integer column are written exactly.
        _ if matches!(width, None | Some(Width::Decimal)) => write_number(out, numbers, row),
        _ => float(out, super::number::real(numbers, row)),
    }
}

pub(super) fn to_half(value: f64) -> Half {
    Half::from_f64(value)
}

/// The key text of a value that is not missing, or why there is none. `zoned` and `width` are those of the plan's type.
pub(super) fn write_key(
    out: &mut String,
    column: &Column<'_>,
    row: usize,
    key: &super::types::ColumnType,
) -> Result<(), Trouble> {
    let written = match &column.values {
        Values::Missing => true,
        Values::Booleans(values) => {
            write_bool(out, values.at(row));
            true
        }
        Values::Numbers(numbers) => {
            let width = (key.family == super::types::Family::Float).then_some(key.width);
            write_number_key(out, numbers, row, width);
            true
        }
        Values::Texts(texts) => {
            out.push_str(texts.text(row)?.unwrap_or_default());
            true
        }
        Values::Dates(days) if key.family == super::types::Family::Datetime => {
            write_datetime(out, i64::from(days[row]) * 86_400, Unit::Second, false)
        }
        Values::Dates(days) => write_date(out, days[row].into()),
        Values::Counts(counts, unit) if key.family == super::types::Family::Time => {
            write_time(out, counts.at(row), *unit)
        }
        Values::Counts(counts, unit) => write_datetime(out, counts.at(row), *unit, key.zoned),
    };
    if written { Ok(()) } else { Err(Trouble::BeyondCalendar(column.show(row))) }
}

fn values_of<'a>(array: &'a ArrayRef, field: &Field) -> Option<Values<'a>> {
    macro_rules! slice {
        ($kind:ty) => {
            array.as_primitive::<$kind>().values().as_ref()
        };
    }
    let numbers = match array.data_type() {
        DataType::Null => return Some(Values::Missing),
        DataType::Boolean => return Some(Values::Booleans(Booleans::Bits(array.as_boolean().values()))),
        DataType::Int8 => Numbers::I8(slice!(Int8Type)),
        DataType::Int16 => Numbers::I16(slice!(Int16Type)),
        DataType::Int32 => Numbers::I32(slice!(Int32Type)),
        DataType::Int64 => Numbers::I64(slice!(Int64Type)),
        DataType::UInt8 => Numbers::U8(slice!(UInt8Type)),
        DataType::UInt16 => Numbers::U16(slice!(UInt16Type)),
        DataType::UInt32 => Numbers::U32(slice!(UInt32Type)),
        DataType::UInt64 => Numbers::U64(slice!(UInt64Type)),
        DataType::FixedSizeBinary(16) => {
            let signed = field.metadata().get(WIDE_INTEGER)? == "signed";
            let values = array.as_fixed_size_binary();
            Numbers::Wide { bytes: values.value_data(), signed }
        }
        DataType::Float16 => Numbers::F16(slice!(Float16Type)),
        DataType::Float32 => Numbers::F32(slice!(Float32Type)),
        DataType::Float64 => Numbers::F64(slice!(Float64Type)),
        DataType::Decimal32(_, scale) => Numbers::Decimals(Decimals::D32(slice!(Decimal32Type)), *scale),
        DataType::Decimal64(_, scale) => Numbers::Decimals(Decimals::D64(slice!(Decimal64Type)), *scale),
        DataType::Decimal128(_, scale) => Numbers::Decimals(Decimals::D128(slice!(Decimal128Type)), *scale),
        DataType::Date32 => return Some(Values::Dates(slice!(Date32Type))),
        DataType::Date64 => return Some(Values::Counts(Counts::I64(slice!(Date64Type)), Unit::Millisecond)),
        DataType::Time32(TimeUnit::Second) => {
            return Some(Values::Counts(Counts::I32(slice!(Time32SecondType)), Unit::Second));
        }
        DataType::Time32(_) => {
            return Some(Values::Counts(Counts::I32(slice!(Time32MillisecondType)), Unit::Millisecond));
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            return Some(Values::Counts(Counts::I64(slice!(Time64MicrosecondType)), Unit::Microsecond));
        }
        DataType::Time64(_) => {
            return Some(Values::Counts(Counts::I64(slice!(Time64NanosecondType)), Unit::Nanosecond));
        }
        DataType::Timestamp(of, _) => {
            let counts = match of {
                TimeUnit::Second => slice!(TimestampSecondType),
                TimeUnit::Millisecond => slice!(TimestampMillisecondType),
                TimeUnit::Microsecond => slice!(TimestampMicrosecondType),
                TimeUnit::Nanosecond => slice!(TimestampNanosecondType),
            };
            return Some(Values::Counts(Counts::I64(counts), unit(*of)));
        }
        DataType::Duration(of) => {
            let counts = match of {
                TimeUnit::Second => slice!(DurationSecondType),
                TimeUnit::Millisecond => slice!(DurationMillisecondType),
                TimeUnit::Microsecond => slice!(DurationMicrosecondType),
                TimeUnit::Nanosecond => slice!(DurationNanosecondType),
            };
            return Some(Values::Counts(Counts::I64(counts), unit(*of)));
        }
        DataType::Utf8 => {
            let texts = array.as_string::<i32>();
            return Some(Values::Texts(Texts::Small { offsets: texts.value_offsets(), data: texts.value_data() }));
        }
        DataType::LargeUtf8 => {
            let texts = array.as_string::<i64>();
            return Some(Values::Texts(Texts::Large { offsets: texts.value_offsets(), data: texts.value_data() }));
        }
        DataType::Utf8View => {
            let texts = array.as_byte_view::<StringViewType>();
            return Some(Values::Texts(Texts::Views { views: texts.views(), buffers: texts.data_buffers() }));
        }
        DataType::Dictionary(..) => return dictionary(array),
        _ => return None,
    };
    Some(Values::Numbers(numbers))
}

/// A dictionary of texts; others are unpacked before.
fn dictionary(array: &ArrayRef) -> Option<Values<'_>> {
    let dictionary = array.as_any_dictionary_opt()?;
    let values = Column { nulls: dictionary.values().nulls(), values: texts_of(dictionary.values())? };
    let keys = dictionary.keys();
    macro_rules! slice {
        ($kind:ty) => {
            keys.as_primitive::<$kind>().values().as_ref()
        };
    }
    let keys = match keys.data_type() {
        DataType::Int8 => Keys::I8(slice!(Int8Type)),
        DataType::Int16 => Keys::I16(slice!(Int16Type)),
        DataType::Int32 => Keys::I32(slice!(Int32Type)),
        DataType::Int64 => Keys::I64(slice!(Int64Type)),
        DataType::UInt8 => Keys::U8(slice!(UInt8Type)),
        DataType::UInt16 => Keys::U16(slice!(UInt16Type)),
        DataType::UInt32 => Keys::U32(slice!(UInt32Type)),
        DataType::UInt64 => Keys::U64(slice!(UInt64Type)),
        _ => return None,
    };
    Some(Values::Texts(Texts::Dictionary(keys, Box::new(values), dictionary.values().len())))
}

fn texts_of(array: &ArrayRef) -> Option<Values<'_>> {
    match array.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            values_of(array, &Field::new("", DataType::Utf8, true))
        }
        _ => None,
    }
}
