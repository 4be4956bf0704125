//! A batch on the way to its counts: which column is which, weights, segments, pairs, threads.

use std::collections::HashMap;

use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use arrow_schema::Schema;
use arrow_select::take::take;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::count::{Damage, Workspace, count_column, row_cells};
use super::counts::{ColumnCounts, Counts};
use super::plan::{ColumnPlan, Pair, Segments, Side};
use super::problem::Problem;
use super::read::{numbers, readable_as};
use super::{Family, MAX_WEIGHT, WEIGHT_UNIT};
use crate::error::{Error, Result};

/// Below this many values in a batch, waking threads costs more than it saves.
const PARALLEL_VALUES: usize = 1 << 16;

/// The threads of one caller. Counts do not depend on how many there are.
#[derive(Debug)]
pub struct Threads {
    count: usize,
    pool: Option<ThreadPool>,
}

impl Threads {
    /// At most so many; they are started when there is enough to do.
    #[must_use]
    pub fn new(count: std::num::NonZeroUsize) -> Self {
        Self { count: count.get(), pool: None }
    }

    /// Does `work` for each item. The first item's error is given, whichever thread was first.
    pub(super) fn each<T: Send>(
        &mut self,
        items: &mut [T],
        values: usize,
        work: impl Fn(usize, &mut T, &mut Workspace) -> Result<()> + Sync,
    ) -> Result<()> {
        if self.count < 2 || items.len() < 2 || values < PARALLEL_VALUES {
            let mut workspace = Workspace::default();
            return items.iter_mut().enumerate().try_for_each(|(index, item)| work(index, item, &mut workspace));
        }
        let pool = match &mut self.pool {
            Some(pool) => pool,
            vacant => vacant.insert(start(self.count.min(items.len()))?),
        };
        let outcomes: Vec<Result<()>> = pool.install(|| {
            let items = items.par_iter_mut().with_max_len(1).enumerate();
            items.map_init(Workspace::default, |workspace, (index, item)| work(index, item, workspace)).collect()
        });
        outcomes.into_iter().collect()
    }
}

fn start(threads: usize) -> Result<ThreadPool> {
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("headrace-profile-{index}"))
        .build()
        .map_err(|error| Error::Threads { threads, reason: error.to_string() })
}

/// The parts of a plan that counting needs.
#[derive(Clone, Copy)]
pub(super) struct Frozen<'a> {
    pub(super) columns: &'a [ColumnPlan],
    pub(super) weight: Option<&'a str>,
    pub(super) segments: Option<&'a Segments>,
    pub(super) pairs: &'a [Pair],
    /// Columns that are not to be counted, since their counts are known.
    pub(super) known: &'a [Option<ColumnCounts>],
}

/// Where in a frame the plan's columns are.
pub(super) struct Layout {
    columns: Vec<usize>,
    weight: Option<usize>,
    segment: Option<usize>,
}

impl Layout {
    pub(super) fn new(frozen: Frozen<'_>, schema: &Schema, ignore_new: bool) -> Result<Self, Problem> {
        let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, field) in schema.fields().iter().enumerate() {
            places.entry(field.name()).or_default().push(index);
        }
        let place = |name: &str| match places.get(name).map(Vec::as_slice) {
            Some([index]) => Ok(*index),
            Some(several) => Err(Problem::DuplicateColumn { column: name.to_owned(), count: several.len() }),
            None => Err(Problem::MissingColumn { column: name.to_owned() }),
        };
        let typed = |name: &str, family: Family| {
            let index = place(name)?;
            let found = schema.field(index).data_type();
            if readable_as(found, family) {
                Ok(index)
            } else {
                Err(Problem::ColumnType { column: name.to_owned(), found: found.clone(), expected: family })
            }
        };
        let columns =
            frozen.columns.iter().map(|column| typed(&column.name, column.family)).collect::<Result<_, _>>()?;
        let weight = frozen.weight.map(|name| typed(name, Family::Number)).transpose()?;
        let segment = frozen.segments.map(|segments| typed(&segments.column, segments.family)).transpose()?;
        let layout = Self { columns, weight, segment };
        if !ignore_new {
            let known = |index: &usize| {
                layout.columns.contains(index) || layout.weight == Some(*index) || layout.segment == Some(*index)
            };
            // A set, because a frame may have thousands of columns.
            let known: std::collections::HashSet<usize> = (0..schema.fields().len()).filter(known).collect();
            if let Some(index) = (0..schema.fields().len()).find(|index| !known.contains(index)) {
                return Err(Problem::NewColumn { column: schema.field(index).name().clone() });
            }
        }
        Ok(layout)
    }
}

