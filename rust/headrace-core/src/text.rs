//! Texts as rows of hashed tokens, bit for bit as scikit-learn's `HashingVectorizer` makes them.
//!
//! A text is made lower case, its accents are taken away if they should be, it is cut into tokens (words, or runs of
//! characters), tokens are joined to n-grams, and each n-gram is hashed: `MurmurHash3` with seed 0 of its UTF-8, the
//! column is |hash| modulo their number, the sign the hash's. What falls on one column is added up. A row is then made
//! binary and normalised if asked.
//!
//! What a word character, a space and a lower case letter is, is Python's reading of Unicode [`UNICODE_VERSION`], from
//! a generated table: `text/generate.py` asks the interpreter.
//!
//! ```
//! # use headrace_core::text::{Options, Scratch, Vectorizer};
//! # fn main() -> headrace_core::Result<()> {
//! let vectorizer = Vectorizer::new(Options::default())?;
//! let (mut scratch, mut row) = (Scratch::default(), Vec::new());
//! vectorizer.row("the text of a row", &mut scratch, &mut row); // one (column, value) for each token, columns ascending
//! # Ok(()) }
//! ```

mod batch;
mod blocks;
mod column;
mod count;
mod grams;
mod hashing;
mod matrix;
mod points;
mod stop_words;
#[rustfmt::skip]
#[allow(clippy::unreadable_literal, reason = "generated")]
mod table;
mod unicode;
mod words;

use fearless_simd::{Simd, dispatch};

use crate::error::{Error, Result};
use crate::murmur::murmur3;
use crate::sparse::{Csr, offset};

use count::{Columns, Counter, Sums};
use grams::Grams;

pub use column::{Decoding, Texts, check_utf8};
pub use matrix::{Chunk, Document, Documents};
pub use points::Encoder;
pub use stop_words::ENGLISH_STOP_WORDS;

/// Of a text that is not known yet, roughly: a wrong guess costs time only.
const BYTES_A_TOKEN: usize = 6;

/// The version of Unicode that says what a letter is.
pub const UNICODE_VERSION: &str = unicode::UNICODE_VERSION;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Analyzer {
    /// Runs of two or more word characters; n-grams of them are joined by one space.
    Word,
    /// Runs of n characters, where two or more spaces count as one.
    Char,
    /// Runs of n characters within words that have a space before and behind them.
    CharWithinWords,
}

/// What happens to accents: the text is decomposed (NFKD), and then taken away are ...
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accents {
    /// ... all characters but ASCII.
    Ascii,
    /// ... combining characters.
    Unicode,
}

/// What the values of a row are divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norm {
    /// The sum of their absolute values.
    L1,
    /// The square root of the sum of their squares.
    L2,
}

/// How texts become rows. The default is that of scikit-learn.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is an option by itself")]
pub struct Options {
    /// Number of columns: 1 to 2^31 - 1.
    pub columns: i32,
    /// What a token is.
    pub analyzer: Analyzer,
    /// Whether the text is made lower case first, as Python's `str.lower` does.
    pub lowercase: bool,
    /// Which accents are taken away.
    pub accents: Option<Accents>,
    /// The least and the greatest number of tokens that are joined; the least is at least 1.
    pub ngrams: (usize, usize),
    /// Words that are left out. [`Analyzer::Word`] only.
    pub stop_words: Vec<String>,
    /// Whether a hash's sign is the value's. Otherwise all values count up.
    pub signed: bool,
    /// Whether every value is 1, the sum of values that cancelled each other too.
    pub binary: bool,
    /// What the values of a row are divided by, last of all.
    pub norm: Option<Norm>,
    /// Whether marks (Unicode's category M) go on with the word that they stand behind, as the vowel signs of Indic
    /// scripts must. scikit-learn cuts there. [`Analyzer::Word`] only.
    pub keep_marks: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            columns: 1 << 20,
            analyzer: Analyzer::Word,
            lowercase: true,
            accents: None,
            ngrams: (1, 1),
            stop_words: Vec::new(),
            signed: true,
            binary: false,
            norm: Some(Norm::L2),
            keep_marks: false,
        }
    }
}

/// Makes rows of texts. It holds no state: a text gives the same row whatever came before it.
#[derive(Debug, Clone)]
pub struct Vectorizer {
    columns: Columns,
    number: usize,
    grams: Grams,
    binary: bool,
    norm: Option<Norm>,
}

