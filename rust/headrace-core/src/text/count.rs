//! Counting the hashes of one row: sorted and merged if they are few, in a table if they are many.

use std::hint::select_unpredictable;

/// What a column index and a sign fit into: the index, and in the lowest bit whether the sign is negative.
type Key = u32;

/// So many are sorted together; beyond, a table that holds each once is faster than sorting them all.
const SORTED: usize = 1024;
const BUCKET_BITS: u32 = 8;
const BUCKETS: usize = 1 << BUCKET_BITS;
/// Fewer keys than this are not worth so many buckets, ...
const FEW: usize = 48;
const FEW_BUCKET_BITS: u32 = 6;
const FEW_BUCKETS: usize = 1 << FEW_BUCKET_BITS;
/// ... and fewer than this are not worth any.
const TINY: usize = 8;
/// A one in each 16 bits.
const LANES: u64 = 0x0001_0001_0001_0001;
/// A bucket with more than this is not sorted by insertion.
const FULL: u16 = 64;

/// The hashes of a row, as column indices with a sign.
#[derive(Debug)]
pub(super) struct Counter {
    keys: Box<[Key; SORTED]>,
    length: usize,
    sorted: Box<[Key; SORTED]>,
    table: Table,
    counted: Vec<(Key, i64)>,
    columns: Vec<i32>,
    sums: Vec<i64>,
}

