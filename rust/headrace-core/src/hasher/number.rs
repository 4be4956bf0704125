//! Numbers of any type as float64.

use std::ops::Range;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Decimal32Type, Decimal64Type, Decimal128Type, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array as _, ArrayRef};
use arrow_schema::DataType;

/// Appends the nearest float64 of each number; what lies under a null is anything.
#[allow(clippy::cast_precision_loss, clippy::cast_lossless, reason = "as Python's float() of an int: the nearest")]
pub(super) fn read(array: &ArrayRef, rows: Range<usize>, out: &mut Vec<f64>) {
    macro_rules! cast {
        ($type:ty, $float:expr) => {
            out.extend(array.as_primitive::<$type>().values()[rows].iter().map(|value| $float(*value)))
        };
    }
    macro_rules! decimal {
        ($type:ty, $scale:expr) => {{
            let scale = u8::try_from(*$scale).unwrap_or(0);
            out.extend(
                array.as_primitive::<$type>().values()[rows].iter().map(|value| decimal(i128::from(*value), scale)),
            )
        }};
    }
    match array.data_type() {
        DataType::Int8 => cast!(Int8Type, f64::from),
        DataType::Int16 => cast!(Int16Type, f64::from),
        DataType::Int32 => cast!(Int32Type, f64::from),
        DataType::Int64 => cast!(Int64Type, |value| value as f64),
        DataType::UInt8 => cast!(UInt8Type, f64::from),
        DataType::UInt16 => cast!(UInt16Type, f64::from),
        DataType::UInt32 => cast!(UInt32Type, f64::from),
        DataType::UInt64 => cast!(UInt64Type, |value| value as f64),
        DataType::Float16 => cast!(Float16Type, f64::from),
        DataType::Float32 => cast!(Float32Type, f64::from),
        DataType::Float64 => out.extend_from_slice(&array.as_primitive::<Float64Type>().values()[rows]),
        DataType::Decimal32(_, scale) => decimal!(Decimal32Type, scale),
        DataType::Decimal64(_, scale) => decimal!(Decimal64Type, scale),
        DataType::Decimal128(_, scale) => decimal!(Decimal128Type, scale),
        // `column::kind_of` calls nothing else a number.
        _ => out.resize(rows.len(), f64::NAN),
    }
}

/// The float64 nearest to a decimal.
#[allow(clippy::cast_precision_loss, reason = "exact where it is used, or parsed")]
fn decimal(value: i128, scale: u8) -> f64 {
    // Both are exact, so that the quotient is rounded once.
    if value.unsigned_abs() < 1 << 53 && scale <= 22 {
        return value as f64 / 10_f64.powi(i32::from(scale));
    }
    format!("{value}e-{scale}").parse().unwrap_or(f64::NAN)
}