/// Memory that is used again from text to text.
#[derive(Debug, Default)]
pub struct Scratch {
    grams: grams::Scratch,
    counter: Counter,
}

impl Scratch {
    fn is_full(&self) -> bool {
        self.grams.batch.is_full()
    }

    fn forget(&mut self) {
        self.grams.batch.clear();
    }
}

/// A type of values.
pub trait Value: Copy + Send + Sync + std::fmt::Debug + Into<f64> + 'static {
    /// The nearest to a whole number.
    fn of(count: i64) -> Self;
    /// Its square, in its own precision.
    #[must_use]
    fn squared(self) -> Self;
    /// The quotient, rounded once.
    #[must_use]
    fn divided_by(self, divisor: f64) -> Self;
}

macro_rules! value {
    ($type:ty) => {
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "rounding is what is asked for"
        )]
        #[allow(clippy::cast_lossless, trivial_numeric_casts, reason = "one of the two types is f64 itself")]
        impl Value for $type {
            #[inline]
            fn of(count: i64) -> Self {
                count as Self
            }
            #[inline]
            fn squared(self) -> Self {
                self * self
            }
            #[inline]
            fn divided_by(self, divisor: f64) -> Self {
                (f64::from(self) / divisor) as Self
            }
        }
    };
}
value!(f32);
value!(f64);

impl Vectorizer {
    /// A vectorizer, or [`Error::TextOption`].
    pub fn new(options: Options) -> Result<Self> {
        if options.columns < 1 {
            return Err(Error::TextOption {
                option: "columns",
                found: options.columns.to_string(),
                expected: "1 to 2147483647",
            });
        }
        let (least, greatest) = options.ngrams;
        if least < 1 || greatest < least {
            return Err(Error::TextOption {
                option: "ngrams",
                found: format!("{least} to {greatest}"),
                expected: "at least 1, and no more than the second number",
            });
        }
        Ok(Self {
            columns: Columns::new(options.columns, options.signed),
            number: usize::try_from(options.columns).unwrap_or(0),
            binary: options.binary,
            norm: options.norm,
            grams: Grams::new(options),
        })
    }

