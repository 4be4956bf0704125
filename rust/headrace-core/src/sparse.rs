//! Rows with few values other than zero: compressed sparse rows, as scipy's `csr_matrix` holds them.

use crate::error::{Error, Result};

/// After so many rows it is foreseen how long the others are.
const SAMPLE: usize = 64;
/// Room for so many times what there is.
const BOLDEST: usize = 256;

/// Compressed sparse rows. Row `r` is `indices[indptr[r]..indptr[r + 1]]` with the values of `data` beside them. Indices
/// ascend strictly within a row; a value may be zero (values that cancelled each other stay).
#[derive(Debug, Clone, PartialEq)]
pub struct Csr<T> {
    /// Where each row begins, and where the last one ends.
    pub indptr: Vec<i32>,
    /// Column of each value.
    pub indices: Vec<i32>,
    /// The values.
    pub data: Vec<T>,
    /// Number of columns.
    pub columns: usize,
}

impl<T> Csr<T> {
    /// No rows.
    #[must_use]
    pub fn new(columns: usize) -> Self {
        Self { indptr: vec![0], indices: Vec::new(), data: Vec::new(), columns }
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.indptr.len() - 1
    }

    /// Makes room for so many more values and rows where the machine has it; else they are made room for as they come.
    pub fn reserve(&mut self, values: usize, rows: usize) {
        if i32::try_from(values).is_ok() {
            let _ = self.indices.try_reserve_exact(values);
            let _ = self.data.try_reserve_exact(values);
        }
        let _ = self.indptr.try_reserve(rows);
    }

    /// Makes room, now and then, for `more` rows as long as those that there are; `before` of them were there when this
    /// was last asked: a vector that grows by itself touches, copies
    /// and gives back about twice the memory, which takes as long as it takes to fill it. What nothing is written to
    /// costs nothing; [`Csr::shrink`] gives it back.
    pub fn foresee(&mut self, before: usize, more: usize) {
        let (rows, values) = (self.rows(), self.data.len());
        if rows < SAMPLE || rows.ilog2() == before.max(1).ilog2() {
            return;
        }
        // A quarter for luck; a first row that is longer than all others together must not ask for the moon.
        let expected = (values / rows + 1).saturating_mul(more);
        let room = expected.saturating_add(expected / 4).min(values.saturating_mul(BOLDEST));
        if self.data.capacity() - values < expected {
            self.reserve(room, more);
        }
    }

    /// Gives back what [`Csr::foresee`] asked for in vain, if it is much: memory that was never written to is none,
    /// and an allocator that gets back what it gave has it at hand when the next matrix asks for the same.
    pub fn shrink(&mut self) {
        if self.data.capacity() / 2 > self.data.len() {
            self.indices.shrink_to_fit();
            self.data.shrink_to_fit();
            self.indptr.shrink_to_fit();
        }
    }

    /// Appends the rows of another matrix.
    pub fn append(&mut self, other: Self) -> Result<()> {
        let base = offset(self.data.len())?;
        // Where the last row's end fits, all do.
        offset(self.data.len() + other.data.len()).map_err(|error| {
            let beyond = |end: &i32| usize::try_from(*end).is_ok_and(|end| offset(self.data.len() + end).is_err());
            let row = other.indptr.iter().skip(1).position(beyond).unwrap_or(0);
            error.in_row(self.rows() + row)
        })?;
        self.indptr.extend(other.indptr.iter().skip(1).map(|end| end.saturating_add(base)));
        self.indices.extend_from_slice(&other.indices);
        self.data.extend(other.data);
        Ok(())
    }

    /// Parts, one after the other.
    pub fn concat(parts: Vec<Self>, columns: usize) -> Result<Self> {
        let total: usize = parts.iter().map(|part| part.data.len()).sum();
        offset(total)?;
        let mut parts = parts.into_iter();
        let Some(mut whole) = parts.next() else { return Ok(Self::new(columns)) };
        whole.reserve(total - whole.data.len(), parts.as_slice().iter().map(Self::rows).sum());
        parts.try_for_each(|part| whole.append(part))?;
        Ok(whole)
    }
}

