//! Statistics of two samples of numbers as they are, without bins.
//!
//! Values are ordered by keys: unsigned integers that ascend as the floats do, with one zero. NaN has no place in an
//! order; callers leave it out or refuse it. Infinities are values like any other where only the order counts.
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::many_single_char_names,
    reason = "sample sizes are far below 2^53, and digits of keys are meant to be cut; letters as in the papers"
)]

use rayon::ThreadPoolBuilder;

use super::buckets::Buckets;
use super::problem::Problem;
use super::{kolmogorov, paths};
use crate::error::{Error, Result};

/// Bits of a digit, and by how many of them keys are sorted.
const DIGIT: u32 = 11;
const DIGITS: usize = 3;
/// Below this many values the standard library sorts faster.
const RADIX: usize = 4_096;
/// Kuiper's exact distribution is enumerated up to so many steps (a few hundredths of a second).
const KUIPER_STEPS: u128 = 20_000_000;

/// How a p-value is to be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Exactly where that is affordable, else by the limit.
    Auto,
    /// By enumeration, whatever it costs.
    Exact,
    /// By the limit.
    Asymptotic,
}

/// A statistic, what it says about chance, and how that was computed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// The statistic.
    pub statistic: f64,
    /// Probability of one at least as large if nothing changed.
    pub pvalue: f64,
    /// Whether the probability is exact.
    pub exact: bool,
}

/// Two samples, sorted.
#[derive(Debug)]
pub struct Samples {
    reference: Vec<u64>,
    live: Vec<u64>,
}

impl Samples {
    /// Sorts two samples, each in a thread of its own if `threads` > 1. Both must hold a value, and none may be NaN.
    pub fn new(reference: &[f64], live: &[f64], threads: usize) -> Result<Self> {
        check(reference, live)?;
        let threads = if reference.len().min(live.len()) < RADIX { 1 } else { threads };
        let (reference, live) = both(threads, || sorted_keys(reference), || sorted_keys(live))?;
        Ok(Self { reference, live })
    }

    /// Sizes of both samples.
    #[must_use]
    pub fn sizes(&self) -> (u64, u64) {
        (self.reference.len() as u64, self.live.len() as u64)
    }

    /// Cramér-von Mises: T of T. W. Anderson (1962), ties by midranks. Exact in [`Method::Auto`] up to 20 values a side,
    /// as in scipy; the limit is that of one sample, shifted and scaled to the two-sample mean and variance. With ties
    /// the probability is too small, as scipy's is; where all values are one value nothing differs, and it is 1.
    #[must_use]
    pub fn cramer_von_mises(&self, method: Method) -> Outcome {
        let (n, m) = self.sizes();
        // Twelve times U, a whole number even with midranks.
        let (mut of_reference, mut of_live) = (0_i128, 0_i128);
        let (mut i, mut j, mut values) = (0_i128, 0_i128, 0_u64);
        groups(&self.reference, &self.live, |_, a, b| {
            values += 1;
            let (a, b) = (i128::from(a), i128::from(b));
            of_reference += rank_gap(a, 2 * j + a + b + 1);
            of_live += rank_gap(b, 2 * i + a + b + 1);
            i += a;
            j += b;
        });
        let (rows, columns) = (i128::from(n), i128::from(m));
        let product = rows * columns;
        let twelfths = rows * of_reference + columns * of_live - 2 * product * (4 * product - 1);
        let total = rows + columns;
        let statistic = twelfths as f64 / (12.0 * product as f64 * total as f64);
        let exact = match method {
            Method::Auto => n.max(m) <= 20,
            Method::Exact => true,
            Method::Asymptotic => false,
        };
        let pvalue = if values == 1 {
            1.0
        } else if exact {
            let multiple = product / i128::from(paths::gcd(n, m));
            let zeta = (multiple * multiple * total * twelfths).div_euclid(12 * product * product);
            paths::cramer_von_mises_sf(n, m, zeta)
        } else {
            let (n, m, total, product) = (n as f64, m as f64, total as f64, product as f64);
            let mean = (1.0 + 1.0 / total) / 6.0;
            let variance = (total + 1.0) * (4.0 * product * total - 3.0 * (n * n + m * m) - 2.0 * product)
                / (45.0 * total * total * 4.0 * product);
            if variance > 0.0 {
                kolmogorov::cramer_von_mises_sf(1.0 / 6.0 + (statistic - mean) / (45.0 * variance).sqrt())
            } else {
                1.0
            }
        };
        Outcome { statistic, pvalue, exact }
    }

