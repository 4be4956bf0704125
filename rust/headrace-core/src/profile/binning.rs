//! Bins of numbers, frozen from a sample of the reference, and the kernel that counts on them.
//!
//! All bins are half-open between *boundaries*: an atom at `a` lies between `a` and the float after it. So the bin of a
//! value is the number of boundaries that are not greater, and one comparison decides it once a table look-up has come
//! close: the key into the table is monotone in the value, hence whatever rounding the key suffers, only boundaries with
//! the same key are left to be compared.

use std::fmt;

use super::Bin;
use super::moments::TILE;

/// Quantile edges of the interval bins.
pub(super) const EDGES: usize = 256;
/// More atoms than that stay in the intervals.
pub(super) const MAX_ATOMS: usize = 256;
/// Two boundaries an atom and one an edge leave room for the ends.
pub(super) const MAX_CUTS: usize = 640;
/// Bins, boundaries and special cells all fit: two boundaries an atom, one an edge, the ends.
pub(super) const MAX_CELLS: usize = 1024;
const CELL_MASK: usize = MAX_CELLS - 1;
const KEYS: usize = 4096;
const KEY_MASK: usize = KEYS - 1;
const LAST_KEY: f64 = 4095.0;
const HALF_KEYS: u64 = 2048;
/// Bits of a fine key below those of a key.
const FRACTION_BITS: u32 = 20;
const FRACTION_MASK: u64 = (1 << FRACTION_BITS) - 1;
const FRACTIONS: f64 = 1_048_576.0;
const LAST_FINE: f64 = 4_294_967_295.0;
const HALF_FINE: u64 = 1 << 31;
/// Fewer values than that are counted one by one: laying out the counters would cost more.
const FEW: usize = 256;
/// The 32-bit counters are emptied before they could overflow.
const MOST_UNSETTLED: usize = 1 << 30;

/// 2^52: added to a float below it, the low bits of the sum are the whole part.
const MAGIC: f64 = 4_503_599_627_370_496.0;

/// A place where bins part.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cut {
    pub(super) at: f64,
    /// Whether the value itself is a bin.
    pub(super) atom: bool,
}

/// The bins of one ordered column. Cells are numbered: 0 minus infinity, then the bins, then plus infinity, then NaN.
#[derive(Clone)]
pub(super) struct OrderedBins {
    /// The least and greatest value of the reference, if it has any.
    range: Option<(f64, f64)>,
    cuts: Vec<Cut>,
    bins: Vec<Bin>,
    /// Boundaries between bins, padded with infinity.
    boundaries: Box<[f64; MAX_CELLS]>,
    finite_boundaries: usize,
    lookup: Lookup,
}

impl fmt::Debug for OrderedBins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrderedBins").field("range", &self.range).field("cuts", &self.cuts).finish_non_exhaustive()
    }
}

impl PartialEq for OrderedBins {
    fn eq(&self, other: &Self) -> bool {
        self.range == other.range && self.cuts == other.cuts
    }
}

impl OrderedBins {
    /// Bins for a reference between `range`, of which `sample` (finite, ascending, no minus zero) was drawn.
    pub(super) fn from_sample(sample: &[f64], range: Option<(f64, f64)>) -> Self {
        let cuts = cuts_of(sample, range);
        let (boundaries, _) = tiling(range, &cuts);
        let key = Key::best(&boundaries);
        let cuts = if cuts.iter().any(|cut| cut.atom) { cuts } else { snapped(key, range, cuts) };
        Self::new(range, cuts, key)
    }

    /// Cuts ascend strictly, lie in the range, and are few enough; whoever reads them from bytes has checked that.
    pub(super) fn new(range: Option<(f64, f64)>, cuts: Vec<Cut>, key: Key) -> Self {
        let (boundaries, bins) = tiling(range, &cuts);
        let lookup = Lookup::new(key, &boundaries, range.is_some());
        let mut padded = Box::new([f64::INFINITY; MAX_CELLS]);
        for (slot, boundary) in padded.iter_mut().zip(&boundaries) {
            *slot = *boundary;
        }
        Self { range, cuts, bins, finite_boundaries: boundaries.len(), boundaries: padded, lookup }
    }

