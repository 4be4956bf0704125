//! Short ASCII texts, many at a time: what a text costs besides its words is paid once for all of them.
//!
//! Each begins at a multiple of 64 bytes, and so with a word of bits of its own; what lies between them is in no word.

use fearless_simd::Simd;

use super::blocks::ascii_block;
use super::count::{Columns, Counter, FEW};
use super::hashing::{HASHED, Hashing};
use super::words::{mark, not_alone};

/// So many words of bits at most: text, tokens and hashes are in the first cache together.
const WORDS: usize = 64;
/// A text with more bytes is read by itself.
const LONGEST: usize = 1024;

#[derive(Debug)]
pub(super) struct Batch {
    /// In lower case if it should be; a token may be read whole whatever its length.
    text: Box<[u8; 64 * WORDS + 64]>,
    mask: Box<[u64; WORDS]>,
    /// How many words of bits there are, and after how many of them each text ends.
    words: usize,
    texts: Vec<usize>,
    edges: Vec<usize>,
    /// How many edges there are up to the end of each word of bits.
    marked: Box<[usize; WORDS + 1]>,
    hashing: Hashing,
    hashes: Vec<u32>,
    /// The rows of all texts, one behind the other, and where each ends.
    columns: Vec<i32>,
    sums: Vec<i32>,
    ends: Vec<usize>,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            text: Box::new([0; 64 * WORDS + 64]),
            mask: Box::new([0; WORDS]),
            words: 0,
            texts: Vec::new(),
            edges: Vec::new(),
            marked: Box::new([0; WORDS + 1]),
            hashing: Hashing::default(),
            hashes: Vec::new(),
            columns: Vec::new(),
            sums: Vec::new(),
            ends: Vec::new(),
        }
    }
}

impl Batch {
    /// Whether the next text may have no room.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.words + LONGEST / 64 + 1 > WORDS
    }

    /// How many texts wait.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    /// Forgets all texts.
    #[inline]
    pub(super) fn clear(&mut self) {
        self.words = 0;
        self.texts.clear();
    }

    /// Takes a text; says no if it is long or not ASCII, or there is no room, and then is as it was.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "compiled for the vectors of its caller")]
    pub(super) fn push<S: Simd>(&mut self, simd: S, text: &[u8], lowercase: bool) -> bool {
        if text.len() > LONGEST || self.is_full() {
            return false;
        }
        let Some(room) = self.text.get_mut(64 * self.words..) else { return false };
        let (blocks, rest) = text.as_chunks::<64>();
        let end = self.words + blocks.len() + 1;
        let Some([mask @ .., last]) = self.mask.get_mut(self.words..end) else { return false };
        for ((block, copy), mask) in blocks.iter().zip(room.as_chunks_mut::<64>().0).zip(mask) {
            if !block.is_ascii() {
                return false;
            }
            *mask = ascii_block(simd, block, copy, lowercase);
        }
        *last = if rest.is_empty() {
            0
        } else if let Some(block) = text.last_chunk::<64>() {
            // Some bytes once more, so that it is a block.
            let Some(copy) = room[text.len() - 64..].first_chunk_mut::<64>() else { return false };
            if !block.is_ascii() {
                return false;
            }
            ascii_block(simd, block, copy, lowercase) >> (64 - rest.len())
        } else {
            let mut block = [0; 64];
            block[..rest.len()].copy_from_slice(rest);
            let Some(copy) = room.first_chunk_mut::<64>() else { return false };
            if !block.is_ascii() {
                return false;
            }
            ascii_block(simd, &block, copy, lowercase)
        };
        self.words = end;
        self.texts.push(end);
        true
    }

    /// The rows of all texts: columns, ascending, with the sum of the signs of each, and where each row ends.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "compiled for the vectors of its caller")]
    pub(super) fn counted<S: Simd>(
        &mut self,
        simd: S,
        columns: Columns,
        counter: &mut Counter,
    ) -> (&[i32], &[i32], &[usize]) {
        self.hash(simd);
        // A counter writes no more than this at once.
        let room = self.hashes.len() + FEW;
        if self.columns.len() < room {
            self.columns.resize(room, 0);
            self.sums.resize(room, 0);
        }
        self.ends.clear();
        let (mut from, mut count) = (0, 0);
        for end in &self.texts {
            let to = self.marked[(*end).min(WORDS)] / 2;
            let places = (&mut self.columns[count..], &mut self.sums[count..]);
            count += counter.row(simd, columns, &self.hashes[from..to], places);
            self.ends.push(count);
            from = to;
        }
        (&self.columns[..count], &self.sums[..count], &self.ends)
    }

    /// Cuts and hashes.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "compiled for the vectors of its caller")]
    fn hash<S: Simd>(&mut self, simd: S) {
        // No byte has two edges; some places are written that are none.
        self.edges.resize(64 * (WORDS + 1), 0);
        let (mut count, mut before, mut raw_before) = (0, 0, 0);
        let mask = &self.mask[..self.words.min(WORDS)];
        for (number, raw) in mask.iter().enumerate() {
            // The highest bit of a text's last word is not set: no token goes on from one text to the next.
            let word = not_alone(*raw, raw_before, mask.get(number + 1).copied());
            raw_before = raw >> 63;
            count = mark(&mut self.edges, count, number, word ^ (word << 1 | before));
            before = word >> 63;
            self.marked[number + 1] = count;
        }
        self.hashes.clear();
        for spans in self.edges[..count].as_chunks::<2>().0.chunks(HASHED) {
            self.hashes.extend_from_slice(self.hashing.hash(simd, &self.text[..], spans));
        }
    }
}

