//! Short values side by side: 32-bit words in lanes, so that one instruction takes a step of many hashes.

use crate::murmur::Prefix;

/// Values at a time. So many that what was written word by word has arrived when it is read register by register.
pub(super) const LANES: usize = 128;
/// Bytes of a value that lanes hold: as many as a view holds itself.
pub(super) const SHORT: usize = 12;
#[allow(clippy::cast_possible_truncation, reason = "twelve")]
const SHORT_LENGTH: u32 = SHORT as u32;

/// Values of at most [`SHORT`] bytes. Anything may lie beyond their length.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lanes {
    pub(super) lengths: [u32; LANES],
    pub(super) words: [[u32; LANES]; SHORT / 4],
}

impl Lanes {
    /// Empty values.
    pub(super) fn new() -> Self {
        Self { lengths: [0; LANES], words: [[0; LANES]; SHORT / 4] }
    }

    /// A length and three words.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "part of a loop that is compiled for several processors")]
    pub(super) fn set(&mut self, lane: usize, value: [u32; 4]) {
        let [length, first, second, third] = value;
        self.lengths[lane] = length;
        self.words[0][lane] = first;
        self.words[1][lane] = second;
        self.words[2][lane] = third;
    }

    /// Forgets the bytes of values that are not short.
    pub(super) fn drop_long(&mut self) {
        for words in &mut self.words {
            for (word, length) in words.iter_mut().zip(&self.lengths) {
                *word = if *length > SHORT_LENGTH { 0 } else { *word };
            }
        }
    }

    /// The length of the longest.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "part of a loop that is compiled for several processors")]
    pub(super) fn longest(&self) -> u32 {
        self.lengths.iter().fold(0, |longest, length| longest.max(*length))
    }

    /// The hash of each, none of which is longer than `longest`; of one that is not short, any.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "part of a loop that is compiled for several processors")]
    pub(super) fn hashes(&self, prefix: Prefix, longest: u32) -> [i32; LANES] {
        match (prefix.waiting() + longest.min(SHORT_LENGTH)) / 4 {
            0 => self.hashes_of::<0>(prefix),
            1 => self.hashes_of::<1>(prefix),
            2 => self.hashes_of::<2>(prefix),
            _ => self.hashes_of::<3>(prefix),
        }
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "part of a loop that is compiled for several processors")]
    fn hashes_of<const BLOCKS: usize>(&self, prefix: Prefix) -> [i32; LANES] {
        let mut hashes = [0; LANES];
        let [first, second, third] = &self.words;
        for lane in 0..LANES {
            let words = [first[lane], second[lane], third[lane]];
            hashes[lane] = prefix.hash_words::<BLOCKS>(words, self.lengths[lane]);
        }
        hashes
    }

    /// Calls `then` with one value, cut to what is here.
    pub(super) fn with<R>(&self, lane: usize, then: impl FnOnce(&[u8]) -> R) -> R {
        let mut bytes = [0; SHORT];
        for (four, words) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(&self.words) {
            *four = words[lane].to_le_bytes();
        }
        then(&bytes[..SHORT.min(self.lengths[lane] as usize)])
    }
}