    pub(super) fn key(&self) -> Key {
        self.lookup.key
    }

    pub(super) fn bins(&self) -> &[Bin] {
        &self.bins
    }

    pub(super) fn range(&self) -> Option<(f64, f64)> {
        self.range
    }

    pub(super) fn cuts(&self) -> &[Cut] {
        &self.cuts
    }

    pub(super) fn cells(&self) -> usize {
        self.bins.len() + 3
    }

    pub(super) fn pos_inf_cell(&self) -> usize {
        self.bins.len() + 1
    }

    pub(super) fn nan_cell(&self) -> usize {
        self.bins.len() + 2
    }

    /// The cell of any value.
    pub(super) fn cell(&self, value: f64) -> usize {
        if value.is_nan() {
            self.nan_cell()
        } else if value == f64::NEG_INFINITY {
            0
        } else if value == f64::INFINITY {
            self.pos_inf_cell()
        } else {
            1 + self.boundaries[..self.finite_boundaries].partition_point(|&boundary| boundary <= value)
        }
    }

    /// Counts finite values that lie within these bounds.
    pub(super) fn count_finite(&self, values: &[f64], extremes: (f64, f64), cells: &mut [u64], scratch: &mut Scratch) {
        let one_by_one = |cells: &mut [u64]| {
            for &value in values {
                cells[self.cell(value)] += 1;
            }
        };
        if values.len() < FEW {
            return one_by_one(cells);
        }
        if scratch.values > MOST_UNSETTLED {
            self.settle(cells, scratch);
        }
        scratch.values += values.len();
        let counts = &mut scratch.counts;
        if let (Some(packed), Some(range)) = (&self.lookup.packed, self.range) {
            match self.lookup.key {
                Key::Affine { low, scale } => {
                    let scale = scale * FRACTIONS;
                    let mut fine = [0_u64; TILE];
                    for tile in values.chunks(TILE) {
                        for (slot, value) in fine.iter_mut().zip(tile) {
                            *slot = affine(*value, low, scale, LAST_FINE);
                        }
                        pass_packed(packed, &fine[..tile.len()], counts, |fine| fine);
                    }
                }
                Key::Log { center, linear, shift } => {
                    let shift = shift - FRACTION_BITS;
                    pass_packed(packed, values, counts, |x| logarithmic(x, center, linear, shift, HALF_FINE));
                }
            }
            // What lies outside the range was taken for the first or the last interval.
            if extremes.0 < range.0 || extremes.1 > range.1 {
                scratch.below += values.iter().map(|value| u64::from(*value < range.0)).sum::<u64>();
                scratch.above += values.iter().map(|value| u64::from(*value > range.1)).sum::<u64>();
            }
            return;
        }
        match (self.lookup.key, self.lookup.steps) {
            (Key::Affine { low, scale }, 0..=2) => self.pass::<2>(values, counts, |x| affine(x, low, scale, LAST_KEY)),
            (Key::Affine { low, scale }, 3..=4) => self.pass::<4>(values, counts, |x| affine(x, low, scale, LAST_KEY)),
            (Key::Log { center, linear, shift }, 0..=2) => {
                self.pass_in_one::<2>(values, counts, |x| logarithmic(x, center, linear, shift, HALF_KEYS));
            }
            (Key::Log { center, linear, shift }, 3..=4) => {
                self.pass_in_one::<4>(values, counts, |x| logarithmic(x, center, linear, shift, HALF_KEYS));
            }
            _ => {
                scratch.values -= values.len();
                one_by_one(cells);
            }
        }
    }

