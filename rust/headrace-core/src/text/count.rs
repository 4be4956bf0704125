//! Counting the hashes of one row, and putting their columns in order.
//!
//! Columns are hashes, so they are spread evenly: a table that is addressed by a column's highest bits and has far more
//! cells than a row has columns holds nearly every column in a cell of its own, and its cells lie in order. So there is
//! nothing left to sort but the few that found their cell taken.

use std::hint::select_unpredictable;

use fearless_simd::Simd;

/// What a column index and a sign fit into: the index, and in the lowest bit whether the sign is negative.
type Key = u32;

/// So many that found their cell taken are sorted; beyond, a table that holds each once is faster.
const SORTED: usize = 1024;
/// There are so many cells at most, and at least.
const CELLS: usize = 1 << 13;
const FEWEST_CELLS: usize = 1 << 8;
/// A sum in a cell has 32 bits; before so many hashes have come, sums move to where they have 64.
const LARGE: usize = 1 << 30;
/// The more cells, the fewer columns find theirs taken, and the longer it takes to look through them.
const CELLS_A_HASH: usize = 8;
/// So many places of cells are written at a time, and those that are too many overwritten.
const AT_ONCE: usize = 8;

/// A column and the sum of its signs.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    /// The column and one; zero where there is none.
    tag: u32,
    sum: i32,
}

/// So many hashes are sorted by comparing each with each: nothing in that is to be foreseen.
pub(super) const FEW: usize = 32;
/// So many bits of a column then leave room for the sign and the number of the hash.
const FEW_BITS: u32 = 25;

/// The sums of a row.
#[derive(Debug)]
pub(super) enum Sums<'a> {
    /// Of fewer than 2^31 hashes.
    Small(&'a [i32]),
    /// Of any number.
    Large(&'a [i64]),
}

/// The hashes of a row, as column indices with a sign.
#[derive(Debug)]
pub(super) struct Counter {
    cells: Box<[Cell; CELLS]>,
    /// A bit for each cell that is taken.
    taken: Box<[u64; CELLS / 64]>,
    /// What a column is shifted by to be the number of its cell, and how many words of `taken` this can reach.
    shift: u32,
    words: usize,
    /// Hashes since the cells were last emptied.
    added: usize,
    small: Vec<i32>,
    /// What found its cell taken.
    keys: Box<[Key; SORTED]>,
    length: usize,
    table: Table,
    counted: Vec<(Key, i64)>,
    columns: Vec<i32>,
    aside: Vec<i32>,
    sums: Vec<i64>,
    /// Cells that are taken, in order.
    places: Box<[u16; CELLS + AT_ONCE]>,
}

impl Default for Counter {
    #[allow(clippy::large_stack_arrays, reason = "64 KiB, once for many rows")]
    fn default() -> Self {
        Self {
            cells: Box::new([Cell::default(); CELLS]),
            taken: Box::new([0; CELLS / 64]),
            shift: u32::BITS - 1,
            words: 1,
            added: 0,
            small: Vec::new(),
            keys: Box::new([0; SORTED]),
            length: 0,
            table: Table::default(),
            counted: Vec::new(),
            columns: Vec::new(),
            aside: Vec::new(),
            sums: Vec::new(),
            places: Box::new([0; CELLS + AT_ONCE]),
        }
    }
}

/// Column index and sign of a hash, as scikit-learn has them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Columns {
    count: u32,
    /// 2^64 / count, rounded up: a remainder without a division (Lemire, Kaser and Kurz 2019).
    reciprocal: u64,
    /// count - 1 if count is a power of two.
    mask: Option<u32>,
    signed: u32,
    /// How many bits a column has.
    bits: u32,
}

impl Columns {
    pub(super) fn new(count: i32, signed: bool) -> Self {
        let count = count.unsigned_abs().max(1);
        let bits = u32::BITS - (count - 1).leading_zeros();
        Self {
            count,
            reciprocal: (u64::MAX / u64::from(count)).wrapping_add(1),
            mask: count.is_power_of_two().then_some(count - 1),
            signed: u32::from(signed),
            bits,
        }
    }

