//! Counting the hashes of one row: sorted and merged if they are few, in a table if they are many.

/// What a column index and a sign fit into: the index, and in the lowest bit whether the sign is negative.
type Key = u32;

/// So many are sorted together; beyond, a table that holds each once is faster than sorting them all.
const SORTED: usize = 1024;

/// The hashes of a row, as column indices with a sign.
#[derive(Debug, Default)]
pub(super) struct Counter {
    keys: Vec<Key>,
    table: Table,
    counted: Vec<(Key, i64)>,
}

/// Column index and sign of a hash, as scikit-learn has them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Columns {
    count: u32,
    /// 2^64 / count, rounded up: a remainder without a division (Lemire, Kaser and Kurz 2019).
    reciprocal: u64,
    signed: u32,
}

impl Columns {
    pub(super) fn new(count: i32, signed: bool) -> Self {
        let count = count.unsigned_abs().max(1);
        Self { count, reciprocal: (u64::MAX / u64::from(count)).wrapping_add(1), signed: u32::from(signed) }
    }

    /// The column is |hash| modulo their number, where |-2^31| is 2^31; the sign is the hash's.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "a remainder is smaller than what it is of")]
    fn key(self, hash: i32) -> Key {
        let fraction = self.reciprocal.wrapping_mul(u64::from(hash.unsigned_abs()));
        let column = ((u128::from(fraction) * u128::from(self.count)) >> 64) as u32;
        column << 1 | (hash.cast_unsigned() >> 31 & self.signed)
    }
}

impl Counter {
    #[inline]
    pub(super) fn add(&mut self, columns: Columns, hash: i32) {
        if self.keys.len() == SORTED {
            self.spill();
        }
        self.keys.push(columns.key(hash));
    }

    #[cold]
    fn spill(&mut self) {
        for key in self.keys.drain(..) {
            self.table.add(key);
        }
    }

    /// Calls `found` with each column in ascending order and the sum of its signs; the counter is empty afterwards.
    pub(super) fn finish(&mut self, mut found: impl FnMut(i32, i64)) {
        if self.table.is_empty() {
            self.keys.sort_unstable();
            merge(self.keys.iter().map(|key| (*key, 1)), &mut found);
            self.keys.clear();
        } else {
            self.spill();
            self.table.drain(&mut self.counted);
            self.counted.sort_unstable();
            merge(self.counted.drain(..), &mut found);
        }
    }
}

#[inline]
fn merge(mut counted: impl Iterator<Item = (Key, i64)>, found: &mut impl FnMut(i32, i64)) {
    let signed = |(key, count): (Key, i64)| ((key >> 1).cast_signed(), if key & 1 == 1 { -count } else { count });
    let Some((mut column, mut sum)) = counted.next().map(signed) else { return };
    for (next, value) in counted.map(signed) {
        if next == column {
            sum += value;
        } else {
            found(column, sum);
            (column, sum) = (next, value);
        }
    }
    found(column, sum);
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

    fn counts(columns: Columns, hashes: &[i32]) -> Vec<(i32, i64)> {
        let mut counter = Counter::default();
        for hash in hashes {
            counter.add(columns, *hash);
        }
        let mut found = Vec::new();
        counter.finish(|column, sum| found.push((column, sum)));
        found
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
        counter.finish(|_, _| {});
        counter.add(columns, -7);
        let mut found = Vec::new();
        counter.finish(|column, sum| found.push((column, sum)));
        assert_eq!(found, [(7, -1)]);
    }
}
