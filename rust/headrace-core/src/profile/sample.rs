//! One value of each block of `2^h` consecutive values: what the bins are chosen from.
//!
//! Which one of a block depends on the block's number only, so the sample depends on the order of the values and on
//! nothing else: not on batches, not on threads. `h` grows as values come, and up to [`CAPACITY`] values the sample is
//! all of them. With `m` values in the sample the rank of a value is off by more than `εn` somewhere with probability at
//! most `2 exp(-2 ε² m)` (Dvoretzky, Kiefer, Wolfowitz; drawing one from each block only narrows it). Bins chosen so may
//! be a little uneven; what is counted on them is exact.

#![allow(clippy::inline_always, reason = "only what is inlined is compiled for the processor at hand")]

/// The most values that are kept. At least half as many are left when `h` grows.
pub(super) const CAPACITY: usize = 1 << 14;

#[derive(Debug, Clone, Default)]
pub(super) struct Sample {
    values: Vec<f64>,
    seen: u64,
    /// Number, among all values, of the one that is taken next.
    next: u64,
    h: u32,
    range: Option<(f64, f64)>,
}

impl Sample {
    /// Shows the next finite values.
    #[inline(always)]
    pub(super) fn extend(&mut self, values: &[f64]) {
        self.widen(values);
        let mut start = 0;
        if self.h == 0 {
            let room = (CAPACITY - self.values.len()).min(values.len());
            self.values.extend_from_slice(&values[..room]);
            self.seen += room as u64;
            self.next = self.seen;
            start = room;
            self.thin();
        }
        let rest = &values[start..];
        let end = self.seen + rest.len() as u64;
        while self.next < end {
            if let Some(value) = usize::try_from(self.next - self.seen).ok().and_then(|index| rest.get(index)) {
                self.values.push(*value);
            }
            let block = (self.next >> self.h) + 1;
            self.next = (block << self.h) + self.offset(block);
            self.thin();
        }
        self.seen = end;
    }

    /// Ascending, without minus zero; and the least and greatest of all values.
    pub(super) fn finish(mut self) -> (Vec<f64>, Option<(f64, f64)>) {
        for value in &mut self.values {
            *value += 0.0; // -0.0 + 0.0 is 0.0
        }
        self.values.sort_unstable_by(f64::total_cmp);
        (self.values, self.range.map(|(min, max)| (min + 0.0, max + 0.0)))
    }

    #[inline(always)]
    fn widen(&mut self, values: &[f64]) {
        let Some(&first) = values.first() else { return };
        let (mut least, mut greatest) = ([first; 8], [first; 8]);
        let (eights, rest) = values.as_chunks::<8>();
        // One after the other: of both at once the compiler makes no vectors.
        for eight in eights {
            for lane in 0..8 {
                least[lane] = if eight[lane] < least[lane] { eight[lane] } else { least[lane] };
            }
        }
        for eight in eights {
            for lane in 0..8 {
                greatest[lane] = if eight[lane] > greatest[lane] { eight[lane] } else { greatest[lane] };
            }
        }
        let min = rest.iter().chain(&least).fold(first, |a, &b| a.min(b));
        let max = rest.iter().chain(&greatest).fold(first, |a, &b| a.max(b));
        self.range = Some(self.range.map_or((min, max), |(low, high)| (low.min(min), high.max(max))));
    }

    /// When the sample is full, two neighbouring blocks become one: one of their two values stays.
    #[inline]
    fn thin(&mut self) {
        if self.values.len() >= CAPACITY {
            self.halve();
        }
    }

    fn halve(&mut self) {
        self.h += 1;
        for block in 0..CAPACITY / 2 {
            let second = usize::from(mix(block as u64 ^ u64::from(self.h) << 48) & 1 == 1);
            self.values[block] = self.values[2 * block + second];
        }
        self.values.truncate(CAPACITY / 2);
        let block = (CAPACITY / 2) as u64;
        self.next = (block << self.h) + self.offset(block);
    }

    fn offset(&self, block: u64) -> u64 {
        mix(block ^ u64::from(self.h) << 56) & ((1 << self.h) - 1)
    }
}

/// The finalizer of splitmix64 (Steele, Lea, Flood 2014).
pub(super) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