    /// |hash| modulo the number of columns, where |-2^31| is 2^31.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "a remainder is smaller than what it is of")]
    fn remainder(self, hash: u32) -> u32 {
        let fraction = self.reciprocal.wrapping_mul(u64::from(magnitude(hash)));
        ((u128::from(fraction) * u128::from(self.count)) >> 64) as u32
    }

    /// The hash's sign, if it counts.
    #[inline]
    fn sign(self, hash: u32) -> i32 {
        1 - 2 * (hash >> 31 & self.signed).cast_signed()
    }
}

#[inline]
fn magnitude(hash: u32) -> u32 {
    hash.cast_signed().unsigned_abs()
}

impl Counter {
    /// Makes ready for a row of about so many hashes; any number may come.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "compiled for the vectors of its caller")]
    pub(super) fn begin(&mut self, columns: Columns, expected: usize) {
        let cells = (expected * CELLS_A_HASH).next_power_of_two().clamp(FEWEST_CELLS, CELLS);
        self.shift = columns.bits.saturating_sub(cells.trailing_zeros());
        self.words = cells / 64;
    }

    /// Counts hashes.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "compiled for the vectors of its caller")]
    pub(super) fn add(&mut self, columns: Columns, hashes: &[u32]) {
        self.added += hashes.len();
        if self.added > LARGE {
            self.empty_cells();
        }
        if let Some(mask) = columns.mask {
            for hash in hashes {
                self.count(magnitude(*hash) & mask, columns.sign(*hash));
            }
        } else {
            for hash in hashes {
                self.count(columns.remainder(*hash), columns.sign(*hash));
            }
        }
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "compiled for the vectors of its caller")]
    fn count(&mut self, column: u32, sign: i32) {
        let number = (column >> self.shift) as usize & (CELLS - 1);
        let (cell, tag) = (&mut self.cells[number], column + 1);
        // One branch, seldom taken: whether a cell is free or has the same column is not to be foreseen.
        #[allow(clippy::needless_bitwise_bool, reason = "a lazy operator would be a second branch")]
        if (cell.tag != tag) & (cell.tag != 0) {
            self.put_aside(column << 1 | u32::from(sign < 0));
            return;
        }
        *cell = Cell { tag, sum: cell.sum + sign };
        self.taken[number / 64] |= 1 << (number % 64);
    }

    #[inline]
    fn put_aside(&mut self, key: Key) {
        if self.length >= SORTED {
            self.spill();
        }
        self.keys[self.length] = key;
        self.length += 1;
    }

    #[cold]
    fn spill(&mut self) {
        for key in &self.keys[..self.length] {
            self.table.add(*key);
        }
        self.length = 0;
    }

    #[cold]
    fn empty_cells(&mut self) {
        let count = self.in_order();
        let pairs = self.columns[..count].iter().zip(&self.small[..count]);
        self.counted.extend(pairs.map(|(column, sum)| (column.cast_unsigned() << 1, i64::from(*sum))));
        self.added = 0;
    }

    /// What is in cells, in order, and the cells are free again.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "compiled for the vectors of its caller")]
    #[allow(clippy::cast_possible_truncation, reason = "there are 2^13 cells")]
    fn in_order(&mut self) -> usize {
        let mut total = 0;
        for (number, word) in self.taken[..self.words].iter_mut().enumerate() {
            let mut bits = std::mem::take(word);
            let end = total + bits.count_ones() as usize;
            while total < end {
                // How many there are is hard to foresee; whether there are more than so many, less.
                if let Some(places) = self.places[total..].first_chunk_mut::<AT_ONCE>() {
                    for place in places {
                        *place = (64 * number) as u16 + bits.trailing_zeros() as u16;
                        bits &= bits.wrapping_sub(1);
                    }
                }
                total += AT_ONCE;
            }
            total = end;
        }
        make_room(&mut self.columns, &mut self.small, total);
        let out = self.columns[..total].iter_mut().zip(&mut self.small[..total]);
        for (place, (column, sum)) in self.places[..total].iter().zip(out) {
            let cell = std::mem::take(&mut self.cells[usize::from(*place) & (CELLS - 1)]);
            *column = cell.tag.wrapping_sub(1).cast_signed();
            *sum = cell.sum;
        }
        total
    }

    /// Writes the row of some thousands of hashes at most, as [`Counter::begin`], [`Counter::add`] and
    /// [`Counter::finish`] make it, and says how many columns it has. There is room for as many as hashes, and [`FEW`].
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "compiled for the vectors of its caller")]
    pub(super) fn row<S: Simd>(
        &mut self,
        simd: S,
        columns: Columns,
        hashes: &[u32],
        (to, to_sums): (&mut [i32], &mut [i32]),
    ) -> usize {
        if hashes.len() <= FEW
            && columns.bits <= FEW_BITS
            && let (Some(to), Some(sums)) = (to.first_chunk_mut(), to_sums.first_chunk_mut())
        {
            return match hashes.len().div_ceil(8) {
                0 | 1 => few::<S, 1>(simd, columns, hashes, to, sums),
                2 => few::<S, 2>(simd, columns, hashes, to, sums),
                3 => few::<S, 3>(simd, columns, hashes, to, sums),
                _ => few::<S, 4>(simd, columns, hashes, to, sums),
            };
        }
        self.begin(columns, hashes.len());
        self.add(columns, hashes);
        let (columns, sums) = self.finish();
        to[..columns.len()].copy_from_slice(columns);
        match sums {
            Sums::Small(sums) => to_sums[..sums.len()].copy_from_slice(sums),
            Sums::Large(sums) => {
                for (to, sum) in to_sums.iter_mut().zip(sums) {
                    // Of as many hashes as there are.
                    *to = i32::try_from(*sum).unwrap_or(0);
                }
            }
        }
        columns.len()
    }

    /// The columns, ascending, with the sum of the signs of each; the counter is empty afterwards.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "compiled for the vectors of its caller")]
    pub(super) fn finish(&mut self) -> (&[i32], Sums<'_>) {
        if !(self.table.is_empty() && self.counted.is_empty()) {
            return self.finish_large();
        }
        let mut count = self.in_order();
        if self.length > 0 {
            count = self.take_in(count);
        }
        self.added = 0;
        (&self.columns[..count], Sums::Small(&self.small[..count]))
    }

    /// Puts what was put aside between the first `count` columns, none of which it is, and says how many there are now.
    #[inline(never)]
    fn take_in(&mut self, count: usize) -> usize {
        let keys = &mut self.keys[..self.length];
        keys.sort_unstable();
        make_room(&mut self.aside, &mut self.sums, keys.len());
        let more = merge(keys.iter().map(|key| (*key, 1)), &mut self.aside, &mut self.sums);
        self.length = 0;
        make_room(&mut self.columns, &mut self.small, count + more);
        let (mut from, mut to) = (count, count + more);
        for (column, sum) in self.aside[..more].iter().zip(&self.sums[..more]).rev() {
            while from > 0 && self.columns[from - 1] > *column {
                from -= 1;
                to -= 1;
                self.columns[to] = self.columns[from];
                self.small[to] = self.small[from];
            }
            to -= 1;
            self.columns[to] = *column;
            // Of as many hashes as were put aside.
            self.small[to] = i32::try_from(*sum).unwrap_or(0);
        }
        count + more
    }

    #[cold]
    fn finish_large(&mut self) -> (&[i32], Sums<'_>) {
        self.empty_cells();
        self.spill();
        self.table.drain(&mut self.counted);
        self.counted.sort_unstable();
        make_room(&mut self.columns, &mut self.sums, self.counted.len());
        let count = merge(self.counted.drain(..), &mut self.columns, &mut self.sums);
        (&self.columns[..count], Sums::Large(&self.sums[..count]))
    }
}

