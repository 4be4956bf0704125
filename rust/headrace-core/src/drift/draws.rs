//! What chance does to two rows of counts: draws from the distribution of their difference when nothing changed.
//!
//! Given the totals of both rows together, every way to deal the rows of the frame out to the two sides is equally
//! likely (Fisher's permutation argument), so a p-value `(1 + draws at least as large) / (1 + draws)` is valid at any
//! size. While the smaller side has few rows they are dealt out; beyond, the difference is normal.
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are far below 2^53, and random bits are meant to be cut"
)]
#![allow(clippy::inline_always, reason = "only what is inlined is compiled for the processor at hand")]

use fearless_simd::{Level, dispatch};

/// Up to so many rows of the smaller side are dealt out one by one.
pub(crate) const DEALT: u64 = 400;
/// And up to so many a cell: with ten rows a cell the chi-square that Jensen-Shannon follows in the limit alarmed twice as
/// often as it says.
const DEALT_A_CELL: u64 = 40;
/// But never more than these, which take some milliseconds.
const MOST_DEALT: u64 = 20_000;
/// What every sequence of draws begins with.
const SEED: u64 = 0x6865_6164_7261_6365;
/// Up to so many rows lie in memory to be dealt from.
const SHUFFLED: u64 = 1 << 16;

/// `SplitMix64` (Steele, Lea and Flood 2014).
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    #[inline(always)]
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below `end`; the bias is below `end` / 2^64.
    fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(end)) >> 64) as u64
    }

    /// Standard normal to three digits of its distribution function: forty-eight fair coins and a uniform between them.
    #[inline(always)]
    fn normal(&mut self) -> f64 {
        const SCALE: f64 = 0.287_677_980_891_23; // 1 / sqrt(48/4 + 1/12)
        let bits = self.bits();
        let coins = f64::from((bits >> 16).count_ones());
        let between = f64::from(bits as u16) * (1.0 / 65_536.0);
        (coins + between - 24.5) * SCALE
    }
}

/// A normal value for each slot, that wide; and their sum.
#[inline(always)]
fn normals(random: &mut Random, roots: &[f64], slots: &mut [f64]) -> f64 {
    let mut total = 0.0;
    for (slot, root) in slots.iter_mut().zip(roots) {
        *slot = random.normal() * root;
        total += *slot;
    }
    total
}

/// Both rows together.
#[derive(Debug, Clone)]
pub(crate) struct Margins {
    /// Rows of the reference and live, effective ones if they have weights.
    pub(crate) sizes: (f64, f64),
    /// Shares of the cells, both sides together.
    pub(crate) pooled: Vec<f64>,
    /// Rows of the cells, both sides together, if each stands for one row.
    pub(crate) rows: Option<Vec<u64>>,
}

impl Margins {
    /// Whether rows are dealt out, so that every statistic is exact but for the number of draws.
    pub(crate) fn dealt(&self) -> bool {
        let most = (DEALT_A_CELL * self.pooled.len() as u64).clamp(DEALT, MOST_DEALT);
        self.rows.is_some() && self.sizes.0.min(self.sizes.1) <= most as f64
    }

    /// Calls `see` with `draws` differences (live share less reference share, a cell each).
    ///
    /// The same counts give the same draws, everywhere; other counts give others, or an error of few draws would be the
    /// same error in every comparison.
    pub(crate) fn draw(&self, draws: usize, mut see: impl FnMut(&[f64])) {
        let mut random = Random::new(SEED);
        for share in &self.pooled {
            random.0 = (random.0 ^ share.to_bits()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            random.bits();
        }
        let mut gap = vec![0.0; self.pooled.len()];
        match &self.rows {
            Some(rows) if self.dealt() => self.deal(rows, draws, &mut random, &mut gap, &mut see),
            _ => {
                let (n, m) = self.sizes;
                let scale = ((n + m) / (n * m)).sqrt();
                let roots: Vec<f64> = self.pooled.iter().map(|share| share.sqrt()).collect();
                let level = Level::new();
                for _ in 0..draws {
                    let total = dispatch!(level, _simd => normals(&mut random, &roots, &mut gap));
                    for (slot, share) in gap.iter_mut().zip(&self.pooled) {
                        *slot = (*slot - share * total) * scale;
                    }
                    see(&gap);
                }
            }
        }
    }

    fn deal(&self, rows: &[u64], draws: usize, random: &mut Random, gap: &mut [f64], see: &mut impl FnMut(&[f64])) {
        let all: u64 = rows.iter().sum();
        let (n, m) = self.sizes;
        let live_is_smaller = m <= n;
        let smaller = if live_is_smaller { m } else { n };
        let count = smaller as usize;
        // In memory they are dealt without being put back; of more than that, so few are drawn that it makes no odds.
        let mut deck: Vec<u32> = Vec::new();
        let mut ends = Vec::with_capacity(rows.len());
        let mut end = 0;
        for (cell, size) in (0_u32..).zip(rows) {
            end += size;
            ends.push(end);
            if all <= SHUFFLED {
                deck.extend(std::iter::repeat_n(cell, *size as usize));
            }
        }
        let mut taken = vec![0_u32; rows.len()];
        // live - reference in terms of the smaller side: q - p = (share of the smaller - pooled) N / (N - smaller)
        let stretch = all as f64 / (all as f64 - smaller) * if live_is_smaller { 1.0 } else { -1.0 };
        for _ in 0..draws {
            taken.fill(0);
            for i in 0..count {
                let cell = if deck.is_empty() {
                    let at = random.below(all);
                    ends.partition_point(|end| *end <= at)
                } else {
                    let at = i + random.below(all - i as u64) as usize;
                    deck.swap(i, at);
                    deck[i] as usize
                };
                taken[cell] += 1;
            }
            for ((slot, taken), share) in gap.iter_mut().zip(&taken).zip(&self.pooled) {
                *slot = (f64::from(*taken) / smaller - share) * stretch;
            }
            see(gap);
        }
    }
}

/// Draws of one statistic, sorted.
#[derive(Debug)]
pub(crate) struct Null(Vec<f64>);

impl Null {
    pub(crate) fn new(mut values: Vec<f64>) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        Self(values)
    }

    /// Probability of a value at least as large. Values that differ by rounding alone are equal.
    pub(crate) fn pvalue(&self, value: f64) -> f64 {
        let value = value - 1e-12 * value.abs().max(1e-12);
        let at_least = self.0.len() - self.0.partition_point(|draw| *draw < value);
        (1 + at_least) as f64 / (1 + self.0.len()) as f64
    }

    /// What is exceeded with probability `p`, rounded up to the next draw.
    pub(crate) fn exceeded_by(&self, p: f64) -> f64 {
        let above = ((1 + self.0.len()) as f64 * p).floor();
        let rank = self.0.len().saturating_sub(above as usize);
        self.0.get(rank.min(self.0.len().saturating_sub(1))).copied().unwrap_or(f64::INFINITY)
    }
}
