//! Windows: counts of rows on the frozen bins of a reference.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::Schema;

use super::batch::{Frozen, Layout, Threads, count_batch};
use super::counts::{Counts, Direction, Misfit};
use super::plan::{ColumnPlan, Plan};
use super::problem::Problem;
use crate::error::Result;

/// Counts of live rows on the bins of a reference. Windows of one reference add up, and what was added can be subtracted
/// again, bit for bit, because all that they hold are integers.
#[derive(Debug, Clone)]
pub struct Window {
    pub(super) plan: Arc<Plan>,
    pub(super) whole: Counts,
    /// Of each segment, all others last; empty without segments.
    pub(super) parts: Vec<Counts>,
}

impl PartialEq for Window {
    fn eq(&self, other: &Self) -> bool {
        self.same_reference(other) && self.whole == other.whole && self.parts == other.parts
    }
}

impl Window {
    pub(super) fn empty(plan: Arc<Plan>) -> Self {
        let whole = plan.no_counts();
        let parts = vec![whole.clone(); plan.parts()];
        Self { plan, whole, parts }
    }

    /// A window of the same reference, without rows.
    #[must_use]
    pub fn emptied(&self) -> Self {
        Self::empty(Arc::clone(&self.plan))
    }

    /// Adds the other's counts, or none of them; fails as [`Window::plus`].
    pub fn absorb(&mut self, other: &Self) -> Result<()> {
        *self = self.plus(other)?;
        Ok(())
    }

    /// How many rows were counted.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.whole.rows
    }

    /// Whether both were counted on the bins of the same reference.
    #[must_use]
    pub fn same_reference(&self, other: &Self) -> bool {
        self.plan.fingerprint == other.plan.fingerprint
    }

    /// Checks a frame's columns against the reference, for [`Window::update`] of its batches. Columns that the reference
    /// does not have are an error, or are ignored.
    pub fn reader(&self, schema: &Schema, ignore_new: bool) -> Result<Reader> {
        Ok(Reader { layout: Layout::new(self.plan.frozen(), schema, ignore_new)? })
    }

    /// Counts the rows of a batch with the reader's schema. After an error some of them are counted, and the window is of
    /// no more use: count on a clone what may fail.
    pub fn update(&mut self, batch: &RecordBatch, reader: &Reader, threads: &mut Threads) -> Result<()> {
        let frozen = self.plan.frozen();
        count_batch(frozen, &reader.layout, batch, &mut self.whole, &mut self.parts, threads)
    }

    /// Both together. Fails with [`Problem::OtherReference`], or [`Problem::NoRoom`] beyond 2^64 rows.
    pub fn plus(&self, other: &Self) -> Result<Self> {
        self.with(other, Direction::Plus)
    }

    /// This one without the other. Fails with [`Problem::OtherReference`], or with [`Problem::NeverAdded`] where a count
    /// would be negative.
    pub fn minus(&self, other: &Self) -> Result<Self> {
        self.with(other, Direction::Minus)
    }

    fn with(&self, other: &Self, direction: Direction) -> Result<Self> {
        if !self.same_reference(other) {
            return Err(Problem::OtherReference.into());
        }
        let join = |a: &Counts, b: &Counts| a.with(b, direction).map_err(|misfit| self.problem(&misfit, direction));
        let whole = join(&self.whole, &other.whole)?;
        let parts = self.parts.iter().zip(&other.parts).map(|(a, b)| join(a, b)).collect::<Result<_, Problem>>()?;
        Ok(Self { plan: Arc::clone(&self.plan), whole, parts })
    }

    fn problem(&self, misfit: &Misfit, direction: Direction) -> Problem {
        let name = |index: usize| self.plan.columns.get(index).map(|column| column.name.clone());
        let column = match misfit {
            Misfit::Rows => None,
            Misfit::Column(index) => name(*index),
            Misfit::Pair(index) => self.plan.pairs.get(*index).and_then(|pair| name(pair.first.column)),
        };
        match direction {
            Direction::Plus => Problem::NoRoom { column },
            Direction::Minus => Problem::NeverAdded { column },
        }
    }
}

/// A frame's schema, checked against a reference.
pub struct Reader {
    layout: Layout,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reader")
    }
}

impl Plan {
    pub(super) fn frozen(&self) -> Frozen<'_> {
        Frozen {
            columns: &self.columns,
            weight: self.weight.as_deref(),
            segments: self.segments.as_ref(),
            pairs: &self.pairs,
            known: &[],
        }
    }

    pub(super) fn no_counts(&self) -> Counts {
        Counts {
            columns: self.columns.iter().map(ColumnPlan::no_counts).collect(),
            pairs: self.pairs.iter().map(|pair| vec![0; pair.cells()]).collect(),
            ..Counts::default()
        }
    }

    /// How many segments there are, all others being one.
    pub(super) fn parts(&self) -> usize {
        self.segments.as_ref().map_or(0, |segments| segments.values.categories().len() + 1)
    }
}
