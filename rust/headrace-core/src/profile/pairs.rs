//! Pairs of columns, on at most sixteen coarse bins of each.

use super::Family;
use super::binning::OrderedBins;
use super::nominal::NominalBins;
use super::plan::{ColumnPlan, LaneBins, Pair, Side};
use super::problem::Problem;
use super::{Bin, Part};

/// Coarse bins of a column, of equal mass in the reference where it is ordered.
const COARSE: usize = 16;

/// A column as one side of a pair; `sample` is what its bins were chosen from.
pub(super) fn side(number: usize, column: &ColumnPlan, sample: &[f64]) -> Result<Side, Problem> {
    let coarse = match column.lanes.first() {
        Some(lane) if lane.part != Part::Value => None,
        Some(lane) => match &lane.bins {
            LaneBins::Ordered(bins, _) => Some(of_ordered(bins, sample)),
            LaneBins::Nominal(bins) if column.family != Family::Null => Some(of_nominal(bins)),
            _ => None,
        },
        None => None,
    };
    let reason =
        || format!("pairs are of numbers, dates, times and categories, and the column is read as {}", column.family);
    let coarse = coarse.ok_or_else(|| Problem::Role { column: column.name.clone(), reason: reason() })?;
    Ok(Side { column: number, coarse })
}

/// Runs of cells; NaN is a coarse bin of its own.
fn of_ordered(bins: &OrderedBins, sample: &[f64]) -> Vec<u8> {
    let mut masses = vec![0_usize; bins.cells()];
    for value in sample {
        masses[bins.cell(*value)] += 1;
    }
    let mut before = 0;
    let mut coarse = Vec::with_capacity(masses.len());
    let mut last = 0;
    for mass in &masses[..bins.nan_cell()] {
        // The coarse bin in which the middle of the cell's mass lies.
        let middle = 2 * before + mass;
        let wanted = (middle * COARSE / (2 * sample.len()).max(1)).min(COARSE - 1);
        last = wanted.max(last).min(last + 1);
        coarse.push(u8::try_from(last).unwrap_or(0));
        before += mass;
    }
    coarse.push(u8::try_from(last + 1).unwrap_or(0));
    coarse
}

/// The most frequent ones, all others, and the unseen.
fn of_nominal(bins: &NominalBins) -> Vec<u8> {
    let own = bins.categories().len().min(COARSE - 2);
    let cells = 0..bins.cells();
    cells
        .map(|cell| if cell == bins.unseen_cell() { own + 1 } else { cell.min(own) })
        .map(|c| c.try_into().unwrap_or(0))
        .collect()
}

/// What the coarse bins of a side are called; none for those that the reference cannot have.
fn names(column: &ColumnPlan, side: &Side) -> Vec<Option<String>> {
    let mut names = vec![None; side.bins()];
    match column.lanes.first().map(|lane| &lane.bins) {
        Some(LaneBins::Ordered(bins, _)) => {
            for (coarse, name) in names.iter_mut().enumerate() {
                let cells = side.coarse.iter().enumerate().filter(|(_, own)| usize::from(**own) == coarse);
                let ends = cells.filter_map(|(cell, _)| cell.checked_sub(1)).filter_map(|bin| bins.bins().get(bin));
                let ends: Vec<_> = ends.collect();
                *name = Some(match (ends.first(), ends.last()) {
                    (Some(first), Some(last)) => span(first, last),
                    _ => "NaN".to_owned(),
                });
            }
            if let Some(nan) = side.coarse.last().and_then(|nan| names.get_mut(usize::from(*nan))) {
                *nan = Some("NaN".to_owned());
            }
        }
        Some(LaneBins::Nominal(bins)) => {
            let own = names.len() - 3;
            for (name, text) in names.iter_mut().zip(bins.categories().iter().take(own)) {
                *name = Some(String::from_utf8_lossy(text).into_owned());
            }
            names[own] = Some("other".to_owned());
        }
        _ => {}
    }
    if let Some(null) = names.last_mut() {
        *null = Some("null".to_owned());
    }
    names
}

fn span(first: &Bin, last: &Bin) -> String {
    let low = match first {
        Bin::Atom(value) | Bin::Interval { low: value, .. } => value.to_string(),
        _ => "-inf".to_owned(),
    };
    let high = match last {
        Bin::Atom(value) | Bin::Interval { high: value, .. } => value.to_string(),
        _ => "inf".to_owned(),
    };
    if low == high { low } else { format!("{low}..{high}") }
}

/// The bins of a pair, unseen ones last, and for each cell the number of its bin.
pub(super) fn bins(columns: &[ColumnPlan], pair: &Pair) -> (Vec<Bin>, Vec<usize>) {
    let side = |side: &Side| columns.get(side.column).map_or_else(Vec::new, |column| names(column, side));
    let (first, second) = (side(&pair.first), side(&pair.second));
    let mut bins = Vec::new();
    let mut numbers = Vec::new();
    for a in &first {
        for b in &second {
            numbers.push(a.as_ref().zip(b.as_ref()).map(|(a, b)| {
                bins.push(Bin::Category(format!("{a} × {b}")));
                bins.len() - 1
            }));
        }
    }
    let unseen = bins.len();
    bins.push(Bin::Unseen);
    (bins, numbers.into_iter().map(|number| number.unwrap_or(unseen)).collect())
}
