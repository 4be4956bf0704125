//! Where the tokens of a text are: the runs of two or more word characters, which is what `\b\w\w+\b` finds.
//!
//! Two passes over a text: the first marks each byte that belongs to a word character with a bit, the second turns the
//! places where the bits change into tokens. Neither has a branch that depends on how long the words are.

use std::hint::select_unpredictable;
use std::sync::LazyLock;

use fearless_simd::Simd;

use super::blocks::{ascii_block, block};
use super::unicode::{CAPITAL_DOTTED_I, CAPITAL_SIGMA, class_of, lower_of};

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// So many bytes behind the text may be read and written, so that tokens are loaded whole whatever their length.
const PADDING: usize = 16;
/// So many words of bits are turned into tokens at a time.
const SEGMENT: usize = 64;
/// So many edges are written at a time, and those that are too many overwritten.
const AT_ONCE: usize = 8;

/// A text made ready for cutting.
#[derive(Debug, Default)]
pub(super) struct Words {
    text: Vec<u8>,
    mask: Vec<u64>,
    /// Where characters begin that a table has to be asked about.
    leads: Vec<u64>,
    edges: Vec<usize>,
    is_ascii: bool,
}

impl Words {
    /// Marks the words of `text`, which becomes lower case if it should, in one pass. With `keep_marks` a mark goes on
    /// with the word that it stands behind.
    pub(super) fn read(&mut self, text: &str, lowercase: bool, keep_marks: bool) {
        let bytes = text.as_bytes();
        // No lower case is longer than one and a half times its character: U+0130 and U+023A go from two bytes to three.
        self.make_room(bytes.len() + bytes.len() / 2);
        let out = &mut self.text[..];
        self.mask.clear();
        let mut marks = Marks { mask: &mut self.mask, word: 0, filled: 0 };
        let small = if lowercase { HIGH >> 2 } else { 0 };
        let pairs = &**PAIRS;
        let (mut at, mut written, mut inside) = (0, 0, false);
        while at < bytes.len() {
            let window = window(bytes, at);
            let ascii = ((window & HIGH).trailing_zeros() / 8) as usize;
            if ascii > 0 {
                // A run of ASCII, at most eight bytes of it.
                let length = ascii.min(bytes.len() - at);
                let run = window & (u64::MAX >> (64 - 8 * length));
                let letters = letters(run);
                let found = gather(words(run, letters));
                put(out, written, run | (letters >> 2 & small));
                marks.push(found, length);
                inside = found >> (length - 1) != 0;
                (at, written) = (at + length, written + length);
                continue;
            }
            if window & 0xE0 == 0xC0 {
                // Two bytes, and most often two again in lower case.
                let pair = pairs[(window & 0x1F) as usize][(window >> 8 & 0x3F) as usize];
                if !pair.is_special {
                    inside = pair.is_word || keep_marks && inside && pair.is_mark;
                    put(out, written, if lowercase { u64::from(pair.lower) } else { window });
                    marks.push(if inside { 0b11 } else { 0 }, 2);
                    (at, written) = (at + 2, written + 2);
                    continue;
                }
            }
            let (code, length) = decode(window);
            let class = class_of(code);
            // A letter's lower case is as much a letter as it is itself.
            inside = class.is_word() || keep_marks && inside && class.is_mark();
            let mut new = length;
            if lowercase & !class.is_lower() {
                let (lower, size) = encode(lower_of(text, at, code, class));
                put(out, written, lower);
                new = size;
            } else if lowercase && code == CAPITAL_DOTTED_I {
                // The dot that it leaves behind is a mark.
                put(out, written, u64::from(b'i') | u64::from(u16::from_le_bytes(*b"\xcc\x87")) << 8);
                marks.push(1, 1);
                inside = keep_marks;
                written += 1;
            } else {
                put(out, written, window);
            }
            marks.push(if inside { (1 << new) - 1 } else { 0 }, new);
            (at, written) = (at + length, written + new);
        }
        marks.finish();
        self.is_ascii = false;
    }

