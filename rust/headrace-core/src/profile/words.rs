//! Texts numbered in the order they came.

use std::borrow::Cow;
use std::ops::Range;

use super::hashing::hash64;

/// Longer texts are kept as their beginning and their hash.
const LONGEST: usize = 256;

/// How a text is kept: itself, or shortened. Texts are bytes here: whether they are UTF-8 is nothing that counts.
#[inline]
pub(super) fn kept_form(text: &[u8]) -> Cow<'_, [u8]> {
    if text.len() <= LONGEST { Cow::Borrowed(text) } else { Cow::Owned(shortened(text)) }
}

#[cold]
fn shortened(text: &[u8]) -> Vec<u8> {
    let mut end = LONGEST - 24;
    // Bytes of this form continue a character.
    while end > 0 && text[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    [&text[..end], format!("… #{:016x}", hash64(text)).as_bytes()].concat()
}

/// A set of texts, each with a number.
#[derive(Debug, Clone, Default)]
pub(super) struct Words {
    /// Number plus one, by hash; 0 is free. A power of two of them, at most half taken.
    slots: Vec<u32>,
    hashes: Vec<u64>,
    spans: Vec<Range<usize>>,
    text: Vec<u8>,
}

impl Words {
    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    pub(super) fn get(&self, number: usize) -> &[u8] {
        self.spans.get(number).and_then(|span| self.text.get(span.clone())).unwrap_or_default()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|number| self.get(number))
    }

    #[inline]
    pub(super) fn find(&self, text: &[u8], hash: u64) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let mask = self.slots.len() - 1;
        let mut slot = low(hash) & mask;
        loop {
            let number = (self.slots[slot] as usize).checked_sub(1)?;
            if self.hashes[number] == hash && self.text[self.spans[number].clone()] == *text {
                return Some(number);
            }
            slot = (slot + 1) & mask;
        }
    }

    /// The number of `text`, a new one if need be; at most `u32::MAX - 1` of them, which callers stay far below.
    #[inline]
    pub(super) fn insert(&mut self, text: &[u8], hash: u64) -> usize {
        if let Some(number) = self.find(text, hash) {
            return number;
        }
        let number = self.spans.len();
        let start = self.text.len();
        self.text.extend_from_slice(text);
        self.spans.push(start..self.text.len());
        self.hashes.push(hash);
        if self.slots.len() < 2 * self.spans.len() {
            self.slots = vec![0; (4 * self.spans.len()).next_power_of_two().max(16)];
            for number in 0..self.hashes.len() {
                self.place(number);
            }
        } else {
            self.place(number);
        }
        number
    }

    fn place(&mut self, number: usize) {
        let mask = self.slots.len() - 1;
        let mut slot = low(self.hashes[number]) & mask;
        while self.slots[slot] != 0 {
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = u32::try_from(number + 1).unwrap_or(0);
    }
}

#[inline]
#[allow(clippy::cast_possible_truncation, reason = "a mask follows")]
fn low(hash: u64) -> usize {
    hash as usize
}

/// Which texts were seen, beyond those that have a bin: a filter of Bloom 1970 with three probes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter {
    bits: Vec<u64>,
}

/// 32 KB.
pub(super) const MAX_FILTER_WORDS: usize = 1 << 12;

impl Filter {
    /// With ten bits a text, up to 2^18 bits.
    pub(super) fn for_texts(count: u64) -> Self {
        let words = usize::try_from(count.saturating_mul(10).div_ceil(64)).unwrap_or(usize::MAX);
        let words = if words == 0 { 0 } else { words.min(MAX_FILTER_WORDS).next_power_of_two() };
        Self { bits: vec![0; words] }
    }

    /// A power of two of words, or none, and not more than [`MAX_FILTER_WORDS`].
    pub(super) fn from_words(bits: Vec<u64>) -> Option<Self> {
        let fits = bits.is_empty() || (bits.len().is_power_of_two() && bits.len() <= MAX_FILTER_WORDS);
        fits.then_some(Self { bits })
    }

    pub(super) fn words(&self) -> &[u64] {
        &self.bits
    }

    fn probes(&self, hash: u64) -> [(usize, u64); 3] {
        let mask = self.bits.len().wrapping_sub(1);
        [0, 21, 42].map(|shift| {
            let part = hash >> shift;
            (low(part >> 6) & mask, 1 << (part & 63))
        })
    }

    pub(super) fn insert(&mut self, hash: u64) {
        if self.bits.is_empty() {
            return;
        }
        for (word, bit) in self.probes(hash) {
            self.bits[word] |= bit;
        }
    }

    pub(super) fn contains(&self, hash: u64) -> bool {
        !self.bits.is_empty() && self.probes(hash).into_iter().all(|(word, bit)| self.bits[word] & bit != 0)
    }

    /// The probability that a text that was never seen is taken for one that was.
    #[allow(clippy::cast_precision_loss, reason = "a probability")]
    pub(super) fn false_rate(&self) -> f64 {
        if self.bits.is_empty() {
            return 0.0;
        }
        let set: u32 = self.bits.iter().map(|word| word.count_ones()).sum();
        (f64::from(set) / (self.bits.len() * 64) as f64).powi(3)
    }
}