    /// Wasserstein-1: the area between the two distribution functions, in units of the values. All must be finite.
    pub fn wasserstein(&self) -> Result<f64> {
        self.area(f64::abs)
    }

    /// Energy distance, `sqrt(2 integral of (F - G)^2)`, in square roots of the unit. All must be finite.
    pub fn energy(&self) -> Result<f64> {
        self.area(|gap| gap * gap).map(|area| (2.0 * area).sqrt())
    }

    fn area(&self, of: impl Fn(f64) -> f64) -> Result<f64> {
        for (side, keys) in [("reference", &self.reference), ("live", &self.live)] {
            let ends = [keys.first(), keys.last()];
            if ends.into_iter().flatten().any(|key| value_of(*key).is_infinite()) {
                return Err(Problem::InfiniteInSample { side }.into());
            }
        }
        let (n, m) = (self.reference.len() as f64, self.live.len() as f64);
        let (mut i, mut j, mut last, mut sum) = (0_u64, 0_u64, None, 0.0);
        groups(&self.reference, &self.live, |key, a, b| {
            let value = value_of(key);
            if let Some(last) = last {
                sum += of(i as f64 / n - j as f64 / m) * (value - last);
            }
            last = Some(value);
            i += a;
            j += b;
        });
        Ok(sum)
    }
}

/// How far `i m - j n` rises above and falls below 0, where i values of the reference and j live ones are at most the place
/// at hand, over all places: what Kolmogorov-Smirnov and Kuiper are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extremes {
    n: u64,
    m: u64,
    above: i128,
    below: i128,
}

impl Extremes {
    /// Of two samples, that is without an order; both must hold a value, and none may be NaN. Large ones are not sorted:
    /// they are counted in buckets, and only where the gap could still grow the values are looked at. With `threads` > 1
    /// both sides at once.
    pub fn new(reference: &[f64], live: &[f64], threads: usize) -> Result<Self> {
        check(reference, live)?;
        let (n, m) = (reference.len() as u64, live.len() as u64);
        let buckets = if n.min(m) < RADIX as u64 { None } else { Buckets::of(reference, live) };
        let (above, below) = match buckets {
            Some(buckets) => buckets.extremes(reference, live, threads)?,
            None => walk(&sorted_keys(reference), &sorted_keys(live)),
        };
        Ok(Self { n, m, above, below })
    }

    /// The largest distance of the two distribution functions. Exact in [`Method::Auto`] up to 10,000 values a side, as
    /// in scipy, and without regard to ties, which makes the p-value too large where there are some. The limit takes the
    /// one-sample distribution at the effective size, rounded.
    #[must_use]
    pub fn kolmogorov_smirnov(&self, method: Method) -> Outcome {
        let Self { n, m, above, below } = *self;
        let widest = above.max(below) as u128;
        let divisor = u128::from(paths::gcd(n, m));
        let statistic = widest as f64 / (u128::from(n) * u128::from(m)) as f64;
        let exact = match method {
            Method::Auto => n.max(m) <= 10_000,
            Method::Exact => true,
            Method::Asymptotic => false,
        };
        let pvalue = if exact {
            paths::smirnov_sf(n, m, (widest / divisor) as u64)
        } else {
            let effective = (n as f64 * m as f64 / (n as f64 + m as f64)).round_ties_even();
            if effective < 1.0 { 1.0 } else { kolmogorov::kstwo_sf(statistic, effective as u64).clamp(0.0, 1.0) }
        };
        Outcome { statistic, pvalue, exact }
    }