impl Default for Counter {
    fn default() -> Self {
        Self {
            keys: Box::new([0; SORTED]),
            length: 0,
            sorted: Box::new([0; SORTED]),
            table: Table::default(),
            counted: Vec::new(),
            columns: Vec::new(),
            sums: Vec::new(),
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
    /// What a key is shifted by so that eight bits are left.
    shift: u32,
}

impl Columns {
    pub(super) fn new(count: i32, signed: bool) -> Self {
        let count = count.unsigned_abs().max(1);
        Self {
            count,
            reciprocal: (u64::MAX / u64::from(count)).wrapping_add(1),
            mask: count.is_power_of_two().then_some(count - 1),
            signed: u32::from(signed),
            shift: (u32::BITS - (count - 1).leading_zeros() + 1).saturating_sub(BUCKET_BITS),
        }
    }

    /// The column is |hash| modulo their number, where |-2^31| is 2^31; the sign is the hash's.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "a remainder is smaller than what it is of")]
    fn key(self, hash: i32) -> Key {
        let column = if let Some(mask) = self.mask {
            hash.unsigned_abs() & mask
        } else {
            let fraction = self.reciprocal.wrapping_mul(u64::from(hash.unsigned_abs()));
            ((u128::from(fraction) * u128::from(self.count)) >> 64) as u32
        };
        column << 1 | (hash.cast_unsigned() >> 31 & self.signed)
    }
}

impl Counter {
    #[inline]
    pub(super) fn add(&mut self, columns: Columns, hash: i32) {
        if self.length >= SORTED {
            self.spill();
        }
        self.keys[self.length] = columns.key(hash);
        self.length += 1;
    }

    #[cold]
    fn spill(&mut self) {
        for key in &self.keys[..self.length] {
            self.table.add(*key);
        }
        self.length = 0;
    }

    /// The columns, ascending, with the sum of the signs of each; the counter is empty afterwards.
    pub(super) fn finish(&mut self, columns: Columns) -> (&[i32], &[i64]) {
        let found = if self.table.is_empty() {
            let keys = sort(&mut self.keys[..self.length], &mut self.sorted, columns);
            make_room(&mut self.columns, &mut self.sums, keys.len());
            let count = merge(keys.iter().map(|key| (*key, 1)), &mut self.columns, &mut self.sums);
            self.length = 0;
            count
        } else {
            self.spill();
            self.table.drain(&mut self.counted);
            self.counted.sort_unstable();
            make_room(&mut self.columns, &mut self.sums, self.counted.len());
            merge(self.counted.drain(..), &mut self.columns, &mut self.sums)
        };
        (&self.columns[..found], &self.sums[..found])
    }
}

fn make_room(columns: &mut Vec<i32>, sums: &mut Vec<i64>, keys: usize) {
    if columns.len() < keys {
        columns.resize(keys, 0);
        sums.resize(keys, 0);
    }
}

/// The keys in ascending order. They are hashes, so their highest bits spread them over buckets nearly evenly, and what
/// is left to do within the buckets is little.
#[inline]
fn sort<'a>(keys: &'a mut [Key], sorted: &'a mut [Key; SORTED], columns: Columns) -> &'a [Key] {
    let spread = match keys.len() {
        0..TINY => false,
        TINY..FEW => spread::<FEW_BUCKETS>(keys, sorted, columns.shift + BUCKET_BITS - FEW_BUCKET_BITS),
        _ => spread::<BUCKETS>(keys, sorted, columns.shift),
    };
    if !spread {
        // Very few; or many of one word, or somebody who chose them so.
        keys.sort_unstable();
        return keys;
    }
    let sorted = &mut sorted[..keys.len()];
    for end in 1..sorted.len() {
        let key = sorted[end];
        let mut at = end;
        while at > 0 && sorted[at - 1] > key {
            sorted[at] = sorted[at - 1];
            at -= 1;
        }
        sorted[at] = key;
    }
    sorted
}

/// Copies the keys bucket by bucket, or says no if a bucket would be too full.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "a lane of a word has 16 bits")]
fn spread<const BUCKETS: usize>(keys: &[Key], sorted: &mut [Key; SORTED], shift: u32) -> bool {
    let bucket = |key: Key| (key >> shift) as usize & (BUCKETS - 1);
    let mut starts = [0_u16; BUCKETS];
    for key in keys {
        starts[bucket(*key)] += 1;
    }
    if starts.iter().any(|count| *count > FULL) {
        return false;
    }
    // Each count becomes the sum of those before it. Four at a time: a product adds up the lanes of a word.
    let mut before = 0_u64;
    for four in starts.as_chunks_mut::<4>().0 {
        let counts = four.iter().rev().fold(0, |word, count| word << 16 | u64::from(*count));
        let sums = counts.wrapping_mul(LANES);
        let places = (sums << 16).wrapping_add(before.wrapping_mul(LANES));
        for (place, lane) in four.iter_mut().zip(0..) {
            *place = (places >> (16 * lane)) as u16;
        }
        before += sums >> 48;
    }
    for key in keys {
        let place = &mut starts[bucket(*key)];
        sorted[usize::from(*place) & (SORTED - 1)] = *key;
        *place += 1;
    }
    true
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
        out.clear();
        out.extend(self.slots.iter().copied().filter(|(_, count)| *count != 0));
        // What one long text needed is not kept for the short ones that follow.
        self.slots = Vec::new();
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn pairs(counter: &mut Counter, columns: Columns) -> Vec<(i32, i64)> {
        let (columns, sums) = counter.finish(columns);
        columns.iter().copied().zip(sums.iter().copied()).collect()
    }

    fn counts(columns: Columns, hashes: &[i32]) -> Vec<(i32, i64)> {
        let mut counter = Counter::default();
        for hash in hashes {
            counter.add(columns, *hash);
        }
        pairs(&mut counter, columns)
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
            hashes in prop_oneof![
                prop::collection::vec(prop_oneof![any::<i32>(), Just(i32::MIN), -20..20_i32], 0..60),
                prop::collection::vec(prop_oneof![any::<i32>(), -900..900_i32], 1000..5000),
            ],
        ) {
            prop_assert_eq!(counts(Columns::new(count, signed), &hashes), reference(count, signed, &hashes));
        }
    }

    #[test]
    fn a_counter_is_empty_after_each_row() {
        let columns = Columns::new(1 << 20, true);
        let mut counter = Counter::default();
        for hash in 0..10_000 {
            counter.add(columns, hash);
        }
        assert_eq!(pairs(&mut counter, columns).len(), 10_000);
        counter.add(columns, -7);
        assert_eq!(pairs(&mut counter, columns), [(7, -1)]);
    }
}