    /// [`Words::read`] without marks that go on with words, a block at a time, where lower case lies on the bytes of what
    /// it is the lower case of; says no if it does not, and then nothing is read. ASCII is done as if there were nothing
    /// else, then each other character by itself: none has to wait for the one before it.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "compiled for the vectors of its caller")]
    pub(super) fn read_in_place<S: Simd>(&mut self, simd: S, text: &str, lowercase: bool) -> bool {
        let bytes = text.as_bytes();
        self.make_room(bytes.len());
        self.mask.clear();
        self.mask.resize(bytes.len() / 64 + 1, 0);
        self.is_ascii = false;
        self.leads.clear();
        self.leads.resize(self.mask.len(), 0);
        let mut carried = 0;
        let copies = self.text.as_chunks_mut::<64>().0;
        for (number, ((mask, leads), copy)) in self.mask.iter_mut().zip(&mut self.leads).zip(copies).enumerate() {
            (*leads, *mask) = block(simd, bytes, 64 * number, copy, lowercase, &mut carried);
        }
        let pairs = &**PAIRS;
        carried = 0;
        for (number, (mask, leads)) in self.mask.iter_mut().zip(&mut self.leads).enumerate() {
            let mut found = std::mem::take(&mut carried);
            while *leads != 0 {
                let offset = leads.trailing_zeros();
                *leads &= *leads - 1;
                let at = 64 * number + offset as usize;
                // Not from the copy: what was just written would have to be waited for.
                let window = window(bytes, at);
                let bits;
                if window & 0xE0 == 0xC0 {
                    let pair = pairs[(window & 0x1F) as usize][(window >> 8 & 0x3F) as usize];
                    let mut lower = pair.lower.to_le_bytes();
                    if pair.is_special && lowercase {
                        let Some(special) = special_pair(text, at, window) else { return false };
                        lower = special;
                    }
                    if lowercase && let Some(place) = self.text[at..].first_chunk_mut::<2>() {
                        *place = lower;
                    }
                    bits = if pair.is_word { 0b11 } else { 0 };
                } else {
                    let (code, length) = decode(window);
                    let class = class_of(code);
                    if lowercase & !class.is_lower() {
                        let (lower, size) = encode(lower_of(text, at, code, class));
                        if size != length {
                            return false;
                        }
                        self.text[at..at + size].copy_from_slice(&lower.to_le_bytes()[..size]);
                    }
                    bits = if class.is_word() { (1 << length) - 1 } else { 0 };
                }
                found |= bits << offset;
                // Shifted twice because a shift by 64 is none.
                carried |= bits >> 1 >> (63 - offset);
            }
            *mask |= found;
        }
        true
    }

    /// Marks the words of ASCII text, which becomes lower case if it should, in one pass.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "compiled for the vectors of its caller")]
    pub(super) fn read_ascii<S: Simd>(&mut self, simd: S, text: &[u8], lowercase: bool) {
        self.make_room(text.len());
        let (blocks, rest) = text.as_chunks::<64>();
        self.mask.clear();
        self.mask.resize(blocks.len() + 1, 0);
        let (copies, _) = self.text.as_chunks_mut::<64>();
        // Loops and no closures: what a closure is called by may be compiled for narrower vectors.
        for ((block, copy), mask) in blocks.iter().zip(&mut *copies).zip(&mut self.mask) {
            *mask = ascii_block(simd, block, copy, lowercase);
        }
        let mut last = [0; 64];
        last[..rest.len()].copy_from_slice(rest);
        if let (Some(copy), Some(mask)) = (copies.get_mut(blocks.len()), self.mask.last_mut()) {
            *mask = ascii_block(simd, &last, copy, lowercase);
        }
        self.is_ascii = true;
    }

    fn make_room(&mut self, length: usize) {
        let length = (length + PADDING).next_multiple_of(64);
        if self.text.len() < length {
            self.text.resize(length, 0);
        }
    }

    /// The text, and behind it at least 16 bytes of whatever.
    #[inline]
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Calls `found` with the text and the bounds of each token in it, one after the other.
    pub(super) fn each(&mut self, mut found: impl FnMut(&[u8], usize, usize)) {
        self.spans(|text, spans| {
            for [start, end] in spans {
                found(text, *start, *end);
            }
        });
    }

