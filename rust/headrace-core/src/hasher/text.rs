//! Values as the text by which a category is hashed.

use std::fmt::Write as _;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Float16Type, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, PrimitiveArray};
use arrow_schema::{DataType, TimeUnit};

use crate::value::{self, Unit};

const MILLISECONDS_A_DAY: i64 = 86_400_000;

/// How numbers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// As everywhere in headrace.
    Canonical,
    /// As Java's `toString`, of JDK 19 and newer: Spark hashes numeric categories by it.
    Java,
}

/// Types that are no numbers to scikit-learn, and have a text.
pub(super) fn is_calendar(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) | DataType::Time32(_) | DataType::Time64(_)
    )
}

pub(super) fn is_number(data_type: &DataType) -> bool {
    data_type.is_integer()
        || data_type.is_floating()
        || matches!(data_type, DataType::Decimal32(_, 0..) | DataType::Decimal64(_, 0..) | DataType::Decimal128(_, 0..))
}

/// A row whose value cannot be written: a date beyond the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BeyondCalendar {
    pub(super) row: usize,
}

/// Calls `each` with every row that is not null and its value as text. The type is one that [`is_written`].
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "scales are small and not negative")]
#[allow(clippy::too_many_lines, reason = "a line or a few for each type")]
pub(super) fn write_each(
    array: &ArrayRef,
    style: Style,
    mut each: impl FnMut(usize, &str),
) -> Result<(), BeyondCalendar> {
    let mut out = String::new();
    macro_rules! written {
        ($type:ty, $write:expr) => {{
            let values: &PrimitiveArray<$type> = array.as_primitive();
            for row in 0..values.len() {
                if values.is_valid(row) {
                    out.clear();
                    if !$write(&mut out, values.value(row)) {
                        return Err(BeyondCalendar { row });
                    }
                    each(row, &out);
                }
            }
        }};
    }
    macro_rules! always {
        ($write:expr) => {
            |out: &mut String, value| {
                $write(out, value);
                true
            }
        };
    }
    let java = style == Style::Java;
    let float64 = if java { java_f64 } else { value::write_f64 };
    let float32 = if java { java_f32 } else { value::write_f32 };
    let decimal = if java { java_decimal } else { value::write_decimal };
    let zoned = |zone: &Option<_>| zone.is_some();
    match array.data_type() {
        DataType::Boolean => {
            let values = array.as_boolean();
            for row in 0..values.len() {
                if values.is_valid(row) {
                    each(row, if values.value(row) { "true" } else { "false" });
                }
            }
        }
        DataType::Int8 => written!(Int8Type, always!(value::write_integer)),
        DataType::Int16 => written!(Int16Type, always!(value::write_integer)),
        DataType::Int32 => written!(Int32Type, always!(value::write_integer)),
        DataType::Int64 => written!(Int64Type, always!(value::write_integer)),
        DataType::UInt8 => written!(UInt8Type, always!(value::write_integer)),
        DataType::UInt16 => written!(UInt16Type, always!(value::write_integer)),
        DataType::UInt32 => written!(UInt32Type, always!(value::write_integer)),
        DataType::UInt64 => written!(UInt64Type, always!(value::write_integer)),
        DataType::Float16 => written!(Float16Type, always!(|out, value| float32(out, f32::from(value)))),
        DataType::Float32 => written!(Float32Type, always!(float32)),
        DataType::Float64 => written!(Float64Type, always!(float64)),
        DataType::Decimal32(_, scale) => {
            written!(Decimal32Type, always!(|out, value| decimal(out, i128::from(value), *scale as u8)));
        }
        DataType::Decimal64(_, scale) => {
            written!(Decimal64Type, always!(|out, value| decimal(out, i128::from(value), *scale as u8)));
        }
        DataType::Decimal128(_, scale) => {
            written!(Decimal128Type, always!(|out, value| decimal(out, value, *scale as u8)));
        }
        DataType::Date32 => written!(Date32Type, |out: &mut String, days| value::write_date(out, i64::from(days))),
        DataType::Date64 => written!(Date64Type, |out: &mut String, milliseconds: i64| {
            value::write_date(out, milliseconds.div_euclid(MILLISECONDS_A_DAY))
        }),
        DataType::Timestamp(TimeUnit::Second, zone) => {
            let zoned = zoned(zone);
            written!(TimestampSecondType, |out: &mut String, count| value::write_datetime(
                out,
                count,
                Unit::Second,
                zoned
            ));
        }
        DataType::Timestamp(TimeUnit::Millisecond, zone) => {
            let zoned = zoned(zone);
            written!(TimestampMillisecondType, |out: &mut String, count| value::write_datetime(
                out,
                count,
                Unit::Millisecond,
                zoned
            ));
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let zoned = zoned(zone);
            written!(TimestampMicrosecondType, |out: &mut String, count| value::write_datetime(
                out,
                count,
                Unit::Microsecond,
                zoned
            ));
        }
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            let zoned = zoned(zone);
            written!(TimestampNanosecondType, |out: &mut String, count| value::write_datetime(
                out,
                count,
                Unit::Nanosecond,
                zoned
            ));
        }
        DataType::Time32(TimeUnit::Second) => {
            written!(Time32SecondType, |out: &mut String, count| value::write_time(
                out,
                i64::from(count),
                Unit::Second
            ));
        }
        DataType::Time32(_) => {
            written!(Time32MillisecondType, |out: &mut String, count| value::write_time(
                out,
                i64::from(count),
                Unit::Millisecond
            ));
        }
        DataType::Time64(TimeUnit::Nanosecond) => {
            written!(Time64NanosecondType, |out: &mut String, count| value::write_time(out, count, Unit::Nanosecond));
        }
        DataType::Time64(_) => {
            written!(Time64MicrosecondType, |out: &mut String, count| value::write_time(out, count, Unit::Microsecond));
        }
        _ => {}
    }
    Ok(())
}