/// Columns and sums of at most `8 * BLOCKS` hashes, and how many there are: each hash goes where as many others are
/// smaller, and none are equal, because each has its number.
#[inline(always)]
#[allow(clippy::inline_always, reason = "compiled for the vectors of its caller")]
#[allow(clippy::cast_possible_truncation, reason = "at most 32 hashes")]
fn few<S: Simd, const BLOCKS: usize>(
    simd: S,
    columns: Columns,
    hashes: &[u32],
    to: &mut [i32; FEW],
    sums: &mut [i32; FEW],
) -> usize {
    let mut keys = [[i32::MAX; 8]; BLOCKS];
    let key = |column: u32, hash: u32, number: usize| {
        (column << 6 | (hash >> 31 & columns.signed) << 5 | number as u32).cast_signed()
    };
    let places = keys.as_flattened_mut().iter_mut().zip(hashes).enumerate();
    if let Some(mask) = columns.mask {
        places.for_each(|(number, (place, hash))| *place = key(magnitude(*hash) & mask, *hash, number));
    } else {
        places.for_each(|(number, (place, hash))| *place = key(columns.remainder(*hash), *hash, number));
    }
    let blocks = keys.map(|keys| simd.load_array_i32x8(keys));
    let (zero, one) = (simd.splat_i32x8(0), simd.splat_i32x8(1));
    let mut ranks = [zero; BLOCKS];
    let length = hashes.len().min(8 * BLOCKS);
    for key in &keys.as_flattened()[..length] {
        let key = simd.splat_i32x8(*key);
        for (rank, block) in ranks.iter_mut().zip(blocks) {
            *rank += simd.select_i32x8(simd.simd_gt_i32x8(block, key), one, zero);
        }
    }
    let ranks = ranks.map(|ranks| simd.as_array_i32x8(ranks));
    let mut sorted = [0; FEW];
    for (key, rank) in keys.as_flattened()[..length].iter().zip(ranks.as_flattened()) {
        sorted[rank.cast_unsigned() as usize % FEW] = *key;
    }
    let (mut count, mut before, mut sum) = (0, -1, 0);
    for key in &sorted[..length] {
        let (column, sign) = (key >> 6, 1 - (key >> 4 & 2));
        let is_new = column != before;
        before = column;
        count += usize::from(is_new);
        sum = sign + select_unpredictable(is_new, 0, sum);
        let at = (count - 1) % FEW;
        to[at] = column;
        sums[at] = sum;
    }
    count
}

