//! Numbers: imputation, clipping, logarithm, scaling, bins; and what all steps share: missing values become the one quiet
//! NaN, float64 becomes float32 once.
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "rounding to the nearest float is what these functions are for"
)]

use std::ops::Range;

use arrow_buffer::NullBuffer;

use super::column::{Booleans, Column, Numbers, Values, wide};
use super::document;

/// The NaN of every output.
pub(super) const MISSING: f32 = f32::from_bits(0x7fc0_0000);

/// (x - center) / scale.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scaling {
    center: f64,
    scale: f64,
}

impl Scaling {
    /// None for a scale that is not above zero.
    pub(super) fn new(scaling: document::Scaling) -> Option<Self> {
        (scaling.scale > 0.0).then_some(Self { center: scaling.center + 0.0, scale: scaling.scale })
    }

    #[inline]
    pub(super) fn apply(self, value: f64) -> f64 {
        (value - self.center) / self.scale
    }
}

/// What becomes of a quantity at the end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Finish {
    scaling: Option<Scaling>,
    /// The output of a missing value.
    pub(super) missing: f32,
}

impl Finish {
    /// `impute`: the quantity that stands for a missing value.
    pub(super) fn new(impute: Option<f64>, scaling: Option<Scaling>) -> Self {
        let made = Self { scaling, missing: MISSING };
        Self { missing: impute.map_or(MISSING, |value| made.apply(value + 0.0)), ..made }
    }

    #[inline]
    pub(super) fn apply(self, value: f64) -> f32 {
        round(self.scaling.map_or(value, |scaling| scaling.apply(value)))
    }

    /// Whether quantities are only rounded.
    pub(super) fn is_plain(self) -> bool {
        self.scaling.is_none()
    }
}

/// What a number goes through before it is rounded. Minus zero as a constant is zero.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shaping {
    pub(super) impute: Option<f64>,
    pub(super) clip: Option<(f64, f64)>,
    pub(super) log: bool,
    pub(super) scaling: Option<Scaling>,
}

impl Shaping {
    /// Whether the number is only rounded.
    pub(super) fn is_plain(&self) -> bool {
        self.impute.is_none() && self.clip.is_none() && !self.log && self.scaling.is_none()
    }

    /// On float64 in which NaN is missing.
    pub(super) fn apply(&self, values: &mut [f64]) {
        if let Some(imputed) = self.impute {
            for value in values.iter_mut() {
                *value = if value.is_nan() { imputed } else { *value };
            }
        }
        if let Some((low, high)) = self.clip {
            for value in values.iter_mut() {
                // A NaN is neither below nor above.
                let raised = if *value < low { low } else { *value };
                *value = if raised > high { high } else { raised };
            }
        }
        if self.log {
            for value in values.iter_mut() {
                *value = libm::log1p(value.abs()).copysign(*value);
            }
        }
        if let Some(scaling) = self.scaling {
            for value in values.iter_mut() {
                *value = scaling.apply(*value);
            }
        }
    }
}

/// A float64 as the float32 of an output.
#[inline]
pub(super) fn round(value: f64) -> f32 {
    if value.is_nan() { MISSING } else { value as f32 }
}

/// Rounds a whole slice.
pub(super) fn round_all(values: &[f64], out: &mut [f32]) {
    for (value, out) in values.iter().zip(out) {
        *out = round(*value);
    }
}

/// Writes `value` to the rows that are null.
pub(super) fn fill_nulls<T: Copy>(nulls: Option<&NullBuffer>, rows: &Range<usize>, out: &mut [T], value: T) {
    let Some(nulls) = nulls else { return };
    let bits = nulls.inner().slice(rows.start, rows.len());
    let chunks = bits.bit_chunks();
    let mut base = 0;
    for word in chunks.iter().chain(std::iter::once(chunks.remainder_bits())) {
        let mut absent = !word;
        while absent != 0 {
            let row = base + absent.trailing_zeros() as usize;
            match out.get_mut(row) {
                Some(out) => *out = value,
                None => break, // beyond the remainder
            }
            absent &= absent - 1;
        }
        base += 64;
    }
}

macro_rules! each {
    ($values:expr, $rows:expr, $out:expr, $convert:expr) => {
        for (value, out) in $values[$rows.clone()].iter().zip($out.iter_mut()) {
            *out = $convert(*value);
        }
    };
}