/// Counts a batch: into `whole`, and into `parts` by segment. After an error some of it is counted.
pub(super) fn count_batch(
    frozen: Frozen<'_>,
    layout: &Layout,
    batch: &RecordBatch,
    whole: &mut Counts,
    parts: &mut [Counts],
    threads: &mut Threads,
) -> Result<()> {
    let arrays: Vec<ArrayRef> = layout.columns.iter().map(|index| batch.column(*index).clone()).collect();
    let first_row = whole.rows;
    let weights = match (layout.weight, frozen.weight) {
        (Some(index), Some(name)) => Some(weights(batch.column(index), name, first_row)?),
        _ => None,
    };
    count_rows(frozen, &arrays, batch.num_rows(), weights.as_deref(), whole, threads)?;
    let (Some(index), Some(segments)) = (layout.segment, frozen.segments) else { return Ok(()) };
    let rest = parts.len() - 1;
    let lane = super::plan::Lane::nominal(super::plan::Part::Value, segments.values.clone());
    let cells = row_cells(&lane, segments.family, batch.column(index))
        .map_err(|reason| Error::DamagedColumn { column: segments.column.clone(), reason })?;
    let mut rows: Vec<Vec<u32>> = vec![Vec::new(); parts.len()];
    for (row, cell) in cells.into_iter().enumerate() {
        rows[cell.map_or(rest, |cell| cell.min(rest))].push(u32::try_from(row).unwrap_or(u32::MAX));
    }
    for (rows, part) in rows.into_iter().zip(parts).filter(|(rows, _)| !rows.is_empty()) {
        let weights: Option<Vec<u64>> =
            weights.as_ref().map(|weights| rows.iter().map(|row| weights[*row as usize]).collect());
        let count = rows.len();
        let rows = UInt32Array::from(rows);
        let arrays = arrays.iter().map(|array| take(array, &rows, None).map_err(Error::Producer));
        count_rows(frozen, &arrays.collect::<Result<Vec<_>>>()?, count, weights.as_deref(), part, threads)?;
    }
    Ok(())
}

fn count_rows(
    frozen: Frozen<'_>,
    arrays: &[ArrayRef],
    rows: usize,
    weights: Option<&[u64]>,
    counts: &mut Counts,
    threads: &mut Threads,
) -> Result<()> {
    let no_room = || Error::from(Problem::NoRoom { column: None });
    let squares = |weights: &[u64]| weights.iter().map(|weight| u128::from(*weight) * u128::from(*weight)).sum();
    let total: u128 = weights.map_or(rows as u128, |weights| weights.iter().map(|weight| u128::from(*weight)).sum());
    let total = u64::try_from(total).map_err(|_| no_room())?;
    counts.rows = counts.rows.checked_add(rows as u64).ok_or_else(no_room)?;
    counts.weight = counts.weight.checked_add(total).ok_or_else(no_room)?;
    let squares: u128 = weights.map_or(rows as u128, squares);
    counts.squares = counts.squares.checked_add(squares).ok_or_else(no_room)?;
    let damaged = |index: usize, reason: Damage| {
        let column = frozen.columns.get(index).map_or_else(String::new, |column| column.name.clone());
        Error::DamagedColumn { column, reason }
    };
    let values = rows.saturating_mul(arrays.len());
    threads.each(&mut counts.columns, values, |index, counts, workspace| {
        let (Some(plan), Some(array)) = (frozen.columns.get(index), arrays.get(index)) else { return Ok(()) };
        if frozen.known.get(index).is_some_and(Option::is_some) {
            return Ok(());
        }
        count_column(plan, array, weights, counts, workspace).map_err(|reason| damaged(index, reason))
    })?;
    threads.each(&mut counts.pairs, values, |index, cells, _| {
        let Some(pair) = frozen.pairs.get(index) else { return Ok(()) };
        let coarse = |side: &Side| coarse_rows(frozen.columns, side, arrays).map_err(|why| damaged(side.column, why));
        let width = pair.second.bins();
        for (row, (a, b)) in coarse(&pair.first)?.into_iter().zip(coarse(&pair.second)?).enumerate() {
            if let Some(cell) = cells.get_mut(a * width + b) {
                *cell += weights.map_or(1, |weights| weights[row]);
            }
        }
        Ok(())
    })
}

fn coarse_rows(columns: &[ColumnPlan], side: &Side, arrays: &[ArrayRef]) -> Result<Vec<usize>, Damage> {
    let (Some(plan), Some(array)) = (columns.get(side.column), arrays.get(side.column)) else { return Ok(Vec::new()) };
    let Some(lane) = plan.lanes.first() else { return Ok(Vec::new()) };
    let null = side.bins() - 1;
    let cells = row_cells(lane, plan.family, array)?;
    let coarse = |cell: usize| side.coarse.get(cell).map_or(null, |coarse| usize::from(*coarse));
    Ok(cells.into_iter().map(|cell| cell.map_or(null, coarse)).collect())
}

/// Weights in units of 2^-20.
fn weights(array: &ArrayRef, column: &str, first_row: u64) -> Result<Vec<u64>, Problem> {
    let mut weights = Vec::with_capacity(array.len());
    let mut wrong = None;
    numbers(array, &mut |start, tile| {
        for (index, &value) in tile.iter().enumerate() {
            if !(0.0..=MAX_WEIGHT).contains(&value) && wrong.is_none() {
                wrong = Some((start + index, value));
            }
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 2^36")]
            weights.push((value / WEIGHT_UNIT).round() as u64);
        }
    });
    let (row, found) = match wrong {
        Some((row, _)) if array.is_null(row) => (row, "null".to_owned()),
        Some((row, value)) => (row, value.to_string()),
        None if weights.len() < array.len() => (0, "null".to_owned()),
        None => return Ok(weights),
    };
    Err(Problem::Weight { column: column.to_owned(), row: first_row + row as u64, found })
}