#[inline]
fn make_room<T: Copy + Default>(columns: &mut Vec<i32>, sums: &mut Vec<T>, count: usize) {
    if columns.len() < count {
        columns.resize(count, 0);
    }
    if sums.len() < count {
        sums.resize(count, T::default());
    }
}

/// Adds up what falls on one column, and says how many there are. Whether the next key has the same column is not to be
/// foreseen, so nothing branches on it.
#[inline]
fn merge(keys: impl Iterator<Item = (Key, i64)>, columns: &mut [i32], sums: &mut [i64]) -> usize {
    let (mut count, mut before) = (0, None);
    for (key, times) in keys {
        let column = (key >> 1).cast_signed();
        let value = if key & 1 == 1 { -times } else { times };
        let is_new = before != Some(column);
        before = Some(column);
        count += usize::from(is_new);
        let at = count - 1;
        columns[at] = column;
        sums[at] = value + select_unpredictable(is_new, 0, sums[at]);
    }
    count
}

/// Counts by open addressing.
#[derive(Debug, Default)]
struct Table {
    /// A count of zero marks a free slot. The length is a power of two, or zero.
    slots: Vec<(Key, i64)>,
    used: usize,
}

impl Table {
    fn is_empty(&self) -> bool {
        self.used == 0
    }

    #[inline]
    fn add(&mut self, key: Key) {
        if self.used * 2 >= self.slots.len() {
            self.grow();
        }
        self.put(key, 1);
    }

