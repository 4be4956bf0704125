//! From a text to the hashes of its n-grams. No n-gram is ever written down: the state of the hash after n tokens goes
//! on to n + 1.

use fearless_simd::{Level, Simd, dispatch};

use super::unicode::{class, push_lower, push_stripped};
use super::words::Words;
use super::{Accents, Analyzer, Options};
use crate::murmur::{Prefix, murmur3, murmur3_eight};

/// How texts are cut.
#[derive(Debug, Clone)]
pub(super) struct Grams {
    analyzer: Analyzer,
    lowercase: bool,
    accents: Option<Accents>,
    least: usize,
    greatest: usize,
    stop_words: StopWords,
    keep_marks: bool,
}

#[derive(Debug)]
pub(super) struct Scratch {
    /// How wide the machine's vectors are.
    pub(super) level: Level,
    text: String,
    stripped: String,
    words: Words,
    hashing: Hashing,
    /// Where tokens, or characters, begin and end.
    tokens: Vec<(usize, usize)>,
    bounds: Vec<usize>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            level: Level::new(),
            text: String::new(),
            stripped: String::new(),
            words: Words::default(),
            hashing: Hashing::default(),
            tokens: Vec::new(),
            bounds: Vec::new(),
        }
    }
}

impl Grams {
    pub(super) fn new(options: Options) -> Self {
        Self {
            analyzer: options.analyzer,
            lowercase: options.lowercase,
            accents: options.accents,
            least: options.ngrams.0,
            greatest: options.ngrams.1,
            stop_words: StopWords::new(options.stop_words),
            keep_marks: options.keep_marks,
        }
    }

    /// Makes a text ready for being cut into words if it is one of those that are soon read.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "compiled for the vectors of its caller")]
    fn read<S: Simd>(&self, simd: S, text: &str, words: &mut Words) -> bool {
        if text.is_ascii() {
            // Stripping accents leaves ASCII as it is.
            words.read_ascii(simd, text.as_bytes(), self.lowercase);
            return true;
        }
        !self.keep_marks && self.accents.is_none() && words.read_in_place(simd, text, self.lowercase)
    }

    /// Calls `found` with the hashes of the words of a text, many at a time, if they are all that is asked for; says no
    /// if not, or if it does not know the text's characters, and then has called nothing.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "compiled for the vectors of its caller")]
    pub(super) fn words<S: Simd>(
        &self,
        simd: S,
        text: &str,
        scratch: &mut Scratch,
        mut found: impl FnMut(&[u32]),
    ) -> bool {
        if self.analyzer != Analyzer::Word || self.greatest > 1 || !self.stop_words.is_empty() {
            return false;
        }
        let Scratch { words, hashing, .. } = scratch;
        if !self.read(simd, text, words) {
            return false;
        }
        words.spans(|text, spans| {
            for spans in spans.chunks(HASHED) {
                found(hashing.hash(simd, text, spans));
            }
        });
        true
    }

    /// Calls `found` with the hash of each n-gram, in no particular order.
    #[inline]
    pub(super) fn each(&self, text: &str, scratch: &mut Scratch, found: impl FnMut(i32)) {
        if self.analyzer == Analyzer::Word && (text.is_ascii() || self.accents.is_none()) {
            let read = dispatch!(scratch.level, simd => self.read(simd, text, &mut scratch.words));
            if !read {
                scratch.words.read(text, self.lowercase, self.keep_marks);
            }
            self.each_word(&mut scratch.words, &mut scratch.tokens, found);
            return;
        }
        let Scratch { text: lower, stripped, words, tokens, bounds, .. } = scratch;
        let mut text = text;
        if self.lowercase {
            lower.clear();
            push_lower(text, lower);
            text = lower;
        }
        if let Some(accents) = self.accents {
            stripped.clear();
            push_stripped(text, accents == Accents::Ascii, stripped);
            text = stripped;
        }
        match self.analyzer {
            Analyzer::Word => {
                words.read(text, false, self.keep_marks);
                self.each_word(words, tokens, found);
            }
            Analyzer::Char => self.each_run(text, bounds, found),
            Analyzer::CharWithinWords => self.each_padded(text, bounds, found),
        }
    }

