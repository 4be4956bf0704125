//! Keys: numbers that never decrease as the value rises, by which a table says how many boundaries lie below it.

#![allow(clippy::inline_always, reason = "only what is inlined is compiled for the processor at hand")]

use super::binning::Cut;
use super::moments::TILE;

pub(super) const KEYS: usize = 4096;
const LAST_KEY: f64 = 4095.0;
const HALF_KEYS: u32 = 2048;
/// Bits of a fine key below those of a key.
const FRACTION_BITS: u32 = 20;
const FRACTIONS: f64 = 1_048_576.0;
const LAST_FINE: f64 = 4_294_967_295.0;
const HALF_FINE: u32 = 1 << 31;
/// 2^52: added to a float below it, the low bits of the sum are the whole part.
const MAGIC: f64 = 4_503_599_627_370_496.0;

/// How a value becomes a key; both ways never decrease. A fine key has [`FRACTION_BITS`] more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Key {
    Affine { low: f64, scale: f64 },
    Log { center: f64, linear: f64, shift: u32 },
}

/// Steps of equal width; all that lies outside has the first or the last key. A NaN has the first.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "the low half is the key")]
fn affine(value: f64, low: f64, scale: f64, last: f64) -> u32 {
    let steps = (value - low) * scale;
    // In this form a NaN becomes 0, and the processor needs no more than a maximum.
    let steps = if steps > 0.0 { steps } else { 0.0 };
    let steps = if steps < last { steps } else { last };
    (steps + MAGIC).to_bits() as u32
}

/// Steps that are equal near the center and grow with the distance from it: the bits of a float are a logarithm. What is
/// far has the first or the last key, and so has a NaN the last. Limits are compared as floats, and the sign is taken by
/// a mask, because any processor does that to several values at a time.
#[derive(Clone, Copy)]
struct Log {
    center: f64,
    linear: f64,
    cap: f64,
    shift: u32,
    half: u32,
}

impl Log {
    fn new(center: f64, linear: f64, shift: u32, half: u32) -> Self {
        let cap = u128::from(linear.to_bits()) + (u128::from(half - 1) << shift);
        let cap = u64::try_from(cap).map_or(f64::INFINITY, |bits| f64::from_bits(bits.min(f64::INFINITY.to_bits())));
        Self { center, linear, cap, shift, half }
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "capped below half")]
    fn of(self, value: f64) -> u32 {
        let distance = value - self.center;
        let far = distance.abs() + self.linear;
        let far = if far < self.cap { far } else { self.cap };
        let steps = (far.to_bits().wrapping_sub(self.linear.to_bits()) >> self.shift) as u32;
        let below = if distance < 0.0 { u32::MAX } else { 0 };
        self.half.wrapping_add(steps ^ below)
    }
}

/// From keys to bins.
#[derive(Clone)]
pub(super) struct Lookup {
    pub(super) key: Key,
    /// How many boundaries have a lesser key.
    before: Box<[u16; KEYS]>,
    /// The most boundaries that share a key.
    pub(super) steps: usize,
    /// Where each boundary between the ends is the least float of its fine key, and none shares a key.
    packed: Option<Box<[u32; KEYS]>>,
}

/// For each key, in one number, the bin below its boundary, how far the boundary is from the key's end, less the key
/// itself: the fine key added, the bin is in the high bits.
#[derive(Clone, Copy)]
pub(super) struct Packed<'a>(&'a [u32; KEYS]);

impl Packed<'_> {
    #[inline(always)]
    pub(super) fn bin(self, fine: u32) -> usize {
        (self.0[(fine >> FRACTION_BITS) as usize].wrapping_add(fine) >> FRACTION_BITS) as usize
    }
}

#[inline(always)]
fn fill(keys: &mut [u32; TILE], tile: &[f64], key: impl Fn(f64) -> u32) {
    for (slot, value) in keys.iter_mut().zip(tile) {
        *slot = key(*value);
    }
}

impl Key {
    /// For bins without boundaries.
    pub(super) const NONE: Self = Self::Affine { low: 0.0, scale: 0.0 };