    #[inline]
    fn put(&mut self, key: Key, count: i64) {
        let last = self.slots.len() - 1;
        // The high bits of the product depend on all of the key.
        let mut at = (u64::from(key).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & last;
        loop {
            let slot = &mut self.slots[at];
            if slot.1 == 0 {
                *slot = (key, count);
                self.used += 1;
                return;
            }
            if slot.0 == key {
                slot.1 += count;
                return;
            }
            at = (at + 1) & last;
        }
    }

    #[cold]
    fn grow(&mut self) {
        let length = (self.slots.len() * 4).max(4096);
        let before = std::mem::replace(&mut self.slots, vec![(0, 0); length]);
        self.used = 0;
        for (key, count) in before.into_iter().filter(|(_, count)| *count != 0) {
            self.put(key, count);
        }
    }

    fn drain(&mut self, out: &mut Vec<(Key, i64)>) {
        out.extend(self.slots.iter().copied().filter(|(_, count)| *count != 0));
        // What one long text needed is not kept for the short ones that follow.
        self.slots = Vec::new();
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fearless_simd::{Level, dispatch};
    use proptest::prelude::*;

    use super::*;

    fn pairs(counter: &mut Counter) -> Vec<(i32, i64)> {
        let (columns, sums) = counter.finish();
        let sums: Vec<i64> = match sums {
            Sums::Small(sums) => sums.iter().map(|sum| i64::from(*sum)).collect(),
            Sums::Large(sums) => sums.to_vec(),
        };
        columns.iter().copied().zip(sums).collect()
    }

    fn counts(columns: Columns, expected: usize, hashes: &[i32]) -> Vec<(i32, i64)> {
        let mut counter = Counter::default();
        counter.begin(columns, expected);
        for hash in hashes {
            counter.add(columns, &[hash.cast_unsigned()]);
        }
        pairs(&mut counter)
    }

    fn reference(count: i32, signed: bool, hashes: &[i32]) -> Vec<(i32, i64)> {
        let mut sums = BTreeMap::new();
        for hash in hashes {
            let column = i64::from(*hash).abs() % i64::from(count);
            *sums.entry(i32::try_from(column).unwrap_or(-1)).or_insert(0) += if signed && *hash < 0 { -1 } else { 1 };
        }
        sums.into_iter().collect()
    }

    proptest! {
        #[test]
        fn a_row_is_the_sum_of_its_signs(
            count in prop_oneof![1..=i32::MAX, 1..50_i32, Just(1 << 20), Just(i32::MAX)],
            signed: bool,
            expected in prop_oneof![0..100_usize, 0..5000_usize],
            hashes in prop_oneof![
                prop::collection::vec(prop_oneof![any::<i32>(), Just(i32::MIN), -20..20_i32], 0..60),
                prop::collection::vec(prop_oneof![any::<i32>(), -900..900_i32], 1000..5000),
            ],
        ) {
            prop_assert_eq!(counts(Columns::new(count, signed), expected, &hashes), reference(count, signed, &hashes));
        }

        #[test]
        fn a_row_at_once(
            count in prop_oneof![1..=i32::MAX, 1..50_i32, Just(1 << 20), (1..1 << 26), Just((1 << 25) + 1), Just(i32::MAX)],
            signed: bool,
            rows in prop::collection::vec(
                prop::collection::vec(prop_oneof![any::<i32>(), Just(i32::MIN), -20..20_i32], 0..70), 1..4
            ),
        ) {
            for level in [Level::new(), Level::baseline()] {
                let mut counter = Counter::default();
                for hashes in &rows {
                    let all: Vec<u32> = hashes.iter().map(|hash| hash.cast_unsigned()).collect();
                    let (mut columns, mut sums) = (vec![-1; all.len() + FEW], vec![-1; all.len() + FEW]);
                    let places = (&mut columns[..], &mut sums[..]);
                    let made = dispatch!(level, simd => counter.row(simd, Columns::new(count, signed), &all, places));
                    let found: Vec<(i32, i64)> =
                        columns[..made].iter().copied().zip(sums[..made].iter().map(|sum| i64::from(*sum))).collect();
                    prop_assert_eq!(found, reference(count, signed, hashes));
                }
            }
        }
    }

    #[test]
    fn cells_are_emptied_before_a_sum_is_too_large() {
        let columns = Columns::new(1 << 20, true);
        let mut counter = Counter::default();
        counter.begin(columns, 10);
        counter.add(columns, &[1, 1, 2, 3]);
        counter.added = LARGE;
        counter.add(columns, &[1, (-2_i32).cast_unsigned(), 5]);
        assert_eq!(pairs(&mut counter), [(1, 3), (2, 0), (3, 1), (5, 1)]);
        counter.add(columns, &[1]);
        assert_eq!(pairs(&mut counter), [(1, 1)]);
    }

    #[test]
    fn a_counter_is_empty_after_each_row() {
        let columns = Columns::new(1 << 20, true);
        let mut counter = Counter::default();
        for hash in 0..10_000_u32 {
            counter.add(columns, &[hash]);
        }
        assert_eq!(pairs(&mut counter).len(), 10_000);
        counter.add(columns, &[(-7_i32).cast_unsigned()]);
        assert_eq!(pairs(&mut counter), [(7, -1)]);
    }
}