    /// Calls `found` with the text and the bounds of many tokens in it at a time.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "compiled for the vectors of its caller")]
    pub(super) fn spans(&mut self, mut found: impl FnMut(&[u8], &[[usize; 2]])) {
        let Self { text, mask, edges, is_ascii, .. } = self;
        let (text, is_ascii) = (&text[..], *is_ascii);
        edges.resize(64 * SEGMENT + 2 + AT_ONCE, 0);
        // A bit more, so that the last word ends.
        mask.push(0);
        let (mut marked, mut before, mut raw_before) = (0, 0, 0);
        let segments = mask.len().div_ceil(SEGMENT);
        for segment in 0..segments {
            let first = segment * SEGMENT;
            for number in first..(first + SEGMENT).min(mask.len()) {
                let raw = mask[number];
                let word = if is_ascii { not_alone(raw, raw_before, mask.get(number + 1).copied()) } else { raw };
                raw_before = raw >> 63;
                marked = mark(edges, marked, number, word ^ (word << 1 | before));
                before = word >> 63;
            }
            let (spans, open) = edges[..marked].as_chunks_mut::<2>();
            let mut kept = spans.len();
            if !is_ascii {
                kept = 0;
                for index in 0..spans.len() {
                    let [start, end] = spans[index];
                    // Not a branch, because which words are short is not to be foreseen.
                    spans[kept] = [start, end];
                    kept += usize::from(has_two_characters(text, start, end));
                }
            }
            found(text, &spans[..kept]);
            // A word may go on in the next segment.
            marked = open.len();
            let open = open.first().copied().unwrap_or(0);
            edges[0] = open;
        }
    }
}

/// The bits of a word of bits that have one beside them; `next` is the word behind.
#[inline]
pub(super) fn not_alone(word: u64, before: u64, next: Option<u64>) -> u64 {
    word & (word << 1 | before | word >> 1 | next.map_or(0, |next| next << 63))
}

/// Appends the places of the bits that are set in the `number`-th word to the first `marked` edges, and says how many
/// there are then.
#[inline]
pub(super) fn mark(edges: &mut [usize], mut marked: usize, number: usize, mut changes: u64) -> usize {
    let end = marked + changes.count_ones() as usize;
    while marked < end {
        // How many there are is hard to foresee; whether there are more than so many, less.
        if let Some(edges) = edges[marked..].first_chunk_mut::<AT_ONCE>() {
            for edge in edges {
                *edge = 64 * number + changes.trailing_zeros() as usize;
                changes &= changes.wrapping_sub(1);
            }
        }
        marked += AT_ONCE;
    }
    end
}

/// What has to be known of a character of two bytes.
#[derive(Clone, Copy, Default)]
struct Pair {
    /// Its lower case, in UTF-8.
    lower: u16,
    is_word: bool,
    is_mark: bool,
    /// The lower case is not two bytes, or depends on what stands around.
    is_special: bool,
}

/// By the five bits of the first byte and the six of the second: alphabets other than the Latin one have no faster way.
static PAIRS: LazyLock<Box<[[Pair; 64]; 32]>> = LazyLock::new(|| {
    let mut pairs = Box::new([[Pair::default(); 64]; 32]);
    for (first, row) in (0..).zip(pairs.iter_mut()) {
        for (second, pair) in (0..).zip(row) {
            let code = first << 6 | second;
            let class = class_of(code);
            let (lower, length) = encode(lower_of("", 0, code, class));
            *pair = Pair {
                lower: u16::try_from(lower).unwrap_or(0),
                is_word: class.is_word(),
                is_mark: class.is_mark(),
                is_special: length != 2 || code == CAPITAL_DOTTED_I || code == CAPITAL_SIGMA,
            };
        }
    }
    pairs
});

