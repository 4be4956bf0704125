//! Counting a batch's columns on frozen bins.

#![allow(clippy::inline_always, reason = "only what is inlined is compiled for the processor at hand")]

use arrow_array::cast::AsArray as _;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use fearless_simd::dispatch;

use super::Family;
use super::binning::{OrderedBins, Scratch};
use super::calendar;
use super::counts::{ColumnCounts, LaneCounts};
use super::dictionary;
use super::features;
use super::moments::{Ruler, Sums, TILE};
use super::nominal::NominalBins;
use super::plan::{ColumnPlan, Lane, LaneBins, Part};
use super::read::{Texts, numbers};
use super::short;
use super::text;

/// What is wrong with the column.
pub(super) type Damage = String;

/// What one thread needs while it counts.
#[derive(Default)]
pub(super) struct Workspace {
    scratch: Scratch,
}

/// The weights of a batch's rows, if they have any.
pub(super) type Weights<'a> = Option<&'a [u64]>;

fn weight_of(weights: Weights<'_>, row: usize) -> u64 {
    weights.map_or(1, |weights| weights.get(row).copied().unwrap_or(0))
}

/// Counts a column. `array` is of a type that the plan's family can be read from. After damage some of it is counted.
pub(super) fn count_column(
    plan: &ColumnPlan,
    array: &ArrayRef,
    weights: Weights<'_>,
    counts: &mut ColumnCounts,
    workspace: &mut Workspace,
) -> Result<(), Damage> {
    counts.null += null_weight(array, weights);
    if *array.data_type() == DataType::Null {
        return Ok(());
    }
    match plan.family {
        Family::Null => {
            let all: u64 = weights.map_or(array.len() as u64, |weights| weights.iter().sum());
            if let Some(LaneCounts::Nominal { cells }) = counts.lanes.first_mut()
                && let Some(unseen) = cells.last_mut()
            {
                *unseen += all - null_weight(array, weights);
            }
            Ok(())
        }
        Family::Number | Family::Date | Family::Datetime | Family::Time | Family::Duration => {
            let mut visit = |start: usize, tile: &[f64]| {
                for (lane, counts) in plan.lanes.iter().zip(&mut counts.lanes) {
                    count_tile(lane, plan.family, tile, weights.map(|weights| &weights[start..]), counts, workspace);
                }
            };
            if !numbers(array, &mut visit) {
                return Err(format!("{} is read as no number", array.data_type()));
            }
            for (lane, counts) in plan.lanes.iter().zip(&mut counts.lanes) {
                settle(lane, array, weights, counts, workspace);
            }
            Ok(())
        }
        Family::Boolean => {
            count_booleans(array, weights, counts);
            Ok(())
        }
        Family::Category => count_categories(plan, array, weights, counts),
        Family::Text => text::count(plan, array, weights, counts, workspace),
        Family::Embedding => features::count(plan, array, weights, counts, workspace),
    }
}

/// The weight of the rows without a value.
pub(super) fn null_weight(array: &ArrayRef, weights: Weights<'_>) -> u64 {
    let nulls = array.logical_nulls().filter(|nulls| nulls.null_count() > 0);
    match (nulls, weights) {
        (None, _) => 0,
        (Some(nulls), None) => nulls.null_count() as u64,
        (Some(nulls), Some(weights)) => {
            nulls.iter().zip(weights).filter(|(valid, _)| !valid).map(|(_, weight)| *weight).sum()
        }
    }
}

fn count_tile(
    lane: &Lane,
    family: Family,
    tile: &[f64],
    weights: Weights<'_>,
    counts: &mut LaneCounts,
    workspace: &mut Workspace,
) {
    match (&lane.bins, counts, weights) {
        (LaneBins::Ordered(bins, ruler), LaneCounts::Ordered { cells, sums }, None) => {
            let scratch = &mut workspace.scratch;
            dispatch!(scratch.level, _simd => count_numbers(bins, *ruler, tile, cells, sums, scratch));
        }
        (LaneBins::Ordered(bins, ruler), LaneCounts::Ordered { cells, sums }, Some(weights)) => {
            for (value, weight) in tile.iter().zip(weights) {
                cells[bins.cell(*value)] += weight;
                if value.is_finite() {
                    sums.add_weighted(*ruler, *value, *weight);
                }
            }
        }
        (LaneBins::Nominal(_), LaneCounts::Nominal { cells }, weights) => {
            let cell = |value: f64| match (lane.part, family) {
                (Part::Hour, _) => calendar::hour(value),
                (_, Family::Date) => calendar::weekday(value),
                _ => calendar::weekday(calendar::days(value)),
            };
            for (row, value) in tile.iter().enumerate().filter(|(_, value)| value.is_finite()) {
                cells[cell(*value)] += weight_of(weights, row);
            }
        }
        _ => {}
    }
}

/// The kernel: a pass for the sums, one for the keys, one for the bins. Tiles with far values, nulls or infinities seldom
/// come alone; after one, the pass that sorts them out is tried first.
#[inline(always)]
fn count_numbers(
    bins: &OrderedBins,
    ruler: Ruler,
    tile: &[f64],
    cells: &mut [u64],
    sums: &mut Sums,
    scratch: &mut Scratch,
) {
    let near = if scratch.mixed { None } else { sums.add_near(ruler, tile) };
    let tally = match near {
        Some(tally) => tally,
        None => sums.add_mixed(ruler, tile),
    };
    scratch.mixed = tally.mixed;
    bins.count(tile, &tally, cells, scratch);
}

