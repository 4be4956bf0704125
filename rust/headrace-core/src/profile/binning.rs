//! Bins of numbers, frozen from a sample of the reference, and the kernel that counts on them.
//!
//! All bins are half-open between *boundaries*: an atom at `a` lies between `a` and the float after it. So the bin of a
//! value is the number of boundaries that are not greater, and one comparison decides it once a table look-up has come
//! close: the key into the table is monotone in the value, hence whatever rounding the key suffers, only boundaries with
//! the same key are left to be compared.

#![allow(clippy::inline_always, reason = "only what is inlined is compiled for the processor at hand")]

use std::fmt;

use fearless_simd::Level;

use super::Bin;
use super::key::{KEYS, Key, Lookup, Packed, snapped};
use super::moments::{TILE, Tally};

/// Quantile edges of the interval bins.
pub(super) const EDGES: usize = 256;
/// More atoms than that stay in the intervals.
pub(super) const MAX_ATOMS: usize = 256;
/// Two boundaries an atom and one an edge leave room for the ends.
pub(super) const MAX_CUTS: usize = 640;
/// Bins, boundaries and special cells all fit: two boundaries an atom, one an edge, the ends.
pub(super) const MAX_CELLS: usize = 1024;
const CELL_MASK: usize = MAX_CELLS - 1;
/// As many counters as a packed table can name, so that none of its answers needs a check.
const COUNTERS: usize = 1 << 12;
const COUNTER_MASK: usize = COUNTERS - 1;
/// Fewer values than that are counted one by one: laying out the counters would cost more.
const FEW: usize = 256;
/// The 32-bit counters are emptied before they could overflow.
const MOST_UNSETTLED: usize = 1 << 30;

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

    /// Counts at most [`TILE`] values of which this is known.
    #[inline(always)]
    pub(super) fn count(&self, tile: &[f64], tally: &Tally, cells: &mut [u64], scratch: &mut Scratch) {
        if tile.len() < FEW || self.lookup.packed().is_none() && self.lookup.steps > 4 {
            for &value in tile {
                cells[self.cell(value)] += 1;
            }
            return;
        }
        let mut finite;
        let tile = if tally.infinite > 0 {
            finite = [0.0; TILE];
            for (slot, &value) in finite.iter_mut().zip(tile) {
                if value.is_infinite() {
                    cells[self.cell(value)] += 1;
                }
                *slot = if value.is_infinite() { f64::NAN } else { value };
            }
            &finite[..tile.len()]
        } else {
            tile
        };
        if scratch.values > MOST_UNSETTLED {
            self.settle(cells, scratch);
        }
        scratch.values += tile.len();
        scratch.nans += tally.nans + tally.infinite;
        scratch.infinite += tally.infinite;
        let counts = &mut scratch.counts;
        let mut keys = [0_u32; TILE];
        let Some(packed) = self.lookup.packed() else {
            self.lookup.key.fill(&mut keys, tile);
            return match self.lookup.steps {
                0..=2 => self.pass::<2>(tile, &keys, counts),
                _ => self.pass::<4>(tile, &keys, counts),
            };
        };
        self.lookup.key.fill_fine(&mut keys, tile);
        pass_packed(packed, &keys[..tile.len()], counts);
        // What lies outside the range was taken for the first or the last interval.
        let Some(range) = self.range else { return };
        if tally.extremes.0 < range.0 {
            scratch.below += tile.iter().map(|value| u64::from(*value < range.0)).sum::<u64>();
        }
        if tally.extremes.1 > range.1 {
            scratch.above += tile.iter().map(|value| u64::from(*value > range.1)).sum::<u64>();
        }
    }

    /// Adds what [`Self::count`] left in the scratch.
    pub(super) fn settle(&self, cells: &mut [u64], scratch: &mut Scratch) {
        if std::mem::take(&mut scratch.values) == 0 {
            return;
        }
        let [first, second, third, fourth] = &mut *scratch.counts else { return };
        for (index, cell) in cells[1..=self.bins.len()].iter_mut().enumerate() {
            let part = |counts: &mut [u32; COUNTERS]| u64::from(std::mem::take(&mut counts[index]));
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
        // What is no number was counted wherever the table led it.
        let (nans, infinite) = (std::mem::take(&mut scratch.nans), std::mem::take(&mut scratch.infinite));
        if nans > 0 {
            cells[1 + self.lookup.landing()] -= nans;
            cells[self.nan_cell()] += nans - infinite;
        }
    }

    /// `STEPS`: at most so many boundaries have the same key.
    #[inline(always)]
    fn pass<const STEPS: usize>(&self, tile: &[f64], keys: &[u32; TILE], counts: &mut Rows) {
        let (before, boundaries) = (self.lookup.before(), &*self.boundaries);
        let bin = |value: f64, key: u32| {
            let mut bin = usize::from(before[key as usize & (KEYS - 1)]);
            for _ in 0..STEPS {
                bin += usize::from(value >= boundaries[bin & CELL_MASK]);
            }
            bin
        };
        let (fours, rest) = tile.as_chunks::<4>();
        let (keys, last) = keys[..tile.len()].as_chunks::<4>();
        let [first, second, third, fourth] = counts else { return };
        for (values, keys) in fours.iter().zip(keys) {
            first[bin(values[0], keys[0]) & COUNTER_MASK] += 1;
            second[bin(values[1], keys[1]) & COUNTER_MASK] += 1;
            third[bin(values[2], keys[2]) & COUNTER_MASK] += 1;
            fourth[bin(values[3], keys[3]) & COUNTER_MASK] += 1;
        }
        for (value, key) in rest.iter().zip(last) {
            first[bin(*value, *key) & COUNTER_MASK] += 1;
        }
    }
}

/// The same without a comparison.
#[inline(always)]
fn pass_packed(packed: Packed<'_>, keys: &[u32], counts: &mut Rows) {
    let (fours, rest) = keys.as_chunks::<4>();
    let [first, second, third, fourth] = counts else { return };
    for four in fours {
        first[packed.bin(four[0])] += 1;
        second[packed.bin(four[1])] += 1;
        third[packed.bin(four[2])] += 1;
        fourth[packed.bin(four[3])] += 1;
    }
    for fine in rest {
        first[packed.bin(*fine)] += 1;
    }
}

/// Several rows of counters, because a counter that was just raised cannot be raised again before its store has arrived.
type Rows = [[u32; COUNTERS]];
const ROWS: usize = 4;

/// Counters of a column, while a batch is counted.
pub(super) struct Scratch {
    counts: Box<Rows>,
    /// How many values are in it.
    values: usize,
    /// How many of those were taken for the first interval, but lie below the range.
    below: u64,
    /// How many were taken for the last interval, but lie above the range.
    above: u64,
    /// How many were NaN, or infinite and counted as if they were.
    nans: u64,
    /// How many of those were infinite, and are in their cells.
    infinite: u64,
    /// Whether the last tile had values that are not finite or far from the center.
    pub(super) mixed: bool,
    /// What the processor can.
    pub(super) level: Level,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            counts: vec![[0; COUNTERS]; ROWS].into_boxed_slice(),
            values: 0,
            below: 0,
            above: 0,
            nans: 0,
            infinite: 0,
            mixed: false,
            level: Level::new(),
        }
    }
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