    pub(super) fn of(self, value: f64) -> u32 {
        match self {
            Self::Affine { low, scale } => affine(value, low, scale, LAST_KEY),
            Self::Log { center, linear, shift } => Log::new(center, linear, shift, HALF_KEYS).of(value),
        }
    }

    /// The fine key; none if the bits of a float do not have so many more.
    pub(crate) fn fine(self, value: f64) -> Option<u32> {
        match self {
            Self::Affine { low, scale } => Some(affine(value, low, scale * FRACTIONS, LAST_FINE)),
            Self::Log { center, linear, shift } => {
                Some(Log::new(center, linear, shift.checked_sub(FRACTION_BITS)?, HALF_FINE).of(value))
            }
        }
    }

    /// The keys of a tile.
    #[inline(always)]
    pub(super) fn fill(self, keys: &mut [u32; TILE], tile: &[f64]) {
        match self {
            Self::Affine { low, scale } => fill(keys, tile, |value| affine(value, low, scale, LAST_KEY)),
            Self::Log { center, linear, shift } => {
                let log = Log::new(center, linear, shift, HALF_KEYS);
                fill(keys, tile, |value| log.of(value));
            }
        }
    }

    /// The fine keys of a tile, where [`Lookup`] has a packed table.
    #[inline(always)]
    pub(crate) fn fill_fine(self, keys: &mut [u32; TILE], tile: &[f64]) {
        match self {
            Self::Affine { low, scale } => {
                let scale = scale * FRACTIONS;
                fill(keys, tile, |value| affine(value, low, scale, LAST_FINE));
            }
            Self::Log { center, linear, shift } => {
                let log = Log::new(center, linear, shift.saturating_sub(FRACTION_BITS), HALF_FINE);
                fill(keys, tile, |value| log.of(value));
            }
        }
    }

    /// The key that leaves the fewest comparisons.
    pub(crate) fn best(boundaries: &[f64]) -> Self {
        let keys = Self::candidates(boundaries).into_iter();
        keys.min_by_key(|key| key.steps(boundaries)).unwrap_or(Self::NONE)
    }

    fn candidates(boundaries: &[f64]) -> Vec<Self> {
        let (Some(&first), Some(&last)) = (boundaries.first(), boundaries.last()) else { return Vec::new() };
        let mut keys = Vec::new();
        // The outermost bins are often wide and always few: they may share the first and the last key.
        for skip in [0, 1, 2, 4] {
            if boundaries.len() > 2 * skip + 1 {
                let (low, high) = (boundaries[skip], boundaries[boundaries.len() - 1 - skip]);
                let width = (high - low) / (LAST_KEY - 2.0);
                if width.is_normal() && width > 0.0 && width.recip().is_normal() {
                    // A step of room below and above: what is less than `low` has a key of its own.
                    keys.push(Self::Affine { low: low - width, scale: width.recip() });
                }
            }
        }
        let mut gaps: Vec<_> = boundaries.windows(2).map(|pair| pair[1] - pair[0]).filter(|gap| *gap > 0.0).collect();
        gaps.sort_unstable_by(f64::total_cmp);
        for eighth in [0, 1, 2, 4, 6, 7] {
            let center = boundaries[boundaries.len() * eighth / 8];
            let reach = (last - center).max(center - first);
            for quantile in [2, 4, 10] {
                let Some(&gap) = gaps.get(gaps.len() / quantile) else { continue };
                for linear in [gap, gap * 16.0] {
                    let span = (reach + linear).to_bits().saturating_sub(linear.to_bits()) / u64::from(HALF_KEYS - 1);
                    if linear.is_normal() && reach.is_finite() {
                        keys.push(Self::Log { center, linear, shift: u64::BITS - span.leading_zeros() });
                    }
                }
            }
        }
        keys
    }

    fn steps(self, boundaries: &[f64]) -> usize {
        let mut most = 0;
        let mut run = 0;
        let mut last = u32::MAX;
        for &boundary in boundaries {
            let next = self.of(boundary);
            run = if next == last { run + 1 } else { 1 };
            last = next;
            most = most.max(run);
        }
        most
    }
}