/// The lower case of a character of two bytes that the table does not know, if it has two bytes as well.
#[cold]
fn special_pair(text: &str, at: usize, window: u64) -> Option<[u8; 2]> {
    let (code, _) = decode(window);
    let (lower, length) = encode(lower_of(text, at, code, class_of(code)));
    if length != 2 || code == CAPITAL_DOTTED_I {
        return None;
    }
    lower.to_le_bytes().first_chunk::<2>().copied()
}

/// Bits, appended.
struct Marks<'a> {
    mask: &'a mut Vec<u64>,
    word: u64,
    filled: usize,
}

impl Marks<'_> {
    /// The lowest `length` bits, at most eight; the others are zero.
    #[inline]
    fn push(&mut self, bits: u64, length: usize) {
        self.word |= bits << self.filled;
        self.filled += length;
        if self.filled >= 64 {
            self.mask.push(self.word);
            self.filled -= 64;
            self.word = bits >> (length - self.filled);
        }
    }

    fn finish(self) {
        if self.filled > 0 {
            self.mask.push(self.word);
        }
    }
}

/// Eight bytes from `at`, zero behind the end.
#[inline]
fn window(bytes: &[u8], at: usize) -> u64 {
    let rest = &bytes[at..];
    if let Some(window) = rest.first_chunk::<8>() {
        return u64::from_le_bytes(*window);
    }
    let mut window = [0; 8];
    window[..rest.len()].copy_from_slice(rest);
    u64::from_le_bytes(window)
}

#[inline]
fn put(out: &mut [u8], at: usize, bytes: u64) {
    if let Some(place) = out[at..].first_chunk_mut::<8>() {
        *place = bytes.to_le_bytes();
    }
}

/// The character at the beginning, which is not ASCII, and how many bytes it has.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "four bytes at most")]
fn decode(window: u64) -> (u32, usize) {
    let bytes = window as u32;
    let part = |index: u32| bytes >> (8 * index) & 0x3F;
    match bytes & 0xFF {
        0..0xE0 => ((bytes & 0x1F) << 6 | part(1), 2),
        0xE0..0xF0 => ((bytes & 0x0F) << 12 | part(1) << 6 | part(2), 3),
        _ => ((bytes & 0x07) << 18 | part(1) << 12 | part(2) << 6 | part(3), 4),
    }
}

/// The UTF-8 of a character.
#[inline]
fn encode(code: u32) -> (u64, usize) {
    let part = |shift: u32| u64::from(code >> shift & 0x3F | 0x80);
    let first = |shift: u32, mark: u32| u64::from(code >> shift | mark);
    match code {
        0..0x80 => (u64::from(code), 1),
        0x80..0x800 => (first(6, 0xC0) | part(0) << 8, 2),
        0x800..0x1_0000 => (first(12, 0xE0) | part(6) << 8 | part(0) << 16, 3),
        _ => (first(18, 0xF0) | part(12) << 8 | part(6) << 16 | part(0) << 24, 4),
    }
}