/// Each number rounded once to float32; `missing` where it is null.
pub(super) fn rounded(column: &Column<'_>, rows: &Range<usize>, missing: f32, out: &mut [f32]) {
    match &column.values {
        Values::Numbers(Numbers::I8(values)) => each!(values, rows, out, f32::from),
        Values::Numbers(Numbers::I16(values)) => each!(values, rows, out, f32::from),
        Values::Numbers(Numbers::I32(values)) => each!(values, rows, out, |value: i32| value as f32),
        Values::Numbers(Numbers::I64(values)) => each!(values, rows, out, |value: i64| value as f32),
        Values::Numbers(Numbers::U8(values)) => each!(values, rows, out, f32::from),
        Values::Numbers(Numbers::U16(values)) => each!(values, rows, out, f32::from),
        Values::Numbers(Numbers::U32(values)) => each!(values, rows, out, |value: u32| value as f32),
        Values::Numbers(Numbers::U64(values)) => each!(values, rows, out, |value: u64| value as f32),
        Values::Numbers(Numbers::Wide { bytes, signed }) => {
            for (row, out) in rows.clone().zip(out.iter_mut()) {
                let value = wide(bytes, row);
                *out = if *signed { value as f32 } else { value.cast_unsigned() as f32 };
            }
        }
        Values::Numbers(Numbers::F32(values)) => {
            each!(values, rows, out, |value: f32| if value.is_nan() { MISSING } else { value });
        }
        Values::Numbers(Numbers::F64(values)) => each!(values, rows, out, round),
        Values::Numbers(numbers) => {
            for (row, out) in rows.clone().zip(out.iter_mut()) {
                *out = round(real(numbers, row));
            }
        }
        Values::Booleans(Booleans::Bits(bits)) => {
            for (row, out) in rows.clone().zip(out.iter_mut()) {
                *out = f32::from(u8::from(bits.value(row)));
            }
        }
        Values::Booleans(Booleans::One(value)) => out.fill(f32::from(u8::from(*value))),
        _ => out.fill(missing),
    }
    fill_nulls(column.nulls, rows, out, missing);
}

/// Each number as float64, NaN where missing.
pub(super) fn reals(column: &Column<'_>, rows: &Range<usize>, out: &mut [f64]) {
    match &column.values {
        Values::Numbers(Numbers::I8(values)) => each!(values, rows, out, f64::from),
        Values::Numbers(Numbers::I16(values)) => each!(values, rows, out, f64::from),
        Values::Numbers(Numbers::I32(values)) => each!(values, rows, out, f64::from),
        Values::Numbers(Numbers::I64(values)) => each!(values, rows, out, |value: i64| value as f64),
        Values::Numbers(Numbers::U8(values)) => each!(values, rows, out, f64::from),
        Values::Numbers(Numbers::U16(values)) => each!(values, rows, out, f64::from),
        Values::Numbers(Numbers::U32(values)) => each!(values, rows, out, f64::from),
        Values::Numbers(Numbers::U64(values)) => each!(values, rows, out, |value: u64| value as f64),
        Values::Numbers(Numbers::F32(values)) => each!(values, rows, out, f64::from),
        Values::Numbers(Numbers::F64(values)) => out.copy_from_slice(&values[rows.clone()]),
        Values::Numbers(numbers) => {
            for (row, out) in rows.clone().zip(out.iter_mut()) {
                *out = real(numbers, row);
            }
        }
        _ => out.fill(f64::NAN),
    }
    fill_nulls(column.nulls, rows, out, f64::NAN);
}

/// One number as float64.
pub(super) fn real(numbers: &Numbers<'_>, row: usize) -> f64 {
    match numbers {
        Numbers::I8(values) => values[row].into(),
        Numbers::I16(values) => values[row].into(),
        Numbers::I32(values) => values[row].into(),
        Numbers::I64(values) => values[row] as f64,
        Numbers::U8(values) => values[row].into(),
        Numbers::U16(values) => values[row].into(),
        Numbers::U32(values) => values[row].into(),
        Numbers::U64(values) => values[row] as f64,
        Numbers::Wide { bytes, signed: true } => wide(bytes, row) as f64,
        Numbers::Wide { bytes, signed: false } => wide(bytes, row).cast_unsigned() as f64,
        Numbers::F16(values) => values[row].to_f64(),
        Numbers::F32(values) => values[row].into(),
        Numbers::F64(values) => values[row],
        Numbers::Decimals(values, scale) => decimal(values.at(row), *scale),
    }
}

/// The float64 nearest to `value` times 10^-`scale`.
pub(super) fn decimal(value: i128, scale: i8) -> f64 {
    const POWERS: [f64; 23] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
        1e20, 1e21, 1e22,
    ];
    // Both sides are exact, so the division rounds once.
    if value.unsigned_abs() <= 1 << 53
        && let Some(power) = usize::try_from(scale).ok().and_then(|scale| POWERS.get(scale))
    {
        return value as f64 / power;
    }
    format!("{value}e{}", -i32::from(scale)).parse().unwrap_or(f64::NAN)
}

/// How many edges are at most the value.
pub(super) fn bins(edges: &[f64], finish: Finish, values: &[f64], out: &mut [f32]) {
    for (value, out) in values.iter().zip(out) {
        *out = if value.is_nan() {
            finish.missing
        } else {
            finish.apply(edges.partition_point(|edge| edge <= value) as f64)
        };
    }
}
