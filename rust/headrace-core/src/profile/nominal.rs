//! Bins of categories, and how the frequent ones of a reference are found.
//!
//! Up to 65,536 different texts are counted exactly. Beyond, counts are Misra and Gries's (1982), thinned after each
//! 65,536 rows: what is left of a text is less than its count by at most `n / 65,537`. Within such a block the order of
//! rows does not matter, and blocks are cut by the number of the row, so batches and threads do not either. They only
//! choose the bins: what is counted on the bins, in a second pass, is exact.

use super::Bin;
use super::distinct::Distinct;
use super::hashing::hash64;
use super::words::{Filter, Words, kept_form};

/// Rows between two thinnings.
const BLOCK: usize = 1 << 16;
/// Texts that a thinning leaves.
const KEPT: usize = 1 << 16;
/// The most categories with a bin of their own, and the most bytes that their names have together.
pub(super) const MAX_CATEGORIES: usize = 512;
pub(super) const MAX_NAMES: usize = 20 << 10;

/// What a reference has of texts.
pub(super) struct Found {
    pub(super) bins: NominalBins,
    pub(super) distinct: Distinct,
    /// Unless there were too many different ones.
    pub(super) exact: Option<Exact>,
}

/// How often every text was there.
pub(super) struct Exact {
    /// Texts that were there once.
    pub(super) singletons: u64,
    /// What counting the reference on the bins would give.
    pub(super) cells: Vec<u64>,
}

/// Counts texts, to find the frequent ones.
#[derive(Debug, Clone, Default)]
pub(super) struct Frequent {
    words: Words,
    counts: Vec<u64>,
    distinct: Distinct,
    in_block: usize,
    thinned: bool,
}

impl Frequent {
    /// How many rows may be added before [`Self::advance`] is due.
    pub(super) fn room(&self) -> usize {
        BLOCK - self.in_block
    }

    #[inline]
    pub(super) fn add(&mut self, text: &[u8], count: u64) {
        let text = kept_form(text);
        let hash = hash64(&text);
        self.distinct.add(hash);
        let number = self.words.insert(&text, hash);
        match self.counts.get_mut(number) {
            Some(slot) => *slot += count,
            None => self.counts.push(count),
        }
    }

    /// After so many rows, null or not.
    pub(super) fn advance(&mut self, rows: usize) {
        self.in_block += rows;
        if self.in_block >= BLOCK {
            self.in_block = 0;
            self.thin();
        }
    }

    fn thin(&mut self) {
        if self.words.len() <= KEPT {
            return;
        }
        self.thinned = true;
        let mut counts = self.counts.clone();
        let (_, &mut least, _) = counts.select_nth_unstable_by(KEPT, |a, b| b.cmp(a));
        let mut words = Words::default();
        let mut kept = Vec::with_capacity(KEPT);
        for (number, &count) in self.counts.iter().enumerate().filter(|(_, count)| **count > least) {
            let text = self.words.get(number);
            words.insert(text, hash64(text));
            kept.push(count - least);
        }
        (self.words, self.counts) = (words, kept);
    }

    /// The bins, the most frequent category first; `most` categories at most.
    pub(super) fn finish(self, most: usize) -> Found {
        let mut order: Vec<usize> = (0..self.words.len()).collect();
        order.sort_unstable_by_key(|&number| (std::cmp::Reverse(self.counts[number]), self.words.get(number)));
        let mut names = 0;
        let mut categories = Words::default();
        let mut rest = Vec::new();
        let mut cells = Vec::new();
        let mut other = 0;
        for &number in &order {
            let text = self.words.get(number);
            if rest.is_empty() && categories.len() < most && names + text.len() <= MAX_NAMES {
                names += text.len();
                categories.insert(text, hash64(text));
                cells.push(self.counts[number]);
            } else {
                rest.push(hash64(text));
                other += self.counts[number];
            }
        }
        cells.extend([other, 0]);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an estimate, not negative")]
        let others = if self.thinned { self.distinct.estimate() as u64 } else { rest.len() as u64 };
        let mut filter = Filter::for_texts(others);
        for hash in rest {
            filter.insert(hash);
        }
        let once = self.counts.iter().filter(|count| **count == 1).count() as u64;
        Found {
            bins: NominalBins { categories, filter },
            distinct: self.distinct,
            exact: (!self.thinned).then_some(Exact { singletons: once, cells }),
        }
    }
}

/// The bins of one nominal column. Cells are numbered as the bins: categories, other, unseen.
#[derive(Debug, Clone)]
pub(super) struct NominalBins {
    categories: Words,
    filter: Filter,
}

impl PartialEq for NominalBins {
    fn eq(&self, other: &Self) -> bool {
        self.filter == other.filter && self.categories.iter().eq(other.categories.iter())
    }
}

impl NominalBins {
    /// Names differ from each other; whoever reads them from bytes has checked that.
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a [u8]>, filter: Filter) -> Self {
        let mut categories = Words::default();
        for name in names {
            categories.insert(name, hash64(name));
        }
        Self { categories, filter }
    }

    pub(super) fn categories(&self) -> &Words {
        &self.categories
    }

    pub(super) fn filter(&self) -> &Filter {
        &self.filter
    }

    /// The reference is read again: all its texts are to be known.
    pub(super) fn remember(&mut self, text: &[u8]) {
        self.filter.insert(hash64(&kept_form(text)));
    }

    pub(super) fn cells(&self) -> usize {
        self.categories.len() + 2
    }

    pub(super) fn unseen_cell(&self) -> usize {
        self.categories.len() + 1
    }

    #[inline]
    pub(super) fn cell(&self, text: &[u8]) -> usize {
        let text = kept_form(text);
        let hash = hash64(&text);
        match self.categories.find(&text, hash) {
            Some(number) => number,
            None if self.filter.contains(hash) => self.categories.len(),
            None => self.unseen_cell(),
        }
    }

    pub(super) fn bins(&self) -> Vec<Bin> {
        let names = self.categories.iter().map(|name| Bin::Category(String::from_utf8_lossy(name).into_owned()));
        names.chain([Bin::Other, Bin::Unseen]).collect()
    }
}
