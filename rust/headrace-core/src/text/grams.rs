//! From a text to the hashes of its n-grams. No n-gram is ever written down: the state of the hash after n tokens goes
//! on to n + 1.

use fearless_simd::{Level, Simd, dispatch};

use super::batch::Batch;
use super::hashing::{HASHED, Hashing, hash_token};
use super::unicode::{class, push_lower, push_stripped};
use super::words::Words;
use super::{Accents, Analyzer, Options};
use crate::murmur::{Prefix, murmur3};

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
    /// Short texts that wait for each other.
    pub(super) batch: Batch,
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
            batch: Batch::default(),
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

    /// Whether each word is a token by itself, and all there is.
    fn are_words(&self) -> bool {
        self.analyzer == Analyzer::Word && self.greatest == 1 && self.stop_words.is_empty()
    }

    /// Puts a text to those that wait, if it is short ASCII and words are all that is asked for; says no if not.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "compiled for the vectors of its caller")]
    pub(super) fn put<S: Simd>(&self, simd: S, text: &[u8], batch: &mut Batch) -> bool {
        self.are_words() && batch.push(simd, text, self.lowercase)
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
        if !self.are_words() {
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