/// `Double.toString`: digits as few as tell the number from others but at least two, and an exponent below 10^-3 and
/// from 10^7.
pub(super) fn java_f64(out: &mut String, number: f64) {
    let digits = format!("{number:e}");
    java_float(out, number, &if digits.contains('.') { digits } else { format!("{number:.1e}") });
}

/// `Float.toString`.
pub(super) fn java_f32(out: &mut String, number: f32) {
    let digits = format!("{number:e}");
    java_float(out, f64::from(number), &if digits.contains('.') { digits } else { format!("{number:.1e}") });
}

/// `digits` is the number as `[-]d.d[d...]e[-]x`.
fn java_float(out: &mut String, number: f64, digits: &str) {
    if !number.is_finite() || number == 0.0 {
        out.push_str(match (number.is_nan(), number == 0.0, number.is_sign_negative()) {
            (true, ..) => "NaN",
            (_, true, false) => "0.0",
            (_, true, true) => "-0.0",
            (_, false, false) => "Infinity",
            (_, false, true) => "-Infinity",
        });
        return;
    }
    let digits = digits.strip_prefix('-').map_or(digits, |rest| {
        out.push('-');
        rest
    });
    let (mantissa, exponent) = digits.split_once('e').unwrap_or((digits, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-3..7).contains(&exponent) {
        let _ = write!(out, "{mantissa}E{exponent}");
        return;
    }
    let mut figures = mantissa.replace('.', "");
    let point = if exponent < 0 {
        figures.insert_str(0, &"0".repeat(exponent.unsigned_abs() as usize));
        1
    } else {
        exponent.unsigned_abs() as usize + 1
    };
    while figures.len() <= point {
        figures.push('0');
    }
    let (whole, fraction) = figures.split_at(point);
    let fraction = fraction.trim_end_matches('0');
    let _ = write!(out, "{whole}.{}", if fraction.is_empty() { "0" } else { fraction });
}

/// `BigDecimal.toString`: every digit of the scale, and an exponent where there are six zeros behind the point.
fn java_decimal(out: &mut String, value: i128, scale: u8) {
    let digits = value.unsigned_abs().to_string();
    if value < 0 {
        out.push('-');
    }
    let scale = usize::from(scale);
    // The exponent if one figure stands before the point, with its sign turned.
    let exponent = (scale + 1).saturating_sub(digits.len());
    if exponent > 6 {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        let _ = write!(out, "{first}{point}{rest}E-{exponent}");
        return;
    }
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    let _ = write!(out, "{whole}{}{fraction}", if fraction.is_empty() { "" } else { "." });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_java_writes_them() {
        let cases = [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.1, "0.1"),
            (100.0, "100.0"),
            (123_456.789, "123456.789"),
            (1e7, "1.0E7"),
            (9_999_999.0, "9999999.0"),
            (1.5e10, "1.5E10"),
            (0.001, "0.001"),
            (-0.00123, "-0.00123"),
            (1e-4, "1.0E-4"),
            (9.99e-4, "9.99E-4"),
            (f64::from_bits(1), "4.9E-324"),
            (2e23, "2.0E23"),
            (f64::MAX, "1.7976931348623157E308"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (number, expected) in cases {
            let mut out = String::new();
            java_f64(&mut out, number);
            assert_eq!(out, expected);
        }
        let mut out = String::new();
        java_f32(&mut out, 0.1);
        assert_eq!(out, "0.1");
        for (value, scale, expected) in
            [(150, 2, "1.50"), (-5, 3, "-0.005"), (7, 0, "7"), (1, 7, "1E-7"), (12, 8, "1.2E-7"), (0, 2, "0.00")]
        {
            let mut out = String::new();
            java_decimal(&mut out, value, scale);
            assert_eq!(out, expected);
        }
    }
}