    /// Adds what `count_finite` left in the scratch.
    pub(super) fn settle(&self, cells: &mut [u64], scratch: &mut Scratch) {
        if std::mem::take(&mut scratch.values) == 0 {
            return;
        }
        let [first, second, third, fourth] = &mut *scratch.counts;
        for (index, cell) in cells[1..=self.bins.len()].iter_mut().enumerate() {
            let part = |counts: &mut [u32; MAX_CELLS]| u64::from(std::mem::take(&mut counts[index]));
            *cell += part(first) + part(second) + part(third) + part(fourth);
        }
        let last = self.bins.len();
        let (below, above) = (std::mem::take(&mut scratch.below), std::mem::take(&mut scratch.above));
        for (inner, outer, count) in [(2, 1, below), (last - 1, last, above)] {
            if count > 0 {
                cells[inner] -= count;
                cells[outer] += count;
            }
        }
    }

    /// `STEPS`: at most so many boundaries have the same key. Several rows of counters, because a counter that was just
    /// raised cannot be raised again before its store has arrived.
    #[inline]
    fn pass<const STEPS: usize>(
        &self,
        values: &[f64],
        counts: &mut [[u32; MAX_CELLS]; 4],
        key: impl Fn(f64) -> u64 + Copy,
    ) {
        let mut keys = [0_u64; TILE];
        for tile in values.chunks(TILE) {
            for (slot, value) in keys.iter_mut().zip(tile) {
                *slot = key(*value);
            }
            let (fours, rest) = tile.as_chunks::<4>();
            let [first, second, third, fourth] = counts;
            for (four, keys) in fours.iter().zip(keys.as_chunks::<4>().0) {
                first[self.bin::<STEPS>(four[0], keys[0])] += 1;
                second[self.bin::<STEPS>(four[1], keys[1])] += 1;
                third[self.bin::<STEPS>(four[2], keys[2])] += 1;
                fourth[self.bin::<STEPS>(four[3], keys[3])] += 1;
            }
            for &value in rest {
                first[self.bin::<STEPS>(value, key(value))] += 1;
            }
        }
    }

    /// The same for keys that the compiler does not compute several at a time on every processor.
    #[inline]
    fn pass_in_one<const STEPS: usize>(
        &self,
        values: &[f64],
        counts: &mut [[u32; MAX_CELLS]; 4],
        key: impl Fn(f64) -> u64 + Copy,
    ) {
        let (fours, rest) = values.as_chunks::<4>();
        let [first, second, third, fourth] = counts;
        for four in fours {
            first[self.bin::<STEPS>(four[0], key(four[0]))] += 1;
            second[self.bin::<STEPS>(four[1], key(four[1]))] += 1;
            third[self.bin::<STEPS>(four[2], key(four[2]))] += 1;
            fourth[self.bin::<STEPS>(four[3], key(four[3]))] += 1;
        }
        for &value in rest {
            first[self.bin::<STEPS>(value, key(value))] += 1;
        }
    }

    #[inline]
    fn bin<const STEPS: usize>(&self, value: f64, key: u64) -> usize {
        let mut bin = usize::from(self.lookup.before[low_bits(key) & KEY_MASK]);
        for _ in 0..STEPS {
            bin += usize::from(value >= self.boundaries[bin & CELL_MASK]);
        }
        bin & CELL_MASK
    }
}

/// Counters of a column, while a batch is counted.
pub(super) struct Scratch {
    counts: Box<[[u32; MAX_CELLS]; 4]>,
    /// How many values are in it.
    values: usize,
    /// How many of those were taken for the first interval, but lie below the range.
    below: u64,
    /// How many were taken for the last interval, but lie above the range.
    above: u64,
}

impl Default for Scratch {
    fn default() -> Self {
        Self { counts: Box::new([[0; MAX_CELLS]; 4]), values: 0, below: 0, above: 0 }
    }
}

/// Bins and boundaries by the low bits of a key: `(entry + fraction) >> FRACTION_BITS` is the bin.
#[inline]
fn pass_packed<T: Copy>(
    packed: &[u32; KEYS],
    values: &[T],
    counts: &mut [[u32; MAX_CELLS]; 4],
    fine: impl Fn(T) -> u64 + Copy,
) {
    let bin = |value: T| {
        let fine = fine(value);
        let entry = packed[low_bits(fine >> FRACTION_BITS) & KEY_MASK];
        low_bits((u64::from(entry) + (fine & FRACTION_MASK)) >> FRACTION_BITS) & CELL_MASK
    };
    let (fours, rest) = values.as_chunks::<4>();
    let [first, second, third, fourth] = counts;
    for four in fours {
        let bins = four.map(bin);
        first[bins[0]] += 1;
        second[bins[1]] += 1;
        third[bins[2]] += 1;
        fourth[bins[3]] += 1;
    }
    for &value in rest {
        first[bin(value)] += 1;
    }
}