    #[inline]
    fn each_word(&self, words: &mut Words, tokens: &mut Vec<(usize, usize)>, mut found: impl FnMut(i32)) {
        let empty = Prefix::new(&[], 0);
        if self.greatest == 1 {
            words.each(|text, start, end| {
                let hash = hash_token(empty, text, start, end);
                if !self.stop_words.contain(&text[start..end], hash) {
                    found(hash);
                }
            });
            return;
        }
        tokens.clear();
        words.each(|text, start, end| {
            if self.stop_words.is_empty()
                || !self.stop_words.contain(&text[start..end], hash_token(empty, text, start, end))
            {
                tokens.push((start, end));
            }
        });
        let text = words.text();
        for first in 0..tokens.len() {
            let mut joined = empty;
            for (number, (start, end)) in (1..=self.greatest).zip(&tokens[first..]) {
                if number > 1 {
                    joined = joined.then(b" ");
                }
                joined = joined.then(&text[*start..*end]);
                if number >= self.least {
                    found(joined.hash(&[]));
                }
            }
        }
    }

    fn each_run(&self, text: &str, bounds: &mut Vec<usize>, found: impl FnMut(i32)) {
        // Two spaces or more become one blank; a single one stays what it is.
        let mut joined = String::with_capacity(text.len());
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            if class(character).is_space() && characters.next_if(|next| class(*next).is_space()).is_some() {
                while characters.next_if(|next| class(*next).is_space()).is_some() {}
                joined.push(' ');
            } else {
                joined.push(character);
            }
        }
        self.each_window(&joined, bounds, self.greatest, found);
    }

    fn each_padded(&self, text: &str, bounds: &mut Vec<usize>, mut found: impl FnMut(i32)) {
        let mut padded = String::new();
        for word in text.split(|character| class(character).is_space()).filter(|word| !word.is_empty()) {
            padded.clear();
            padded.push(' ');
            padded.push_str(word);
            padded.push(' ');
            let length = padded.chars().count();
            // A word that is no longer than n is one n-gram, once.
            self.each_window(&padded, bounds, self.greatest.min(length - 1), &mut found);
            if self.greatest >= length {
                found(murmur3(padded.as_bytes(), 0));
            }
        }
    }

    /// Runs of `least` to `greatest` characters.
    fn each_window(&self, text: &str, bounds: &mut Vec<usize>, greatest: usize, mut found: impl FnMut(i32)) {
        bounds.clear();
        bounds.extend(text.char_indices().map(|(at, _)| at));
        bounds.push(text.len());
        if self.least > greatest || self.least >= bounds.len() {
            return;
        }
        let bytes = text.as_bytes();
        for (first, start) in bounds[..bounds.len() - self.least].iter().enumerate() {
            let mut ends = bounds[first + self.least..].iter().take(greatest - self.least + 1);
            let Some(mut end) = ends.next() else { break };
            let mut run = Prefix::new(&bytes[*start..*end], 0);
            found(run.hash(&[]));
            for next in ends {
                run = run.then(&bytes[*end..*next]);
                found(run.hash(&[]));
                end = next;
            }
        }
    }
}

/// So many tokens are hashed together.
const HASHED: usize = 128;
/// A token with more bytes than this is hashed by itself.
const SHORT: usize = 16;

/// Many tokens on the way to their hashes.
#[derive(Debug)]
struct Hashing {
    /// The first four bytes of each, the next four bytes of each, ...
    words: Box<[[u32; HASHED]; 4]>,
    lengths: Box<[u32; HASHED]>,
    hashes: Box<[u32; HASHED]>,
    long: Box<[usize; HASHED]>,
}

impl Default for Hashing {
    fn default() -> Self {
        Self {
            words: Box::new([[0; HASHED]; 4]),
            lengths: Box::new([0; HASHED]),
            hashes: Box::new([0; HASHED]),
            long: Box::new([0; HASHED]),
        }
    }
}

