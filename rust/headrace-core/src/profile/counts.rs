//! Counts on frozen bins: integers all the way, so that they add up in any order and can be taken away again.

use super::moments::Sums;

/// Counts of a window, or of one segment of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Counts {
    pub(super) rows: u64,
    /// The sum of the rows' weights in units of 2^-20; without weights the number of rows.
    pub(super) weight: u64,
    /// The sum of their squares.
    pub(super) squares: u128,
    pub(super) columns: Vec<ColumnCounts>,
    pub(super) pairs: Vec<Vec<u64>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ColumnCounts {
    pub(super) null: u64,
    pub(super) lanes: Vec<LaneCounts>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LaneCounts {
    Ordered { cells: Vec<u64>, sums: Sums },
    Nominal { cells: Vec<u64> },
    Features { weight: u64, sums: Vec<i128> },
}

/// Which way counts are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Plus,
    Minus,
}

impl Direction {
    fn unsigned(self, a: u64, b: u64) -> Option<u64> {
        if self == Self::Plus { a.checked_add(b) } else { a.checked_sub(b) }
    }

    fn wide(self, a: u128, b: u128) -> Option<u128> {
        if self == Self::Plus { a.checked_add(b) } else { a.checked_sub(b) }
    }

    fn signed(self, a: i128, b: i128) -> Option<i128> {
        if self == Self::Plus { a.checked_add(b) } else { a.checked_sub(b) }
    }

    fn sums(self, a: Sums, b: Sums) -> Option<Sums> {
        Some(Sums { sum: self.signed(a.sum, b.sum)?, low: self.wide(a.low, b.low)?, high: self.wide(a.high, b.high)? })
    }

    fn all(self, a: &[u64], b: &[u64]) -> Option<Vec<u64>> {
        (a.len() == b.len()).then_some(())?;
        a.iter().zip(b).map(|(a, b)| self.unsigned(*a, *b)).collect()
    }
}

/// What could not be put together: more would be taken away than is there, or a count has no room left.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    Rows,
    Column(usize),
    Pair(usize),
}

impl Counts {
    /// Counts of the same plan, put together.
    pub(super) fn with(&self, other: &Self, direction: Direction) -> Result<Self, Misfit> {
        let columns = self.columns.iter().zip(&other.columns).enumerate();
        let columns = columns.map(|(index, (a, b))| a.with(b, direction).ok_or(Misfit::Column(index)));
        let columns = columns.collect::<Result<_, _>>()?;
        let pairs = self.pairs.iter().zip(&other.pairs).enumerate();
        let pairs = pairs.map(|(index, (a, b))| direction.all(a, b).ok_or(Misfit::Pair(index)));
        let pairs = pairs.collect::<Result<_, _>>()?;
        let totals = || {
            Some((
                direction.unsigned(self.rows, other.rows)?,
                direction.unsigned(self.weight, other.weight)?,
                direction.wide(self.squares, other.squares)?,
            ))
        };
        let (rows, weight, squares) = totals().ok_or(Misfit::Rows)?;
        Ok(Self { rows, weight, squares, columns, pairs })
    }
}

impl ColumnCounts {
    fn with(&self, other: &Self, direction: Direction) -> Option<Self> {
        let lanes = self.lanes.iter().zip(&other.lanes).map(|(a, b)| a.with(b, direction)).collect::<Option<_>>()?;
        Some(Self { null: direction.unsigned(self.null, other.null)?, lanes })
    }
}

impl LaneCounts {
    fn with(&self, other: &Self, direction: Direction) -> Option<Self> {
        Some(match (self, other) {
            (Self::Ordered { cells: a, sums: s }, Self::Ordered { cells: b, sums: t }) => {
                Self::Ordered { cells: direction.all(a, b)?, sums: direction.sums(*s, *t)? }
            }
            (Self::Nominal { cells: a }, Self::Nominal { cells: b }) => Self::Nominal { cells: direction.all(a, b)? },
            (Self::Features { weight: v, sums: a }, Self::Features { weight: w, sums: b }) => {
                (a.len() == b.len()).then_some(())?;
                let sums = a.iter().zip(b).map(|(a, b)| direction.signed(*a, *b)).collect::<Option<_>>()?;
                Self::Features { weight: direction.unsigned(*v, *w)?, sums }
            }
            _ => return None,
        })
    }
}