#[derive(Clone)]
struct Lookup {
    key: Key,
    /// How many boundaries have a lesser key.
    before: Box<[u16; KEYS]>,
    /// The most boundaries that share a key.
    steps: usize,
    /// Where each boundary between the ends is the least float of its fine key, and none shares a key: for each key the
    /// bin below its boundary and how far the boundary is from the key's end, in one number.
    packed: Option<Box<[u32; KEYS]>>,
}

/// How a value becomes a key; both ways never decrease. A fine key has [`FRACTION_BITS`] more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Key {
    Affine { low: f64, scale: f64 },
    Log { center: f64, linear: f64, shift: u32 },
}

/// Steps of equal width; all that lies outside has the first or the last key.
#[inline]
fn affine(value: f64, low: f64, scale: f64, last: f64) -> u64 {
    let steps = (value - low) * scale;
    // In this form a NaN (infinity times zero) becomes 0, and the processor needs no more than a maximum.
    let steps = if steps > 0.0 { steps } else { 0.0 };
    let steps = if steps < last { steps } else { last };
    (steps + MAGIC).to_bits() & (u64::MAX >> 12)
}

/// Steps that are equal near the center and grow with the distance from it: the bits of a float are a logarithm.
#[inline]
fn logarithmic(value: f64, center: f64, linear: f64, shift: u32, half: u64) -> u64 {
    let distance = value - center;
    let steps = (distance.abs() + linear).to_bits().wrapping_sub(linear.to_bits()) >> shift;
    let steps = steps.min(half - 1);
    if distance < 0.0 { half - 1 - steps } else { half + steps }
}

#[inline]
#[allow(clippy::cast_possible_truncation, reason = "a mask follows")]
fn low_bits(bits: u64) -> usize {
    bits as usize
}

impl Key {
    /// For bins without boundaries.
    pub(super) const NONE: Self = Self::Affine { low: 0.0, scale: 0.0 };

    fn of(self, value: f64) -> usize {
        low_bits(match self {
            Self::Affine { low, scale } => affine(value, low, scale, LAST_KEY),
            Self::Log { center, linear, shift } => logarithmic(value, center, linear, shift, HALF_KEYS),
        })
    }

    fn fine(self, value: f64) -> Option<u64> {
        match self {
            Self::Affine { low, scale } => Some(affine(value, low, scale * FRACTIONS, LAST_FINE)),
            Self::Log { center, linear, shift } => {
                let shift = shift.checked_sub(FRACTION_BITS)?;
                Some(logarithmic(value, center, linear, shift, HALF_FINE))
            }
        }
    }