#[cfg(test)]
mod tests {
    use fearless_simd::{Level, dispatch};
    use proptest::prelude::*;

    use super::super::Options;
    use super::super::count::Sums;
    use super::super::grams::{Grams, Scratch};
    use super::*;

    proptest! {
        #[test]
        fn each_text_is_cut_as_if_alone(
            texts in prop::collection::vec(
                prop_oneof!["[a-zA-Z_9 .]{0,150}", "[ab]{60,70}", "[a ]{60,130}", "[\\x00-\\x7f]{0,200}"], 1..20
            ),
            other in prop_oneof![Just("é"), Just("ab é"), Just("日本")],
            lowercase: bool,
        ) {
            let columns = Columns::new(1 << 20, true);
            for level in [Level::new(), Level::baseline()] {
                let (mut batch, mut counter) = (Batch::default(), Counter::default());
                let mut expected: Vec<(Vec<i32>, Vec<i32>)> = Vec::new();
                for text in &texts {
                    let broken = format!("{text}{other}");
                    prop_assert!(!dispatch!(level, simd => batch.push(simd, broken.as_bytes(), lowercase)));
                    if batch.is_full() {
                        break;
                    }
                    prop_assert!(dispatch!(level, simd => batch.push(simd, text.as_bytes(), lowercase)));
                    counter.begin(columns, 10);
                    let grams = Grams::new(Options { lowercase, ..Options::default() });
                    grams.each(text, &mut Scratch::default(), |hash| counter.add(columns, &[hash.cast_unsigned()]));
                    let (columns, sums) = counter.finish();
                    let Sums::Small(sums) = sums else { return Err(TestCaseError::fail("few hashes")) };
                    expected.push((columns.to_vec(), sums.to_vec()));
                }
                prop_assert_eq!(batch.len(), expected.len());
                let (columns, sums, ends) =
                    dispatch!(level, simd => batch.counted(simd, columns, &mut counter));
                let starts = [0].iter().chain(ends);
                let found: Vec<_> = starts
                    .zip(ends)
                    .map(|(start, end)| (columns[*start..*end].to_vec(), sums[*start..*end].to_vec()))
                    .collect();
                prop_assert_eq!(found, expected);
            }
        }
    }
}