    /// Kuiper's: how far the first distribution function rises above the second and how far it falls below, added.
    #[must_use]
    pub fn kuiper(&self, method: Method) -> Outcome {
        let Self { n, m, above, below } = *self;
        let range = above as u128 + below as u128;
        let statistic = range as f64 / (u128::from(n) * u128::from(m)) as f64;
        let steps = (range / u128::from(paths::gcd(n, m))) as u64;
        let exact = match method {
            Method::Auto => paths::kuiper_steps(n, m, steps) <= KUIPER_STEPS,
            Method::Exact => true,
            Method::Asymptotic => false,
        };
        let pvalue = if exact {
            paths::kuiper_sf(n, m, steps)
        } else {
            kolmogorov::kuiper_sf(statistic, n as f64 * m as f64 / (n as f64 + m as f64))
        };
        Outcome { statistic, pvalue, exact }
    }
}

/// Both, at once if there are threads for it.
pub(super) fn both<T: Send>(
    threads: usize,
    first: impl FnOnce() -> T + Send,
    second: impl FnOnce() -> T + Send,
) -> Result<(T, T)> {
    if threads < 2 {
        return Ok((first(), second()));
    }
    let pool = ThreadPoolBuilder::new()
        .num_threads(2)
        .thread_name(|index| format!("headrace-drift-{index}"))
        .build()
        .map_err(|error| Error::Threads { threads: 2, reason: error.to_string() })?;
    Ok(pool.install(|| rayon::join(first, second)))
}

fn check(reference: &[f64], live: &[f64]) -> Result<()> {
    for (side, values) in [("reference", reference), ("live", live)] {
        if values.is_empty() {
            return Err(Problem::EmptySample { side }.into());
        }
        let nan = values.iter().filter(|value| value.is_nan()).count();
        if nan > 0 {
            return Err(Problem::NanInSample { side, count: nan }.into());
        }
    }
    Ok(())
}

/// [`Extremes`] of sorted keys.
fn walk(x: &[u64], y: &[u64]) -> (i128, i128) {
    let (n, m) = (x.len(), y.len());
    let (across, up) = (n as i128, m as i128);
    let (mut i, mut j) = (0, 0);
    let (mut above, mut below) = (0_i128, 0_i128);
    let mut look = |i: usize, j: usize, ended: bool| {
        let gap = if ended { i as i128 * up - j as i128 * across } else { 0 };
        above = above.max(gap);
        below = below.max(-gap);
    };
    // Random orders make any branch on the comparison a coin toss, so there is none: both heads advance by 0 or 1.
    while i < n && j < m {
        let least = x[i].min(y[j]);
        i += usize::from(x[i] == least);
        j += usize::from(y[j] == least);
        let again = x.get(i).is_some_and(|key| *key == least) | y.get(j).is_some_and(|key| *key == least);
        look(i, j, !again);
    }
    // One side is at its end. If a group of equal values is cut, its end is the last place where the gap can grow.
    if let Some(last) = x[..i].last().max(y[..j].last()) {
        i += x[i..].iter().take_while(|key| *key == last).count();
        j += y[j..].iter().take_while(|key| *key == last).count();
        look(i, j, true);
    }
    (above, below)
}

/// Each distinct value's key with how often either sample has it, ascending.
pub(super) fn groups(x: &[u64], y: &[u64], mut see: impl FnMut(u64, u64, u64)) {
    let (mut i, mut j) = (0, 0);
    while i < x.len() || j < y.len() {
        let key = match (x.get(i), y.get(j)) {
            (Some(a), Some(b)) => *a.min(b),
            (Some(a), None) => *a,
            (_, b) => b.copied().unwrap_or(u64::MAX),
        };
        let (from_i, from_j) = (i, j);
        while x.get(i) == Some(&key) {
            i += 1;
        }
        while y.get(j) == Some(&key) {
            j += 1;
        }
        see(key, (i - from_i) as u64, (j - from_j) as u64);
    }
}

/// Twelve times the sum of `(r - A - k)^2`, k = 1..count, where `twice` = 2 (r - A).
fn rank_gap(count: i128, twice: i128) -> i128 {
    3 * count * twice * twice - 6 * twice * count * (count + 1) + 2 * count * (count + 1) * (2 * count + 1)
}