    /// The key that leaves the fewest comparisons.
    fn best(boundaries: &[f64]) -> Self {
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
                    let span = (reach + linear).to_bits().saturating_sub(linear.to_bits()) / (HALF_KEYS - 1);
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
        let mut last = usize::MAX;
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
    fn new(key: Key, boundaries: &[f64], ended: bool) -> Self {
        let mut before = Box::new([0_u16; KEYS]);
        let mut seen = 0;
        for (index, slot) in before.iter_mut().enumerate() {
            while seen < boundaries.len() && key.of(boundaries[seen]) < index {
                seen += 1;
            }
            *slot = u16::try_from(seen).unwrap_or(u16::MAX);
        }
        let inner = if ended { boundaries.get(1..boundaries.len().saturating_sub(1)) } else { None };
        let packed = inner.and_then(|inner| packed(key, inner));
        Self { key, before, steps: key.steps(boundaries), packed }
    }
}

/// The table of [`pass_packed`] for the boundaries between the ends, if they allow it.
fn packed(key: Key, inner: &[f64]) -> Option<Box<[u32; KEYS]>> {
    const ONE: u32 = 1 << FRACTION_BITS;
    let mut table = Box::new([0_u32; KEYS]);
    let mut next = inner.iter().enumerate().peekable();
    // Bin 0 lies below the range; whatever is not there is at least in bin 1.
    let mut bin = 1;
    for (index, entry) in table.iter_mut().enumerate() {
        *entry = bin * ONE;
        if let Some((_, &boundary)) =
            next.next_if(|(_, boundary)| low_bits(key.fine(**boundary).unwrap_or(0) >> FRACTION_BITS) == index)
        {
            let fine = key.fine(boundary)?;
            if key.fine(boundary.next_down())? >= fine {
                return None;
            }
            // A fraction that reaches the boundary's carries into the bin.
            *entry += ONE - u32::try_from(fine & FRACTION_MASK).ok()?;
            bin += 1;
        }
    }
    next.peek().is_none().then_some(table)
}

/// Moves each cut down to the least float of its fine key, unless it would meet another: no more than 2^-32 of the range.
fn snapped(key: Key, range: Option<(f64, f64)>, mut cuts: Vec<Cut>) -> Vec<Cut> {
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

/// The boundaries between bins, and the bins.
fn tiling(range: Option<(f64, f64)>, cuts: &[Cut]) -> (Vec<f64>, Vec<Bin>) {
    let Some((min, max)) = range else { return (Vec::new(), vec![Bin::Interval { low: f64::MIN, high: f64::MAX }]) };
    let mut boundaries = vec![min];
    let mut bins = vec![Bin::Below(min)];
    let mut low = min;
    for (index, cut) in cuts.iter().enumerate() {
        // Nothing lies between the ends and an atom there.
        let nothing = index == 0 && cut.at <= min;
        if !nothing {
            bins.push(Bin::Interval { low, high: cut.at });
            boundaries.push(cut.at);
        }
        if cut.atom {
            bins.push(Bin::Atom(cut.at));
            boundaries.push(cut.at.next_up());
        }
        low = cut.at;
    }
    if !cuts.last().is_some_and(|cut| cut.atom && cut.at >= max) {
        bins.push(Bin::Interval { low, high: max });
        boundaries.push(max.next_up());
    }
    bins.push(Bin::Above(max));
    (boundaries, bins)
}

/// Where to cut: atoms first, then edges of equal mass between them.
fn cuts_of(sample: &[f64], range: Option<(f64, f64)>) -> Vec<Cut> {
    let mut runs: Vec<(f64, usize)> = Vec::new();
    for &value in sample {
        #[allow(clippy::float_cmp, reason = "a run of the same value")]
        match runs.last_mut() {
            Some((last, count)) if *last == value => *count += 1,
            _ => runs.push((value, 1)),
        }
    }
    // An atom has more than half of what a bin should have, and is not there by accident.
    let enough = |count: usize| count > 1 && count * 2 * EDGES > sample.len();
    let mut heavy: Vec<usize> = runs.iter().map(|(_, count)| *count).filter(|count| enough(*count)).collect();
    heavy.sort_unstable_by(|a, b| b.cmp(a));
    let least = heavy.get(MAX_ATOMS).map_or(2, |count| count + 1);
    let is_atom = |count: usize| enough(count) && count >= least;
    let rest: usize = runs.iter().map(|(_, count)| *count).filter(|count| !is_atom(*count)).sum();
    let bin = rest.div_ceil(EDGES).max(sample.len().div_ceil(EDGES)).max(1);
    let mut cuts = Vec::new();
    let mut filled = 0;
    for &(at, count) in &runs {
        if is_atom(count) {
            cuts.push(Cut { at, atom: true });
            filled = 0;
        } else {
            if filled >= bin {
                cuts.push(Cut { at, atom: false });
                filled = 0;
            }
            filled += count;
        }
    }
    // The extremes are known exactly; an edge there would part nothing.
    cuts.retain(|cut| cut.atom || range.is_some_and(|(min, _)| cut.at > min));
    cuts
}