/// Whether the token holds two characters or more. Behind it lie at least four bytes.
#[inline]
fn has_two_characters(text: &[u8], start: usize, end: usize) -> bool {
    let length = end - start;
    let Some(bytes) = text[start..].first_chunk::<4>() else { return false };
    let bytes = u32::from_le_bytes(*bytes);
    // All but the first byte of a character begin with the bits 10, and no character has more than four bytes.
    let first = (!bytes | bytes << 1) & (0x8080_8080 >> (32 - 8 * length.clamp(1, 4)));
    select_unpredictable(length > 4, true, first & first.wrapping_sub(1) != 0)
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

#[cfg(test)]
mod tests {
    use fearless_simd::{Level, dispatch};
    use proptest::prelude::*;

    use super::super::unicode::{class, push_lower};
    use super::*;

    fn found(words: &mut Words) -> Vec<String> {
        let mut tokens = Vec::new();
        words.each(|text, start, end| tokens.push(String::from_utf8_lossy(&text[start..end]).into_owned()));
        tokens
    }

    fn reference(text: &str, keep_marks: bool) -> Vec<String> {
        let (mut tokens, mut token) = (Vec::new(), String::new());
        for character in text.chars().chain([' ']) {
            let class = class(character);
            if class.is_word() || (keep_marks && !token.is_empty() && class.is_mark()) {
                token.push(character);
            } else {
                tokens.push(std::mem::take(&mut token));
            }
        }
        tokens.retain(|token| token.chars().count() > 1);
        tokens
    }

    proptest! {
        #[test]
        fn tokens_are_runs_of_word_characters(
            texts in prop::collection::vec(prop_oneof!["\\PC{0,200}", "[a-zA-Z_9 é日\u{301}\u{93f}.]{0,400}"], 1..4),
            keep_marks: bool,
        ) {
            let mut words = Words::default();
            for text in &texts {
                words.read(text, false, keep_marks);
                prop_assert_eq!(found(&mut words), reference(text, keep_marks));
            }
        }

        #[test]
        fn lower_case_first_or_in_one_pass(text in "[A-Zİ Σσ\u{301}éÉȺǅ.ⅧⒶ日]{0,300}", keep_marks: bool) {
            let mut lower = String::new();
            push_lower(&text, &mut lower);
            let mut words = Words::default();
            words.read(&text, true, keep_marks);
            prop_assert_eq!(&words.text()[..lower.len()], lower.as_bytes());
            prop_assert_eq!(found(&mut words), reference(&lower, keep_marks));
        }

        #[test]
        fn in_place_or_not(
            text in prop_oneof!["\\PC{0,100}", "[A-Zİ Σσß\u{301}éÉȺǅ.ⅧⒶＡ日𐐀𝒳🚀]{0,200}", "[aЖж Éσ日𐐨]{0,200}"],
            lowercase: bool,
        ) {
            let same = if lowercase {
                let mut lower = String::new();
                push_lower(&text, &mut lower);
                lower
            } else {
                text.clone()
            };
            let mut words = Words::default();
            if dispatch!(Level::new(), simd => words.read_in_place(simd, &text, lowercase)) {
                prop_assert_eq!(&words.text()[..same.len()], same.as_bytes());
                prop_assert_eq!(found(&mut words), reference(&same, false));
            } else {
                let changes = |c: char| c == 'İ' || c.to_lowercase().map(char::len_utf8).sum::<usize>() != c.len_utf8();
                prop_assert!(text.chars().any(changes), "{:?} was refused", text);
            }
        }

        #[test]
        fn ascii_is_no_other_text(text in "[\\x00-\\x7f]{0,300}", long in 0..3_usize, lowercase: bool) {
            let text = text.repeat(1 + long * 40);
            let mut words = Words::default();
            dispatch!(Level::new(), simd => words.read_ascii(simd, text.as_bytes(), lowercase));
            let same = if lowercase { text.to_ascii_lowercase() } else { text };
            prop_assert_eq!(&words.text()[..same.len()], same.as_bytes());
            prop_assert_eq!(found(&mut words), reference(&same, false));
        }
    }

    #[test]
    fn each_character_in_place() {
        let lower_of = |text: &str| {
            let mut lower = String::new();
            push_lower(text, &mut lower);
            lower
        };
        let stays = |character: &char| lower_of(&character.to_string()).len() == character.len_utf8();
        // Sigmas would look at what stands before them.
        let all: Vec<char> = ('\u{1}'..='\u{1FFFF}').filter(|c| stays(c) && *c != '\u{130}' && *c != 'Σ').collect();
        for filling in ["", "a", " ", "ab ", "éЖ日"] {
            let mut text = String::new();
            for (number, character) in all.iter().enumerate() {
                text.push(*character);
                text.push_str(filling);
                text.extend(std::iter::repeat_n('.', number % 3));
            }
            for level in [Level::new(), Level::baseline()] {
                let mut words = Words::default();
                for lowercase in [true, false] {
                    let same = if lowercase { lower_of(&text) } else { text.clone() };
                    assert!(dispatch!(level, simd => words.read_in_place(simd, &text, lowercase)));
                    assert!(words.text()[..same.len()] == *same.as_bytes(), "{filling:?}");
                    assert!(found(&mut words) == reference(&same, false), "{filling:?}");
                }
            }
        }
    }
}