    /// Number of columns.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.number
    }

    /// The row of a text: `out` holds its columns, ascending, with their values. What it held before is gone.
    pub fn row(&self, text: &str, scratch: &mut Scratch, out: &mut Vec<(i32, f64)>) {
        let Scratch { grams, counter } = scratch;
        counter.begin(self.columns, text.len() / BYTES_A_TOKEN);
        self.count(text, grams, counter);
        let (columns, sums) = counter.finish();
        out.clear();
        let mut values: Vec<f64> = Vec::with_capacity(columns.len());
        match sums {
            Sums::Small(sums) => self.extend(sums, &mut values),
            Sums::Large(sums) => self.extend(sums, &mut values),
        }
        out.extend(columns.iter().copied().zip(values));
    }

    /// Appends the row of a text.
    pub fn push<T: Value>(&self, text: &str, scratch: &mut Scratch, rows: &mut Csr<T>) -> Result<()> {
        dispatch!(scratch.grams.level, simd => self.push_by(simd, text, scratch, rows))
    }

    /// [`Vectorizer::push`], compiled for the vectors of its caller.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "compiled for the vectors of its caller")]
    fn push_by<S: Simd, T: Value>(&self, simd: S, text: &str, scratch: &mut Scratch, rows: &mut Csr<T>) -> Result<()> {
        let Scratch { grams, counter } = scratch;
        counter.begin(self.columns, text.len() / BYTES_A_TOKEN);
        if !self.grams.words(simd, text, grams, |hashes| counter.add(self.columns, hashes)) {
            self.count(text, grams, counter);
        }
        self.finish(counter, rows)
    }

    /// Puts a text to those that wait, if it may; says no if not.
    fn put(&self, text: &[u8], scratch: &mut Scratch) -> bool {
        let grams::Scratch { level, batch, .. } = &mut scratch.grams;
        dispatch!(*level, simd => self.grams.put(simd, text, batch))
    }

    /// Appends the rows of the texts that wait.
    fn push_waiting<T: Value>(&self, scratch: &mut Scratch, rows: &mut Csr<T>) -> Result<()> {
        let Scratch { grams: grams::Scratch { level, batch, .. }, counter } = scratch;
        if batch.len() == 0 {
            return Ok(());
        }
        let (columns, sums, ends) = dispatch!(*level, simd => batch.counted(simd, self.columns, counter));
        rows.indices.extend_from_slice(columns);
        dispatch!(*level, _simd => self.extend_each(sums, ends, rows))?;
        batch.clear();
        Ok(())
    }

    /// Appends the values of rows that end at `ends`.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "compiled for the vectors of its caller")]
    fn extend_each<T: Value>(&self, sums: &[i32], ends: &[usize], rows: &mut Csr<T>) -> Result<()> {
        let mut start = 0;
        for end in ends {
            self.extend(&sums[start..*end], &mut rows.data);
            rows.indptr.push(offset(rows.data.len())?);
            start = *end;
        }
        Ok(())
    }

    #[inline(never)]
    fn count(&self, text: &str, grams: &mut grams::Scratch, counter: &mut Counter) {
        self.grams.each(text, grams, |hash| counter.add(self.columns, &[hash.cast_unsigned()]));
    }

    /// Appends a row of tokens that somebody else cut: each is hashed as it is.
    pub fn push_tokens<'a, T: Value>(
        &self,
        tokens: impl IntoIterator<Item = &'a [u8]>,
        scratch: &mut Scratch,
        rows: &mut Csr<T>,
    ) -> Result<()> {
        let tokens = tokens.into_iter();
        scratch.counter.begin(self.columns, tokens.size_hint().0);
        for token in tokens {
            scratch.counter.add(self.columns, &[murmur3(token, 0).cast_unsigned()]);
        }
        self.finish(&mut scratch.counter, rows)
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "compiled for the vectors of its caller")]
    fn finish<T: Value>(&self, counter: &mut Counter, rows: &mut Csr<T>) -> Result<()> {
        let (columns, sums) = counter.finish();
        rows.indices.extend_from_slice(columns);
        match sums {
            Sums::Small(sums) => self.extend(sums, &mut rows.data),
            Sums::Large(sums) => self.extend(sums, &mut rows.data),
        }
        rows.indptr.push(offset(rows.data.len())?);
        Ok(())
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "compiled for the vectors of its caller")]
    fn extend<T: Value>(&self, sums: &[impl Copy + Into<i64>], data: &mut Vec<T>) {
        match self.divisor::<T>(sums) {
            Some(divisor) => data.extend(sums.iter().map(|sum| self.value::<T>((*sum).into()).divided_by(divisor))),
            None => data.extend(sums.iter().map(|sum| self.value::<T>((*sum).into()))),
        }
    }

    #[inline]
    fn value<T: Value>(&self, sum: i64) -> T {
        T::of(if self.binary { 1 } else { sum })
    }

    /// What a row is divided by. A row of zeros stays as it is.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "compiled for the vectors of its caller")]
    fn divisor<T: Value>(&self, sums: &[impl Copy + Into<i64>]) -> Option<f64> {
        let norm = match self.norm? {
            Norm::L1 => exact_sum(sums, |sum| self.value::<T>(sum).into().abs()),
            Norm::L2 => exact_sum(sums, |sum| self.value::<T>(sum).squared().into()).sqrt(),
        };
        (norm != 0.0).then_some(norm)
    }
}

/// The sum of whole numbers. Up to 2^53 it does not depend on the order, so four are added at a time; beyond, one after
/// the other, as scikit-learn does.
#[inline(always)]
#[allow(clippy::inline_always, reason = "compiled for the vectors of its caller")]
fn exact_sum<S: Copy + Into<i64>>(sums: &[S], value: impl Fn(i64) -> f64) -> f64 {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let (fours, rest) = sums.as_chunks::<4>();
    let mut parts = [0.0; 4];
    for four in fours {
        for (part, sum) in parts.iter_mut().zip(four) {
            *part += value((*sum).into());
        }
    }
    let whole = parts.iter().sum::<f64>() + rest.iter().map(|sum| value((*sum).into())).sum::<f64>();
    if whole < EXACT { whole } else { sums.iter().map(|sum| value((*sum).into())).sum() }
}
