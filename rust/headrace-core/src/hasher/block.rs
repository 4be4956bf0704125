//! A block of rows: the columns' keys side by side, and then row by row.

use std::ops::Range;

use fearless_simd::{Level, dispatch};

use super::Value;
use super::column::{Column, Filled};
use super::network;
use super::scheme::{ABSENT, Key, column_of, signed};
use crate::error::Result;
use crate::sparse::{Csr, offset};

/// More columns than this are sorted row by row: the steps of a network grow faster than their number.
const NETWORK_COLUMNS: usize = 48;

/// Memory that is used again from block to block.
#[derive(Debug, Default)]
pub(super) struct Worker {
    filled: Vec<Filled>,
    sorted: Vec<Vec<Key>>,
    steps: Vec<(usize, usize)>,
    dirty: Vec<bool>,
}

/// The rows of a block.
#[derive(Debug)]
pub(super) enum Block<T> {
    /// Their values are all 1 or -1, at most one of each column.
    Ones(Ones),
    /// Any.
    Rows(Csr<T>),
}

/// Sorted keys, row after row.
#[derive(Debug)]
pub(super) struct Ones {
    width: usize,
    keys: Vec<Key>,
    /// Rows two of whose features share a column, or of which one is absent.
    dirty: Vec<usize>,
}