impl<T: Copy + std::ops::AddAssign> Csr<T> {
    /// Appends a row of entries in any order; entries of one column are added up in the order in which they come.
    /// `entries` is scratch space: sorted, then empty.
    pub fn push_row(&mut self, entries: &mut Vec<(i32, T)>) -> Result<()> {
        // Stable, so that sums do not depend on how the sort works.
        entries.sort_by_key(|(index, _)| *index);
        let start = self.indices.len();
        for (index, value) in entries.drain(..) {
            if self.indices.len() > start && self.indices.last() == Some(&index) {
                if let Some(last) = self.data.last_mut() {
                    *last += value;
                }
            } else {
                self.indices.push(index);
                self.data.push(value);
            }
        }
        let end = offset(self.data.len()).map_err(|error| error.in_row(self.rows()))?;
        self.indptr.push(end);
        Ok(())
    }
}

/// A number of values as an index; scipy and `LightGBM` read both index arrays as 32-bit numbers.
pub fn offset(values: usize) -> Result<i32> {
    i32::try_from(values).map_err(|_| Error::TooManyValues { values, column: None, row: None })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::cast_sign_loss, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_row_is_the_sum_of_its_entries(rows: Vec<Vec<(u8, i8)>>) {
            let mut sparse = Csr::new(256);
            for row in &rows {
                let mut entries: Vec<_> = row.iter().map(|(i, v)| (i32::from(*i), f64::from(*v))).collect();
                sparse.push_row(&mut entries).unwrap();
            }
            prop_assert_eq!(sparse.rows(), rows.len());
            for (number, row) in rows.iter().enumerate() {
                let range = sparse.indptr[number] as usize..sparse.indptr[number + 1] as usize;
                let mut expected = std::collections::BTreeMap::new();
                for (index, value) in row {
                    *expected.entry(i32::from(*index)).or_insert(0.0) += f64::from(*value);
                }
                let found: Vec<_> =
                    sparse.indices[range.clone()].iter().copied().zip(sparse.data[range].iter().copied()).collect();
                prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
            }
        }

        #[test]
        fn parts_are_one_after_the_other(rows: Vec<Vec<(u8, i8)>>, cut in 0_usize..20) {
            let make = |rows: &[Vec<(u8, i8)>]| {
                let mut made = Csr::new(256);
                for row in rows {
                    made.push_row(&mut row.iter().map(|(i, v)| (i32::from(*i), f64::from(*v))).collect()).unwrap();
                }
                made
            };
            let cut = cut.min(rows.len());
            let parts = vec![make(&rows[..cut]), make(&rows[cut..])];
            prop_assert_eq!(Csr::concat(parts, 256).unwrap(), make(&rows));
        }
    }

    #[test]
    fn room_that_is_foreseen_changes_no_row() {
        let (mut foreseen, mut grown) = (Csr::new(256), Csr::new(256));
        for row in 0..1000_usize {
            let entries = vec![(7, 1.0); row % 3];
            foreseen.push_row(&mut entries.clone()).unwrap();
            grown.push_row(&mut entries.clone()).unwrap();
            foreseen.foresee(row, 999 - row);
            if row == SAMPLE {
                assert!(foreseen.data.capacity() >= 600 && foreseen.indices.capacity() >= 600);
            }
        }
        assert_eq!(foreseen, grown);
        foreseen.data.reserve_exact(9000);
        foreseen.shrink();
        assert_eq!(foreseen, grown);
        assert!(foreseen.data.capacity() < 2 * foreseen.data.len());
    }

    #[test]
    fn more_values_than_an_index_can_count() {
        assert!(matches!(offset(1 << 31), Err(Error::TooManyValues { .. })));
        assert_eq!(offset((1 << 31) - 1).unwrap(), i32::MAX);
    }
}