/// What a column's tiles left open: counters in the scratch, and nulls that were counted as NaN.
fn settle(lane: &Lane, array: &ArrayRef, weights: Weights<'_>, counts: &mut LaneCounts, workspace: &mut Workspace) {
    if let (LaneBins::Ordered(bins, _), LaneCounts::Ordered { cells, .. }) = (&lane.bins, counts) {
        bins.settle(cells, &mut workspace.scratch);
        cells[bins.nan_cell()] -= null_weight(array, weights);
    }
}

fn count_booleans(array: &ArrayRef, weights: Weights<'_>, counts: &mut ColumnCounts) {
    let Some(LaneCounts::Nominal { cells }) = counts.lanes.first_mut() else { return };
    let array = array.as_boolean();
    if let Some(weights) = weights {
        for (value, weight) in array.iter().zip(weights) {
            if let Some(value) = value {
                cells[usize::from(value)] += weight;
            }
        }
    } else {
        let set = match array.nulls() {
            None => array.values().count_set_bits(),
            Some(nulls) => (array.values() & nulls.inner()).count_set_bits(),
        };
        cells[1] += set as u64;
        cells[0] += (array.len() - array.null_count() - set) as u64;
    }
}

fn count_categories(
    plan: &ColumnPlan,
    array: &ArrayRef,
    weights: Weights<'_>,
    counts: &mut ColumnCounts,
) -> Result<(), Damage> {
    let (Some(Lane { bins: LaneBins::Nominal(bins), .. }), Some(LaneCounts::Nominal { cells })) =
        (plan.lanes.first(), counts.lanes.first_mut())
    else {
        return Ok(());
    };
    if let Some((keys, texts)) = dictionary::parts(array)
        && weights.is_none()
    {
        let words = Texts::of(texts);
        for (number, count) in dictionary::key_counts(keys, texts.len())?.into_iter().enumerate() {
            if count > 0 && texts.is_valid(number) {
                cells[bins.cell(words.get(number).ok_or(OFFSETS)?)] += count;
            }
        }
        return Ok(());
    }
    if weights.is_none() && dictionary::parts(array).is_none() {
        return short::each_count(array, |text, count| cells[bins.cell(text)] += count);
    }
    each_category(bins, array, &mut |row, cell| {
        if let Some(cell) = cell {
            cells[cell] += weight_of(weights, row);
        }
    })
}

pub(super) const OFFSETS: &str = "an offset points outside its text";

/// The cell of each row; none for a null.
fn each_category(
    bins: &NominalBins,
    array: &ArrayRef,
    visit: &mut dyn FnMut(usize, Option<usize>),
) -> Result<(), Damage> {
    if let Some((keys, texts)) = dictionary::parts(array) {
        let words = Texts::of(texts);
        let mut known: Vec<Option<Option<usize>>> = vec![None; texts.len()];
        for (row, number) in dictionary::key_rows(keys, texts.len())?.into_iter().enumerate() {
            let cell = match number {
                None => None,
                Some(number) => match known[number] {
                    Some(cell) => cell,
                    None if texts.is_null(number) => None,
                    None => {
                        let cell = Some(bins.cell(words.get(number).ok_or(OFFSETS)?));
                        known[number] = Some(cell);
                        cell
                    }
                },
            };
            visit(row, cell);
        }
        return Ok(());
    }
    let words = Texts::of(array);
    for row in 0..array.len() {
        let cell = |row| words.get(row).map(|text| bins.cell(text)).ok_or(OFFSETS);
        visit(row, if array.is_null(row) { None } else { Some(cell(row)?) });
    }
    Ok(())
}

/// The cell of each row in a column's first lane; none for a null.
pub(super) fn row_cells(lane: &Lane, family: Family, array: &ArrayRef) -> Result<Vec<Option<usize>>, Damage> {
    let mut cells = Vec::with_capacity(array.len());
    match (&lane.bins, family) {
        _ if *array.data_type() == DataType::Null => cells.resize(array.len(), None),
        (LaneBins::Nominal(_), Family::Boolean) => {
            cells.extend(array.as_boolean().iter().map(|value| value.map(usize::from)));
        }
        (LaneBins::Nominal(bins), _) => each_category(bins, array, &mut |_, cell| cells.push(cell))?,
        (LaneBins::Ordered(bins, _), _) => {
            numbers(array, &mut |_, tile| cells.extend(tile.iter().map(|value| Some(bins.cell(*value)))));
            if let Some(nulls) = array.nulls() {
                for (cell, valid) in cells.iter_mut().zip(nulls) {
                    *cell = cell.filter(|_| valid);
                }
            }
        }
        (LaneBins::Features(_), _) => {}
    }
    Ok(cells)
}

/// Counts any number of values on an ordered lane and settles them.
pub(super) fn count_values(
    lane: &Lane,
    values: &[f64],
    weights: Weights<'_>,
    counts: &mut LaneCounts,
    workspace: &mut Workspace,
) {
    for (index, tile) in values.chunks(TILE).enumerate() {
        count_tile(lane, Family::Number, tile, weights.map(|weights| &weights[index * TILE..]), counts, workspace);
    }
    if let (LaneBins::Ordered(bins, _), LaneCounts::Ordered { cells, .. }) = (&lane.bins, counts) {
        bins.settle(cells, &mut workspace.scratch);
    }
}
