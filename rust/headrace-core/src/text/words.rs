//! Where the tokens of a text are: the runs of two or more word characters, which is what `\b\w\w+\b` finds.

use super::unicode::class;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// A text made ready for cutting: its bytes, and a bit for each that belongs to a word character.
#[derive(Debug, Default)]
pub(super) struct Words {
    mask: Vec<u64>,
    edges: Vec<usize>,
}

impl Words {
    /// Finds the words of `text`. With `keep_marks` a mark goes on with the word that it stands behind.
    pub(super) fn find(&mut self, text: &str, keep_marks: bool) {
        self.mask.clear();
        self.mask.resize(text.len().div_ceil(64), 0);
        let bytes = text.as_bytes();
        let mut inside = false;
        let mut at = 0;
        while at < bytes.len() {
            // Whole blocks of ASCII eight bytes at a time, whatever else a character at a time.
            if let Some(block) = bytes[at..].first_chunk::<8>() {
                let block = u64::from_le_bytes(*block);
                if block & HIGH == 0 {
                    let found = word_bits(block);
                    self.set(at, found, 8);
                    inside = found >> 7 != 0;
                    at += 8;
                    continue;
                }
            }
            let Some(character) = text[at..].chars().next() else { break };
            let class = class(character);
            inside = class.is_word() || (keep_marks && inside && class.is_mark());
            let length = character.len_utf8();
            if inside {
                self.set(at, (1 << length) - 1, length);
            }
            at += length;
        }
        self.cut(bytes.len());
    }

    /// Finds the words of ASCII text and writes it in lower case, in one pass.
    pub(super) fn find_ascii(&mut self, text: &[u8], lowercase: bool, out: &mut Vec<u8>) {
        self.mask.clear();
        self.mask.reserve(text.len().div_ceil(64));
        out.clear();
        out.reserve(text.len() + 64);
        let (blocks, rest) = text.as_chunks::<64>();
        for block in blocks {
            let mut lower = *block;
            self.mask.push(ascii_block(&mut lower, lowercase));
            out.extend_from_slice(&lower);
        }
        if !rest.is_empty() {
            let mut lower = [0; 64];
            lower[..rest.len()].copy_from_slice(rest);
            self.mask.push(ascii_block(&mut lower, lowercase));
            out.extend_from_slice(&lower[..rest.len()]);
        }
        self.cut(text.len());
    }

    /// Calls `found` with the bounds of each run of word characters, one after the other.
    #[inline]
    pub(super) fn spans(&self) -> impl Iterator<Item = (usize, usize)> {
        self.edges.as_chunks::<2>().0.iter().map(|[start, end]| (*start, *end))
    }

    #[inline]
    fn set(&mut self, at: usize, bits: u64, length: usize) {
        let shift = at % 64;
        self.mask[at / 64] |= bits << shift;
        if shift + length > 64 && bits >> (64 - shift) != 0 {
            self.mask[at / 64 + 1] |= bits >> (64 - shift);
        }
    }

    /// Where runs of set bits begin and end.
    fn cut(&mut self, length: usize) {
        self.edges.clear();
        let mut before = 0;
        for (block, word) in self.mask.iter().enumerate() {
            let mut changes = word ^ (word << 1 | before);
            before = word >> 63;
            while changes != 0 {
                self.edges.push(block * 64 + changes.trailing_zeros() as usize);
                changes &= changes - 1;
            }
        }
        if self.edges.len() % 2 == 1 {
            self.edges.push(length);
        }
    }
}

/// The high bit of each byte that is at least `least`; bytes and `least` below 128.
#[inline]
fn at_least(block: u64, least: u8) -> u64 {
    (block + ONES * u64::from(0x80 - least)) & HIGH
}

#[inline]
fn letters(block: u64) -> u64 {
    let folded = block | (ONES * 0x20);
    at_least(folded, b'a') & !at_least(folded, b'z' + 1)
}

#[inline]
fn words(block: u64, letters: u64) -> u64 {
    let digits = at_least(block, b'0') & !at_least(block, b'9' + 1);
    let underscore = at_least(block, b'_') & !at_least(block, b'_' + 1);
    letters | digits | underscore
}

/// The high bits of eight bytes, side by side.
#[inline]
fn gather(high: u64) -> u64 {
    (high >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

#[inline]
fn word_bits(block: u64) -> u64 {
    gather(words(block, letters(block)))
}

/// A bit for each word character; the letters become small ones if they should.
#[inline]
fn ascii_block(block: &mut [u8; 64], lowercase: bool) -> u64 {
    let mut mask = 0;
    let (eights, _) = block.as_chunks_mut::<8>();
    for (index, bytes) in eights.iter_mut().enumerate() {
        let eight = u64::from_le_bytes(*bytes);
        let letters = letters(eight);
        mask |= gather(words(eight, letters)) << (8 * index);
        if lowercase {
            *bytes = (eight | letters >> 2).to_le_bytes();
        }
    }
    mask
}
