//! Types of the columns that a plan reads, by the names of `headrace.compute.plan.types`, and how Arrow's types are
//! called there.

use arrow_schema::{DataType, Field, TimeUnit};

use crate::value::Unit;

/// Key of the metadata with which a binding marks 128-bit integers (`signed`, `unsigned`), which Arrow lacks.
pub const WIDE_INTEGER: &str = "headrace.int128";
/// Key of the metadata with which a binding says why a column of its stream cannot be read.
pub const UNREADABLE: &str = "headrace.unreadable";

/// What values mean, whatever their width. `Float` includes decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Integer,
    Float,
    Boolean,
    String,
    Date,
    Datetime,
    Time,
    Duration,
    Null,
    Other,
}

impl Family {
    /// As a message says what a column holds.
    pub(super) fn plural(self) -> Option<&'static str> {
        Some(match self {
            Self::Integer => "whole numbers",
            Self::Float => "numbers",
            Self::Boolean => "booleans",
            Self::String => "text",
            Self::Date => "dates",
            Self::Datetime => "datetimes",
            Self::Time => "times of day",
            Self::Duration => "durations",
            Self::Null | Self::Other => return None,
        })
    }
}

/// How a float is written as a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    Half,
    Single,
    Double,
    Decimal,
}

/// The type of an input, as the plan states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ColumnType {
    pub(super) name: String,
    pub(super) family: Family,
    /// Of floats.
    pub(super) width: Width,
    /// Of durations, and of datetimes.
    pub(super) unit: Unit,
    /// Of datetimes.
    pub(super) zoned: bool,
}

impl ColumnType {
    /// The type of a name, if it is one.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let mut made = Self {
            name: name.to_owned(),
            family: Family::Null,
            width: Width::Double,
            unit: Unit::Microsecond,
            zoned: false,
        };
        made.family = match name {
            "boolean" => Family::Boolean,
            "string" => Family::String,
            "date" => Family::Date,
            "time" => Family::Time,
            "null" => Family::Null,
            "int8" | "int16" | "int32" | "int64" | "int128" | "uint8" | "uint16" | "uint32" | "uint64" | "uint128" => {
                Family::Integer
            }
            "float16" | "float32" | "float64" => {
                made.width = match name {
                    "float16" => Width::Half,
                    "float32" => Width::Single,
                    _ => Width::Double,
                };
                Family::Float
            }
            _ => {
                let (outer, inner) = name.strip_suffix(']')?.split_once('[')?;
                match outer {
                    "decimal" => {
                        let (precision, scale) = inner.split_once(',')?;
                        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
                        if !digits(precision) || !digits(scale) {
                            return None;
                        }
                        let (precision, scale) = (precision.parse::<u8>().ok()?, scale.parse::<u8>().ok()?);
                        if precision == 0 || precision > 38 || scale > precision {
                            return None;
                        }
                        made.width = Width::Decimal;
                        Family::Float
                    }
                    "datetime" => {
                        let (unit, zone) =
                            inner.split_once(", ").map_or((inner, None), |(unit, zone)| (unit, Some(zone)));
                        if zone == Some("") {
                            return None;
                        }
                        made.unit = unit_of(unit)?;
                        made.zoned = zone.is_some();
                        Family::Datetime
                    }
                    "duration" => {
                        made.unit = unit_of(inner)?;
                        Family::Duration
                    }
                    _ => return None,
                }
            }
        };
        Some(made)
    }
}

fn unit_of(name: &str) -> Option<Unit> {
    Some(match name {
        "ms" => Unit::Millisecond,
        "us" => Unit::Microsecond,
        "ns" => Unit::Nanosecond,
        _ => return None,
    })
}

/// Arrow's unit as ours.
pub(super) fn unit(unit: TimeUnit) -> Unit {
    match unit {
        TimeUnit::Second => Unit::Second,
        TimeUnit::Millisecond => Unit::Millisecond,
        TimeUnit::Microsecond => Unit::Microsecond,
        TimeUnit::Nanosecond => Unit::Nanosecond,
    }
}

/// The family of an Arrow column, and its name in a plan's terms.
pub(super) fn of_field(field: &Field) -> (Family, String) {
    if let Some(sign) = field.metadata().get(WIDE_INTEGER) {
        return (Family::Integer, if sign == "unsigned" { "uint128" } else { "int128" }.to_owned());
    }
    of_arrow(field.data_type())
}

fn of_arrow(data_type: &DataType) -> (Family, String) {
    // Seconds are no unit of a plan; polars, with which plans are fitted, reads them as milliseconds.
    let shown = |unit: TimeUnit| match unit {
        TimeUnit::Second | TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    };
    let (family, name) = match data_type {
        DataType::Null => (Family::Null, "null"),
        DataType::Boolean => (Family::Boolean, "boolean"),
        DataType::Int8 => (Family::Integer, "int8"),
        DataType::Int16 => (Family::Integer, "int16"),
        DataType::Int32 => (Family::Integer, "int32"),
        DataType::Int64 => (Family::Integer, "int64"),
        DataType::UInt8 => (Family::Integer, "uint8"),
        DataType::UInt16 => (Family::Integer, "uint16"),
        DataType::UInt32 => (Family::Integer, "uint32"),
        DataType::UInt64 => (Family::Integer, "uint64"),
        DataType::Float16 => (Family::Float, "float16"),
        DataType::Float32 => (Family::Float, "float32"),
        DataType::Float64 => (Family::Float, "float64"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => (Family::String, "string"),
        DataType::Date32 => (Family::Date, "date"),
        DataType::Date64 => (Family::Datetime, "datetime[ms]"),
        DataType::Time32(_) | DataType::Time64(_) => (Family::Time, "time"),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale) => {
            return (Family::Float, format!("decimal[{precision},{scale}]"));
        }
        DataType::Timestamp(unit, None) => return (Family::Datetime, format!("datetime[{}]", shown(*unit))),
        DataType::Timestamp(unit, Some(zone)) => {
            return (Family::Datetime, format!("datetime[{}, {zone}]", shown(*unit)));
        }
        DataType::Duration(unit) => return (Family::Duration, format!("duration[{}]", shown(*unit))),
        DataType::Dictionary(_, values) => return of_arrow(values),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => {
            return (Family::Other, format!("list({})", of_arrow(item.data_type()).1));
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => (Family::Other, "binary"),
        DataType::Struct(_) => (Family::Other, "struct"),
        other => return (Family::Other, other.to_string().to_lowercase()),
    };
    (family, name.to_owned())
}
