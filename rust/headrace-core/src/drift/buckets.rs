//! How far two distribution functions part, without sorting: values are counted in buckets, and only where the gap could
//! still grow inside of one they are looked at.
#![allow(clippy::inline_always, reason = "only what is inlined is compiled for the processor at hand")]
#![allow(clippy::float_cmp, reason = "a bucket of one value")]

use fearless_simd::{Level, dispatch};

use super::samples::{both, groups, sorted_keys, value_of};
use crate::error::Result;
use crate::profile::{Key, TILE};

/// So many, that the counts of both sides stay in the cache.
const BUCKETS: usize = 1 << 16;
/// A bucket's number is in the high bits of a fine key.
const SHIFT: u32 = 32 - 16;
/// Values of each sample that the key is chosen by.
const FEW: usize = 512;

/// Buckets of equal width, or of widths that grow with the distance from a center: by a key that never falls as the value
/// rises.
#[derive(Debug, Clone, Copy)]
pub(super) struct Buckets {
    key: Key,
    /// Whether values come again.
    tied: bool,
    level: Level,
}

impl Buckets {
    /// For samples of at least so many values as [`FEW`]. `None` if many different values share a bucket, whatever the
    /// widths: sorting is faster then.
    pub(super) fn of(reference: &[f64], live: &[f64]) -> Option<Self> {
        let some = |values: &[f64]| {
            let finite = values.iter().copied().step_by(values.len() / FEW).filter(|value| value.is_finite());
            finite.map(|value| value + 0.0).collect::<Vec<_>>()
        };
        let mut few = [some(reference), some(live)].concat();
        few.sort_unstable_by(f64::total_cmp);
        let mut different = few.clone();
        different.dedup();
        let key = Key::best(&different);
        key.fine(0.0)?;
        let bucket = |value: &f64| key.fine(*value).map(|fine| fine >> SHIFT);
        let crowded = few.chunk_by(|a, b| bucket(a) == bucket(b)).filter(|some| some.first() != some.last());
        let fullest = crowded.map(<[f64]>::len).max().unwrap_or(0);
        let tied = different.len() < few.len() / 2;
        let counted = u32::try_from(reference.len().max(live.len())).is_ok();
        (counted && fullest <= few.len() / 32).then(|| Self { key, tied, level: Level::new() })
    }

    /// How far `i m - j n` rises above 0 and falls below, over all places; see [`super::samples::Extremes`].
    pub(super) fn extremes(self, x: &[f64], y: &[f64], threads: usize) -> Result<(i128, i128)> {
        let (across, up) = (x.len() as i128, y.len() as i128);
        let (a, b) = both(threads, || self.counts(x), || self.counts(y))?;
        let mut starts = Vec::with_capacity(BUCKETS);
        let (mut gap, mut above, mut below) = (0_i128, 0_i128, 0_i128);
        for (a, b) in a.iter().zip(&b) {
            starts.push(gap);
            gap += i128::from(*a) * up - i128::from(*b) * across;
            above = above.max(gap);
            below = below.max(-gap);
        }
        // Inside a bucket the gap can rise by all of its values of x, or fall by all of y.
        let mut open: Vec<bool> = starts
            .iter()
            .zip(a.iter().zip(&b))
            .map(|(start, (a, b))| {
                let (rise, fall) = (start + i128::from(*a) * up, i128::from(*b) * across - start);
                *a > 0 && *b > 0 && (rise > above || fall > below)
            })
            .collect();
        if self.tied {
            // Of one value in a bucket nothing is hidden.
            let (of_x, of_y) = both(threads, || self.one_values(x, &open), || self.one_values(y, &open))?;
            for (open, (a, b)) in open.iter_mut().zip(of_x.into_iter().zip(of_y)) {
                *open &= a.is_none() || a != b;
            }
        }
        if open.contains(&true) {
            let (keys_x, keys_y) = both(threads, || self.gathered(x, &open), || self.gathered(y, &open))?;
            let mut current = BUCKETS;
            groups(&keys_x, &keys_y, |key, a, b| {
                let bucket = self.key.fine(value_of(key)).map_or(0, |fine| (fine >> SHIFT) as usize);
                if bucket != current {
                    (current, gap) = (bucket, starts[bucket]);
                }
                gap += i128::from(a) * up - i128::from(b) * across;
                above = above.max(gap);
                below = below.max(-gap);
            });
        }
        Ok((above, below))
    }

    fn counts(self, values: &[f64]) -> Vec<u32> {
        let mut counts = vec![0; BUCKETS];
        dispatch!(self.level, _simd => self.each(values, |bucket, _| counts[bucket] += 1));
        counts
    }

    /// The value of each open bucket that has just one, and none of the others.
    fn one_values(self, values: &[f64], open: &[bool]) -> Vec<Option<f64>> {
        // NaN stands for a bucket without a value: there is none among the samples.
        let mut firsts = vec![f64::NAN; BUCKETS];
        let mut several = vec![false; BUCKETS];
        dispatch!(self.level, _simd => self.each(values, |bucket, value| {
            if open[bucket] {
                let first = firsts[bucket];
                if first != value {
                    several[bucket] |= !first.is_nan();
                    firsts[bucket] = value;
                }
            }
        }));
        firsts.into_iter().zip(several).map(|(first, several)| (!several).then_some(first)).collect()
    }

    fn gathered(self, values: &[f64], open: &[bool]) -> Vec<u64> {
        let mut some = Vec::new();
        dispatch!(self.level, _simd => self.each(values, |bucket, value| {
            if open[bucket] {
                some.push(value);
            }
        }));
        sorted_keys(&some)
    }

    #[inline(always)]
    fn each(self, values: &[f64], mut see: impl FnMut(usize, f64)) {
        let mut keys = [0_u32; TILE];
        for tile in values.chunks(TILE) {
            self.key.fill_fine(&mut keys, tile);
            for (key, value) in keys.iter().zip(tile) {
                see((key >> SHIFT) as usize & (BUCKETS - 1), *value);
            }
        }
    }
}
