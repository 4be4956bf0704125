//! Sums that do not depend on the order of their terms, and from which terms can be taken away again: integers.
//!
//! A value is rounded to a multiple of the column's quantum, which is 2^-16 of the reference's scale, and counted from
//! the column's center. Whole numbers, and others with few digits, lose nothing by it.

use super::Moments;

/// Quanta in a scale: 2^16.
const FRACTION_BITS: i32 = 16;
/// Below that many quanta, 2^22, the sums of squares of a tile are exact in float64: in each lane a quarter of the tile,
/// 2^8 times 2^44 or less.
const NEAR: f64 = 4_194_304.0;
const LANES: usize = 4;
pub(super) const TILE: usize = 1024;
/// Values are kept within 2^47 quanta.
const FAR: f64 = 140_737_488_355_328.0;
/// Added to a float well below it and taken away again, it rounds to a whole number, halves to even.
const ROUND: f64 = 6_755_399_441_055_744.0;

/// Where a column's sums are counted from, and in what.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ruler {
    center: f64,
    quantum: f64,
}

impl Ruler {
    /// From an ascending sample of finite values.
    pub(super) fn from_sample(sample: &[f64]) -> Self {
        let Some(&median) = sample.get(sample.len() / 2) else { return Self::new(0.0, 1.0) };
        // Divided first: neither a difference nor the sum may overflow.
        #[allow(clippy::cast_precision_loss, reason = "at most 2^14")]
        let part = (sample.len() as f64).recip();
        let spread: f64 = sample.iter().map(|value| (value * part - median * part).abs()).sum();
        let scale = [spread, median.abs() / 1024.0].into_iter().find(|scale| *scale > 0.0);
        Self::new(median, scale.unwrap_or(1.0))
    }

    fn new(center: f64, scale: f64) -> Self {
        let exponent = exponent_of(scale).clamp(-960, 960) - FRACTION_BITS;
        let quantum = power_of_two(exponent);
        let steps = center / quantum;
        let center = if steps.abs() < FAR { ((steps + ROUND) - ROUND) * quantum } else { center };
        Self { center, quantum }
    }

    /// What `parts` gave, if such a ruler can be.
    pub(super) fn from_parts(center: f64, exponent: i16) -> Option<Self> {
        let exponent = i32::from(exponent);
        let fits = center.is_finite() && (-976..=944).contains(&exponent);
        fits.then(|| Self { center, quantum: power_of_two(exponent) })
    }

    pub(super) fn parts(self) -> (f64, i16) {
        (self.center, i16::try_from(exponent_of(self.quantum)).unwrap_or(0))
    }

    /// The reciprocal of a power of two is exact, and so is what it scales.
    fn steps(self, value: f64) -> i64 {
        let steps = ((value - self.center) * self.quantum.recip()).clamp(-FAR, FAR);
        #[allow(clippy::cast_possible_truncation, reason = "clamped and whole")]
        let whole = ((steps + ROUND) - ROUND) as i64;
        whole
    }
}

fn exponent_of(value: f64) -> i32 {
    if value < f64::MIN_POSITIVE {
        return -1022;
    }
    i32::try_from(value.to_bits() >> 52 & 0x7ff).unwrap_or(0) - 1023
}

fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(u64::try_from(exponent + 1023).unwrap_or(0) << 52)
}

/// The sum of a column's values and of their squares, in quanta from the center. A square can have 94 bits: its low 64
/// and its high bits are summed apart, so that 2^64 of them fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sums {
    pub(super) sum: i128,
    pub(super) low: u128,
    pub(super) high: u128,
}

impl Sums {
    /// Adds at most [`TILE`] values and gives bounds of them, if all are finite and near the center; else adds none.
    pub(super) fn add_near(&mut self, ruler: Ruler, values: &[f64]) -> Option<(f64, f64)> {
        debug_assert!(values.len() <= TILE);
        let (center, inverse) = (ruler.center, ruler.quantum.recip());
        let mut sums = [0.0_f64; LANES];
        let mut squares = [0.0_f64; LANES];
        let mut farthest = [0.0_f64; LANES];
        let mut add = |some: &[f64; LANES]| {
            for lane in 0..LANES {
                let steps = (some[lane] - center) * inverse;
                let distance = steps.abs();
                farthest[lane] = if distance > farthest[lane] { distance } else { farthest[lane] };
                let whole = (steps + ROUND) - ROUND;
                sums[lane] += whole;
                squares[lane] += whole * whole;
            }
        };
        let (many, rest) = values.as_chunks::<LANES>();
        many.iter().for_each(&mut add);
        if !rest.is_empty() {
            // The center itself adds nothing.
            let mut last = [center; LANES];
            last[..rest.len()].copy_from_slice(rest);
            add(&last);
        }
        // A NaN is in the sums, an infinity is far.
        let sum: f64 = sums.iter().sum();
        let farthest = farthest.into_iter().fold(0.0, f64::max);
        if sum.is_nan() || farthest >= NEAR {
            return None;
        }
        // Whole numbers of at most 2^53 in each lane.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, at most 2^53")]
        let (sum, square) = (sum as i64, squares.iter().map(|square| *square as u64).sum::<u64>());
        self.sum += i128::from(sum);
        self.low += u128::from(square);
        // A step more than enough for what the differences were rounded by.
        let reach = (farthest + 1.0) * ruler.quantum + center.abs() * 1e-15;
        Some((center - reach, center + reach))
    }

    /// Adds at most [`TILE`] finite values, wherever they are.
    pub(super) fn add_tile(&mut self, ruler: Ruler, values: &[f64]) {
        if self.add_near(ruler, values).is_some() {
            return;
        }
        let inverse = ruler.quantum.recip();
        let mut near = [0.0; TILE];
        let mut count = 0;
        for &value in values {
            near[count.min(TILE - 1)] = value;
            if ((value - ruler.center) * inverse).abs() < NEAR {
                count += 1;
            } else {
                self.add_weighted(ruler, value, 1);
            }
        }
        let all = self.add_near(ruler, &near[..count]);
        debug_assert!(all.is_some());
    }

    /// Adds a finite value so many times.
    pub(super) fn add_weighted(&mut self, ruler: Ruler, value: f64, weight: u64) {
        let steps = ruler.steps(value);
        let square = u128::from(steps.unsigned_abs()) * u128::from(steps.unsigned_abs());
        self.sum += i128::from(steps) * i128::from(weight);
        self.low += (square & u128::from(u64::MAX)) * u128::from(weight);
        self.high += (square >> 64) * u128::from(weight);
    }

    /// The moments of `count` counts that are worth `unit` each.
    #[allow(clippy::cast_precision_loss, reason = "the one rounding of exact sums")]
    pub(super) fn moments(self, ruler: Ruler, count: u64, unit: f64, range: Option<(f64, f64)>) -> Moments {
        let (min, max) = range.unzip();
        if count == 0 {
            return Moments { n: 0.0, mean: 0.0, m2: 0.0, min, max };
        }
        let n = count as f64;
        let mean_steps = self.sum as f64 / n;
        let squares = self.high as f64 * 18_446_744_073_709_551_616.0 + self.low as f64;
        let m2_steps = (squares - mean_steps * self.sum as f64).max(0.0);
        let mean = ruler.center + mean_steps * ruler.quantum;
        Moments { n: n * unit, mean, m2: m2_steps * ruler.quantum * ruler.quantum * unit, min, max }
    }
}