impl Hashing {
    /// The hashes of at most [`HASHED`] tokens. Behind each lie 16 bytes of whatever.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "compiled for the vectors of its caller")]
    #[allow(clippy::cast_possible_truncation, reason = "a length of at most 16, and parts of a word")]
    fn hash<S: Simd>(&mut self, simd: S, text: &[u8], spans: &[[usize; 2]]) -> &[u32] {
        let Self { words, lengths, hashes, long } = self;
        let [first, second, third, fourth] = &mut **words;
        let spans = &spans[..spans.len().min(HASHED)];
        let mut count = 0;
        for (number, [start, end]) in spans.iter().enumerate() {
            let bytes = (end - start).min(SHORT);
            let read = text[*start..].first_chunk::<16>().map_or(0, |bytes| u128::from_le_bytes(*bytes));
            let (low, high) = KEPT[bytes];
            let (low, high) = (read as u64 & low, (read >> 64) as u64 & high);
            first[number] = low as u32;
            second[number] = (low >> 32) as u32;
            third[number] = high as u32;
            fourth[number] = (high >> 32) as u32;
            lengths[number] = bytes as u32;
            long[count] = number;
            count += usize::from(end - start > SHORT);
        }
        let words = eights(first).iter().zip(eights(second)).zip(eights(third)).zip(eights(fourth));
        let all = words.zip(eights(lengths)).zip(hashes.as_chunks_mut::<8>().0).take(spans.len().div_ceil(8));
        for (((((first, second), third), fourth), lengths), hashes) in all {
            *hashes = murmur3_eight(simd, [first, second, third, fourth], lengths);
        }
        for number in &long[..count] {
            let [start, end] = spans[*number];
            hashes[*number] = murmur3(&text[start..end], 0).cast_unsigned();
        }
        &hashes[..spans.len()]
    }
}

#[inline]
fn eights(words: &[u32; HASHED]) -> &[[u32; 8]] {
    words.as_chunks().0
}

/// The bytes of a token that a hash reads, and no others, by the token's length.
const KEPT: [(u64, u64); SHORT + 1] = {
    let mut kept = [(0, 0); SHORT + 1];
    let mut length = 0;
    while length <= SHORT {
        let bits = if length < 16 { (1_u128 << (8 * length)) - 1 } else { u128::MAX };
        #[allow(clippy::cast_possible_truncation, reason = "the low half, and the high half")]
        {
            kept[length] = (bits as u64, (bits >> 64) as u64);
        }
        length += 1;
    }
    kept
};

/// The hash of a token, with at least 16 bytes from its start in `text`.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "a length of at most twelve")]
fn hash_token(empty: Prefix, text: &[u8], start: usize, end: usize) -> i32 {
    let length = end - start;
    if let (Some((low, high)), Some(bytes)) = (KEPT[..13].get(length), text[start..].first_chunk::<16>()) {
        let bytes = u128::from_le_bytes(*bytes);
        empty.hash_short::<3>(bytes as u64 & low, (bytes >> 64) as u64 & high, length as u32)
    } else {
        empty.hash(&text[start..end])
    }
}

/// Words by their hash, which is known when they are asked for.
#[derive(Debug, Clone)]
struct StopWords {
    /// As many as a power of two, or none.
    slots: Vec<Vec<Box<[u8]>>>,
}

impl StopWords {
    fn new(words: Vec<String>) -> Self {
        if words.is_empty() {
            return Self { slots: Vec::new() };
        }
        let mut made = Self { slots: vec![Vec::new(); (words.len() * 8).next_power_of_two()] };
        for word in words {
            let word = word.into_bytes().into_boxed_slice();
            let slot = made.slot(murmur3(&word, 0));
            made.slots[slot].push(word);
        }
        made
    }

    fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    #[inline]
    fn slot(&self, hash: i32) -> usize {
        hash.cast_unsigned() as usize & (self.slots.len() - 1)
    }

    #[inline]
    fn contain(&self, word: &[u8], hash: i32) -> bool {
        !self.is_empty() && self.slots[self.slot(hash)].iter().any(|stop| **stop == *word)
    }
}
