//! The logical type of a column, as bytes: self-delimiting, and blind to how the values are laid out.

use arrow_schema::{DataType, Field, IntervalUnit, TimeUnit};

/// Field metadata that changes what the values mean, in the order it is written. polars keeps the categories of an
/// `Enum` nowhere else once the frame has no rows; the key has changed once.
const MEANINGFUL_METADATA: [&str; 4] =
    ["ARROW:extension:name", "ARROW:extension:metadata", "_PL_ENUM_VALUES", "_PL_ENUM_VALUES2"];

/// Marks metadata in front of a type. Below it are the type tags.
const ANNOTATION: u8 = 0xff;

/// Appends `bytes` behind their length.
pub(super) fn put_framed(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Appends the field's type; its name is its parent's matter.
pub(super) fn describe(field: &Field, out: &mut Vec<u8>) {
    for key in MEANINGFUL_METADATA {
        if let Some(value) = field.metadata().get(key) {
            out.push(ANNOTATION);
            put_framed(out, key.as_bytes());
            put_framed(out, value.as_bytes());
        }
    }
    if let DataType::Dictionary(_, values) = field.data_type() {
        out.extend_from_slice(&[60, u8::from(field.dict_is_ordered() == Some(true))]);
        describe_type(values, out);
    } else {
        describe_type(field.data_type(), out);
    }
}

fn describe_type(data_type: &DataType, out: &mut Vec<u8>) {
    match data_type {
        DataType::Null => out.push(0),
        DataType::Boolean => out.push(1),
        DataType::Int8 => out.push(2),
        DataType::Int16 => out.push(3),
        DataType::Int32 => out.push(4),
        DataType::Int64 => out.push(5),
        DataType::UInt8 => out.push(6),
        DataType::UInt16 => out.push(7),
        DataType::UInt32 => out.push(8),
        DataType::UInt64 => out.push(9),
        DataType::Float16 => out.push(10),
        DataType::Float32 => out.push(11),
        DataType::Float64 => out.push(12),
        DataType::Date32 => out.push(20),
        DataType::Date64 => out.push(21),
        DataType::Time32(unit) => out.extend_from_slice(&[22, time_unit(*unit)]),
        DataType::Time64(unit) => out.extend_from_slice(&[23, time_unit(*unit)]),
        DataType::Duration(unit) => out.extend_from_slice(&[24, time_unit(*unit)]),
        DataType::Timestamp(unit, zone) => {
            out.extend_from_slice(&[25, time_unit(*unit), u8::from(zone.is_some())]);
            if let Some(zone) = zone {
                put_framed(out, zone.as_bytes());
            }
        }
        DataType::Interval(unit) => out.extend_from_slice(&[26, interval_unit(*unit)]),
        DataType::Decimal32(precision, scale) => out.extend_from_slice(&[30, *precision, scale.to_le_bytes()[0]]),
        DataType::Decimal64(precision, scale) => out.extend_from_slice(&[31, *precision, scale.to_le_bytes()[0]]),
        DataType::Decimal128(precision, scale) => out.extend_from_slice(&[32, *precision, scale.to_le_bytes()[0]]),
        DataType::Decimal256(precision, scale) => out.extend_from_slice(&[33, *precision, scale.to_le_bytes()[0]]),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => out.push(40),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => out.push(41),
        DataType::FixedSizeBinary(width) => {
            out.push(42);
            out.extend_from_slice(&width.to_le_bytes());
        }
        DataType::List(item) | DataType::LargeList(item) | DataType::ListView(item) | DataType::LargeListView(item) => {
            out.push(50);
            describe(item, out);
        }
        DataType::FixedSizeList(item, length) => {
            out.push(51);
            out.extend_from_slice(&length.to_le_bytes());
            describe(item, out);
        }
        DataType::Struct(fields) => {
            out.push(52);
            out.extend_from_slice(&(fields.len() as u64).to_le_bytes());
            for field in fields {
                put_framed(out, field.name().as_bytes());
                describe(field, out);
            }
        }
        DataType::Map(entries, sorted) => {
            out.extend_from_slice(&[53, u8::from(*sorted)]);
            describe(entries, out);
        }
        // Reached for a dictionary whose field is out of sight (the values of another dictionary): not ordered.
        DataType::Dictionary(_, values) => {
            out.extend_from_slice(&[60, 0]);
            describe_type(values, out);
        }
        // `Node::new` refuses these before anything is described.
        DataType::Union(..) | DataType::RunEndEncoded(..) => {}
    }
}

fn time_unit(unit: TimeUnit) -> u8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 2,
        TimeUnit::Nanosecond => 3,
    }
}

fn interval_unit(unit: IntervalUnit) -> u8 {
    match unit {
        IntervalUnit::YearMonth => 0,
        IntervalUnit::DayTime => 1,
        IntervalUnit::MonthDayNano => 2,
    }
}