/// The key of a float that is not NaN.
fn key_of(value: f64) -> u64 {
    let bits = (value + 0.0).to_bits(); // -0.0 + 0.0 is 0.0
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

pub(super) fn value_of(key: u64) -> f64 {
    f64::from_bits(if key >> 63 == 1 { key & !(1 << 63) } else { !key })
}

/// Keys, sorted: a radix sort by the highest bits in which they differ, and what those leave undone in place.
///
/// Three digits of 11 bits order all but the values that agree in 33 bits; those stand together then and are few, unless
/// one far value stretched the range, and are sorted by comparison. Fewer passes beat complete ones: each moves all keys
/// through memory.
pub(super) fn sorted_keys(values: &[f64]) -> Vec<u64> {
    let mut keys: Vec<u64> = values.iter().map(|value| key_of(*value)).collect();
    if keys.len() < RADIX {
        keys.sort_unstable();
        return keys;
    }
    let first = keys[0];
    let varying = keys.iter().fold(0, |bits, key| bits | (key ^ first));
    let low = (u64::BITS - varying.leading_zeros()).saturating_sub(DIGIT * DIGITS as u32);
    let digit = |key: u64, place: usize| (key >> (low + DIGIT * place as u32)) as usize & ((1 << DIGIT) - 1);
    let mut counts = vec![[0_usize; 1 << DIGIT]; DIGITS];
    for key in &keys {
        for (place, count) in counts.iter_mut().enumerate() {
            count[digit(*key, place)] += 1;
        }
    }
    let mut other = vec![0_u64; keys.len()];
    for (place, count) in counts.iter_mut().enumerate() {
        if count.contains(&keys.len()) {
            continue;
        }
        let mut next = 0;
        for slot in count.iter_mut() {
            next += std::mem::replace(slot, next);
        }
        for key in &keys {
            let slot = &mut count[digit(*key, place)];
            other[*slot] = *key;
            *slot += 1;
        }
        std::mem::swap(&mut keys, &mut other);
    }
    if low > 0 {
        let mut from = 0;
        for to in 1..=keys.len() {
            if to == keys.len() || keys[to] >> low != keys[from] >> low {
                if to - from > 1 {
                    keys[from..to].sort_unstable();
                }
                from = to;
            }
        }
    }
    keys
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::float_cmp, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_ascend_as_floats_do(a in any::<f64>(), b in any::<f64>()) {
            prop_assume!(!a.is_nan() && !b.is_nan());
            prop_assert_eq!(key_of(a).cmp(&key_of(b)), a.partial_cmp(&b).unwrap());
            prop_assert_eq!(value_of(key_of(a)), a);
        }

        #[test]
        fn the_radix_sort_sorts(seed in any::<u64>(), kinds in 1_u64..1 << 40, scale in -300_i32..300, far in any::<bool>()) {
            let mut state = seed;
            let mut values: Vec<f64> = (0..RADIX + 100).map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (((state >> 20) % kinds) as f64 - 10.0) * f64::from(scale).exp2()
            }).collect();
            if far {
                values[7] = f64::INFINITY;
            }
            let mut expected = values.clone();
            expected.sort_unstable_by(f64::total_cmp);
            let sorted: Vec<f64> = sorted_keys(&values).into_iter().map(value_of).collect();
            prop_assert_eq!(sorted, expected);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn buckets_find_what_sorting_finds(
            seed in any::<u64>(), kinds in prop::sample::select(vec![2_u64, 9, 700, 1 << 30]), power in -30_i32..30, shift in 0_u64..3,
        ) {
            let mut random = crate::drift::draws::Random::new(seed);
            let mut draw = |count: usize, shift: u64| -> Vec<f64> {
                (0..count).map(|_| {
                    let value = ((random.bits() % kinds + shift) as f64 / kinds as f64 - 0.5).powi(3);
                    if random.bits().is_multiple_of(5_000) { f64::INFINITY } else { value * f64::from(power).exp2() }
                }).collect()
            };
            let (x, y) = (draw(RADIX + 77, 0), draw(RADIX + 900, shift));
            let fast = Extremes::new(&x, &y, 1).unwrap();
            prop_assert_eq!((fast.above, fast.below), walk(&sorted_keys(&x), &sorted_keys(&y)));
        }
    }

    #[test]
    fn both_zeros_are_one_value() {
        let extremes = Extremes::new(&[0.0, -0.0], &[-0.0], 1).unwrap();
        assert_eq!(extremes.kolmogorov_smirnov(Method::Auto).statistic, 0.0);
    }
}