impl Lookup {
    pub(super) fn new(key: Key, boundaries: &[f64], ended: bool) -> Self {
        let mut before = Box::new([0_u16; KEYS]);
        let mut seen = 0;
        for (index, slot) in before.iter_mut().enumerate() {
            while seen < boundaries.len() && (key.of(boundaries[seen]) as usize) < index {
                seen += 1;
            }
            *slot = u16::try_from(seen).unwrap_or(u16::MAX);
        }
        let inner = if ended { boundaries.get(1..boundaries.len().saturating_sub(1)) } else { None };
        let packed = inner.and_then(|inner| packed(key, inner));
        Self { key, before, steps: key.steps(boundaries), packed }
    }

    /// For each key, how many boundaries have a lesser one.
    pub(super) fn before(&self) -> &[u16; KEYS] {
        &self.before
    }

    /// The table that needs no comparison, where there is one.
    pub(super) fn packed(&self) -> Option<Packed<'_>> {
        self.packed.as_deref().map(Packed)
    }

    /// The bin that the tables say for a NaN, which has none.
    pub(super) fn landing(&self) -> usize {
        match self.packed() {
            Some(packed) => packed.bin(self.key.fine(f64::NAN).unwrap_or(0)),
            None => usize::from(self.before[self.key.of(f64::NAN) as usize]),
        }
    }
}

/// The packed table for the boundaries between the ends, if they allow it.
fn packed(key: Key, inner: &[f64]) -> Option<Box<[u32; KEYS]>> {
    const ONE: u32 = 1 << FRACTION_BITS;
    let mut table = Box::new([0_u32; KEYS]);
    let mut next = inner.iter().enumerate().peekable();
    // Bin 0 lies below the range; whatever is not there is at least in bin 1.
    let mut bin = 1;
    for (index, entry) in (0..).zip(table.iter_mut()) {
        *entry = (bin * ONE).wrapping_sub(index << FRACTION_BITS);
        if let Some((_, &boundary)) =
            next.next_if(|(_, boundary)| key.fine(**boundary).is_some_and(|fine| fine >> FRACTION_BITS == index))
        {
            let fine = key.fine(boundary)?;
            if key.fine(boundary.next_down())? >= fine {
                return None;
            }
            // A fraction that reaches the boundary's carries into the bin.
            *entry = entry.wrapping_add(ONE - (fine & (ONE - 1)));
            bin += 1;
        }
    }
    next.peek().is_none().then_some(table)
}

/// Moves each cut down to the least float of its fine key, unless it would meet another: no more than 2^-32 of the range.
pub(super) fn snapped(key: Key, range: Option<(f64, f64)>, mut cuts: Vec<Cut>) -> Vec<Cut> {
    let Some((min, _)) = range else { return cuts };
    let mut low = min;
    for cut in &mut cuts {
        let Some(fine) = key.fine(cut.at) else { return cuts };
        // Between `low`, whose key is less, and the cut, whose key is this one.
        let (mut below, mut above) = (ordered(low), ordered(cut.at));
        if key.fine(low).is_some_and(|least| least < fine) {
            while above - below > 1 {
                let middle = below + (above - below) / 2;
                if key.fine(float(middle)).is_some_and(|found| found < fine) { below = middle } else { above = middle }
            }
            cut.at = float(above) + 0.0;
        }
        low = cut.at;
    }
    cuts
}

/// The bits of a float, so that they ascend with it.
fn ordered(value: f64) -> i128 {
    let bits = value.to_bits();
    let magnitude = i128::from(bits & (u64::MAX >> 1));
    if value.is_sign_negative() { -magnitude } else { magnitude }
}

fn float(ordered: i128) -> f64 {
    let magnitude = f64::from_bits(u64::try_from(ordered.unsigned_abs()).unwrap_or(0));
    if ordered < 0 { -magnitude } else { magnitude }
}