impl Worker {
    fn fill(&mut self, columns: &[Column<'_>], rows: Range<usize>) -> Result<()> {
        self.filled.resize_with(columns.len(), Filled::default);
        columns.iter().zip(&mut self.filled).try_for_each(|(column, filled)| column.fill(rows.clone(), filled))
    }

    /// Sorted rows.
    pub(super) fn block<T: Value>(
        &mut self,
        columns: &[Column<'_>],
        rows: Range<usize>,
        width: usize,
    ) -> Result<Block<T>> {
        let count = rows.len();
        self.fill(columns, rows.clone())?;
        let plain = columns.iter().all(|column| column.is_flat() && !column.has_values);
        if plain && (1..=NETWORK_COLUMNS).contains(&columns.len()) {
            return Ok(Block::Ones(dispatch!(Level::new(), _ => self.ones(count))));
        }
        let mut made = Csr::new(width);
        made.reserve(columns.iter().map(|column| column.bound(rows.clone())).sum(), count);
        let mut entries = Vec::new();
        for row in 0..count {
            self.row(row, |key, value| entries.push((column_of(key), T::of(value))));
            made.push_row(&mut entries)?;
        }
        Ok(Block::Rows(made))
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "compiled for several processors")]
    fn ones(&mut self, count: usize) -> Ones {
        let width = self.filled.len();
        if self.sorted.len() != width {
            self.sorted = vec![Vec::new(); width];
            self.steps = network::steps(width);
        }
        // Equal columns with different signs may change places: the sum of ones is exact in any order.
        for (sorted, filled) in self.sorted.iter_mut().zip(&mut self.filled) {
            std::mem::swap(sorted, &mut filled.keys);
        }
        network::sort(&mut self.sorted, &self.steps);
        // Absent ones are sorted last.
        self.dirty.clear();
        self.dirty.extend(self.sorted[width - 1].iter().map(|last| *last == ABSENT));
        for pair in self.sorted.windows(2) {
            for (dirty, (left, right)) in self.dirty.iter_mut().zip(pair[0].iter().zip(&pair[1])) {
                *dirty |= (left ^ right) >> 1 == 0;
            }
        }
        let dirty = self.dirty.iter().enumerate().filter(|(_, dirty)| **dirty).map(|(row, _)| row).collect();
        let mut keys = vec![0; width * count];
        // A width that the compiler knows takes half of the time.
        match width {
            2 => turn::<2>(&self.sorted, &mut keys),
            3 => turn::<3>(&self.sorted, &mut keys),
            4 => turn::<4>(&self.sorted, &mut keys),
            5 => turn::<5>(&self.sorted, &mut keys),
            6 => turn::<6>(&self.sorted, &mut keys),
            7 => turn::<7>(&self.sorted, &mut keys),
            8 => turn::<8>(&self.sorted, &mut keys),
            _ => {
                for (column, sorted) in self.sorted.iter().enumerate() {
                    for (slot, key) in keys[column..].iter_mut().step_by(width).zip(sorted) {
                        *slot = *key;
                    }
                }
            }
        }
        Ones { width, keys, dirty }
    }

    /// Appends rows to `made` as they come, neither sorted nor added up.
    pub(super) fn entries(&mut self, columns: &[Column<'_>], rows: Range<usize>, made: &mut Csr<f64>) -> Result<()> {
        let count = rows.len();
        self.fill(columns, rows)?;
        for row in 0..count {
            let (indices, data) = (&mut made.indices, &mut made.data);
            self.row(row, |key, value| {
                indices.push(column_of(key));
                data.push(value);
            });
            made.indptr.push(offset(made.data.len())?);
        }
        Ok(())
    }

    /// Adds rows to `out`, which has `width` values for each.
    pub(super) fn dense(
        &mut self,
        columns: &[Column<'_>],
        rows: Range<usize>,
        width: usize,
        out: &mut [f32],
    ) -> Result<()> {
        let count = rows.len();
        self.fill(columns, rows)?;
        for (row, out) in out.chunks_exact_mut(width).enumerate().take(count) {
            self.row(row, |key, value| out[(key >> 1) as usize] += f32::of(value));
        }
        Ok(())
    }

    /// Calls `each` with column, row of the block and key.
    pub(super) fn keys(
        &mut self,
        columns: &[Column<'_>],
        rows: Range<usize>,
        mut each: impl FnMut(usize, usize, Key),
    ) -> Result<()> {
        self.fill(columns, rows)?;
        for (column, filled) in self.filled.iter().enumerate() {
            filled.keys.iter().enumerate().for_each(|(row, key)| each(column, row, *key));
        }
        Ok(())
    }

    /// Calls `each` with every feature of a row and its value, in the order of the columns.
    #[inline]
    fn row(&self, row: usize, mut each: impl FnMut(Key, f64)) {
        for filled in &self.filled {
            let items = filled.spans.as_ref().map_or(row..row + 1, |spans| spans[row].clone());
            for item in items {
                let key = filled.keys[item];
                if key != ABSENT {
                    each(key, signed(filled.values.get(item).copied().unwrap_or(1.0), key));
                }
            }
        }
    }
}

impl<T: Value> Block<T> {
    /// Appends the rows.
    pub(super) fn append(self, made: &mut Csr<T>) -> Result<()> {
        match self {
            Self::Ones(ones) => dispatch!(Level::new(), _ => ones.append(made)),
            Self::Rows(rows) => made.append(rows),
        }
    }
}

impl Ones {
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "compiled for several processors")]
    fn append<T: Value>(&self, made: &mut Csr<T>) -> Result<()> {
        let (width, mut row) = (self.width, 0);
        let rows = self.keys.len() / width;
        for dirty in self.dirty.iter().copied().chain([rows]) {
            let keys = &self.keys[row * width..dirty * width];
            let begin = offset(made.data.len())?;
            offset(made.data.len() + keys.len())?;
            made.indices.extend(keys.iter().map(|key| column_of(*key)));
            made.data.extend(keys.iter().map(|key| T::one(*key)));
            // The last of these fits, so all do.
            let (step, clean) = (offset(width)?, offset(dirty - row)?);
            made.indptr.extend((0..clean).map(|row| begin + step + row * step));
            if dirty < rows {
                merge(&self.keys[dirty * width..(dirty + 1) * width], made)?;
            }
            row = dirty + 1;
        }
        Ok(())
    }
}

/// Writes `WIDTH` columns of keys row after row.
#[inline(always)]
#[allow(clippy::inline_always, reason = "part of what is compiled for several processors")]
fn turn<const WIDTH: usize>(columns: &[Vec<Key>], rows: &mut [Key]) {
    let (rows, _) = rows.as_chunks_mut::<WIDTH>();
    let columns: [&[Key]; WIDTH] = std::array::from_fn(|column| &columns[column][..rows.len()]);
    for (number, row) in rows.iter_mut().enumerate() {
        *row = columns.map(|keys| keys[number]);
    }
}

/// Appends a row of sorted keys.
fn merge<T: Value>(keys: &[Key], made: &mut Csr<T>) -> Result<()> {
    let begin = made.indices.len();
    for &key in keys.iter().take_while(|key| **key != ABSENT) {
        let (column, value) = (column_of(key), T::one(key));
        match made.data.last_mut() {
            Some(last) if made.indices.len() > begin && made.indices.last() == Some(&column) => *last += value,
            _ => {
                made.indices.push(column);
                made.data.push(value);
            }
        }
    }
    made.indptr.push(offset(made.data.len())?);
    Ok(())
}
