//! Sums that do not depend on the order of their terms, and from which terms can be taken away again: integers.
//!
//! A value is rounded to a multiple of the column's quantum, which is 2^-16 of the reference's scale, and counted from
//! the column's center. Whole numbers, and others with few digits, lose nothing by it.

#![allow(clippy::inline_always, reason = "only what is inlined is compiled for the processor at hand")]

use super::Moments;

/// Quanta in a scale: 2^16.
const FRACTION_BITS: i32 = 16;
/// Below that many quanta, 2^22, the sums of squares of a tile are exact in float64: in each lane a quarter of the tile,
/// 2^8 times 2^44 or less.
const NEAR: f64 = 4_194_304.0;
const LANES: usize = 4;
pub(crate) const TILE: usize = 1024;
/// Far values are looked for among so many, where there is one.
const BLOCK: usize = 32;
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

/// What is known of some values once they are added.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tally {
    /// Bounds of the finite ones.
    pub(super) extremes: (f64, f64),
    pub(super) nans: u64,
    pub(super) infinite: u64,
    /// Whether some were not finite or far.
    pub(super) mixed: bool,
}

/// Sums of steps that are near, several at a time.
#[derive(Default)]
struct Lanes {
    sums: [f64; LANES],
    squares: [f64; LANES],
    least: [f64; LANES],
    most: [f64; LANES],
}

impl Lanes {
    #[inline(always)]
    fn add(&mut self, lane: usize, steps: f64) {
        self.least[lane] = if steps < self.least[lane] { steps } else { self.least[lane] };
        self.most[lane] = if steps > self.most[lane] { steps } else { self.most[lane] };
        let whole = (steps + ROUND) - ROUND;
        self.sums[lane] += whole;
        self.squares[lane] += whole * whole;
    }

    fn extremes(&self) -> (f64, f64) {
        (self.least.into_iter().fold(0.0, f64::min), self.most.into_iter().fold(0.0, f64::max))
    }

    /// A step more than enough for what the differences were rounded by.
    fn bounds(&self, ruler: Ruler) -> (f64, f64) {
        let (least, most) = self.extremes();
        let slack = ruler.quantum + ruler.center.abs() * 1e-15;
        (ruler.center + (least * ruler.quantum - slack), ruler.center + (most * ruler.quantum + slack))
    }
}

/// Fours of values, the last filled up with the center, which adds nothing.
#[inline(always)]
fn each_four(values: &[f64], center: f64, mut add: impl FnMut(&[f64; LANES])) {
    let (fours, rest) = values.as_chunks::<LANES>();
    for four in fours {
        add(four);
    }
    if !rest.is_empty() {
        let mut last = [center; LANES];
        last[..rest.len()].copy_from_slice(rest);
        add(&last);
    }
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
    /// Adds at most [`TILE`] values, if all are finite and near the center; else adds none.
    #[inline(always)]
    pub(super) fn add_near(&mut self, ruler: Ruler, values: &[f64]) -> Option<Tally> {
        debug_assert!(values.len() <= TILE);
        let inverse = ruler.quantum.recip();
        let mut lanes = Lanes::default();
        each_four(values, ruler.center, |some| {
            #[allow(clippy::needless_range_loop, reason = "with iterators the compiler shuffles lanes")]
            for lane in 0..LANES {
                lanes.add(lane, (some[lane] - ruler.center) * inverse);
            }
        });
        // A NaN is in the sums, an infinity is far.
        let (least, most) = lanes.extremes();
        if lanes.sums.iter().sum::<f64>().is_nan() || -least >= NEAR || most >= NEAR {
            return None;
        }
        self.add_lanes(&lanes);
        Some(Tally { extremes: lanes.bounds(ruler), nans: 0, infinite: 0, mixed: false })
    }

    /// Adds the finite ones of at most [`TILE`] values, wherever they are.
    #[inline(always)]
    pub(super) fn add_mixed(&mut self, ruler: Ruler, values: &[f64]) -> Tally {
        debug_assert!(values.len() <= TILE);
        let (center, inverse) = (ruler.center, ruler.quantum.recip());
        let mut lanes = Lanes::default();
        let mut nans = [0_u64; LANES];
        let mut tally = Tally { extremes: (f64::INFINITY, f64::NEG_INFINITY), nans: 0, infinite: 0, mixed: false };
        for block in values.chunks(BLOCK) {
            let mut farthest = [0.0_f64; LANES];
            each_four(block, center, |some| {
                for lane in 0..LANES {
                    let steps = (some[lane] - center) * inverse;
                    let distance = steps.abs();
                    farthest[lane] = if distance > farthest[lane] { distance } else { farthest[lane] };
                    nans[lane] += u64::from(distance.is_nan());
                    lanes.add(lane, if distance < NEAR { steps } else { 0.0 });
                }
            });
            if farthest.iter().any(|distance| *distance >= NEAR) {
                tally.mixed = true;
                for &value in block.iter().filter(|value| ((**value - center) * inverse).abs() >= NEAR) {
                    if value.is_finite() {
                        self.add_weighted(ruler, value, 1);
                        tally.extremes = (tally.extremes.0.min(value), tally.extremes.1.max(value));
                    } else {
                        tally.infinite += 1;
                    }
                }
            }
        }
        self.add_lanes(&lanes);
        let near = lanes.bounds(ruler);
        tally.extremes = (tally.extremes.0.min(near.0), tally.extremes.1.max(near.1));
        tally.nans = nans.iter().sum();
        tally.mixed |= tally.nans > 0;
        tally
    }

    fn add_lanes(&mut self, lanes: &Lanes) {
        // Whole numbers of at most 2^53 in each lane.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, at most 2^53")]
        let (sum, square) =
            (lanes.sums.iter().sum::<f64>() as i64, lanes.squares.iter().map(|square| *square as u64).sum::<u64>());
        self.sum += i128::from(sum);
        self.low += u128::from(square);
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
