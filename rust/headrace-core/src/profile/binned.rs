//! Counts as the statistics read them.

use super::counts::{Counts, LaneCounts};
use super::features::Features;
use super::pairs;
use super::plan::{ColumnPlan, Lane, LaneBins, Plan};
use super::{BinnedColumn, EmbeddedColumn, Kind, Moments, Special, WEIGHT_UNIT, Weighted};

/// The columns of two counts on the same plan.
pub(super) fn columns(plan: &Plan, reference: &Counts, live: &Counts, reference_is_fitted: bool) -> Vec<BinnedColumn> {
    let weighted = weighted(plan, reference, live);
    let mut binned = Vec::new();
    for (index, column) in plan.columns.iter().enumerate() {
        let (Some(a), Some(b)) = (reference.columns.get(index), live.columns.get(index)) else { continue };
        for (number, lane) in column.lanes.iter().enumerate() {
            let (Some(x), Some(y)) = (a.lanes.get(number), b.lanes.get(number)) else { continue };
            let made = lane_column(column, lane, (x, y), weighted, reference_is_fitted);
            binned.extend(
                made.map(|made| BinnedColumn { special: Special { null: (a.null, b.null), ..made.special }, ..made }),
            );
        }
    }
    for (index, pair) in plan.pairs.iter().enumerate() {
        let (Some(a), Some(b)) = (reference.pairs.get(index), live.pairs.get(index)) else { continue };
        let (bins, numbers) = pairs::bins(&plan.columns, pair);
        let gather = |cells: &[u64]| {
            let mut counts = vec![0; bins.len()];
            for (cell, number) in cells.iter().zip(&numbers) {
                counts[*number] += cell;
            }
            counts
        };
        let name = |number: usize| plan.columns.get(number).map_or("", |column| column.name.as_str());
        binned.push(BinnedColumn {
            name: format!("{} × {}", name(pair.first.column), name(pair.second.column)),
            kind: Kind::Nominal,
            reference: gather(a),
            live: gather(b),
            bins,
            special: Special::default(),
            moments: (Moments::default(), Moments::default()),
            weighted,
            singletons: None,
            overlooked: 0.0,
        });
    }
    binned
}

fn lane_column(
    column: &ColumnPlan,
    lane: &Lane,
    counts: (&LaneCounts, &LaneCounts),
    weighted: Option<Weighted>,
    reference_is_fitted: bool,
) -> Option<BinnedColumn> {
    let name = lane.part.of(&column.name);
    match (&lane.bins, counts) {
        (
            LaneBins::Ordered(bins, ruler),
            (LaneCounts::Ordered { cells: a, sums: s }, LaneCounts::Ordered { cells: b, sums: t }),
        ) => {
            let inner = 1..=bins.bins().len();
            let both = |cell: usize| (a[cell], b[cell]);
            let unit = weighted.map_or(1.0, |weighted| weighted.unit);
            let range = bins.range().filter(|_| reference_is_fitted);
            let moments = (
                s.moments(*ruler, a[inner.clone()].iter().sum(), unit, range),
                t.moments(*ruler, b[inner.clone()].iter().sum(), unit, None),
            );
            Some(BinnedColumn {
                name,
                kind: Kind::Ordered,
                bins: bins.bins().to_vec(),
                reference: a[inner.clone()].to_vec(),
                live: b[inner].to_vec(),
                special: Special {
                    null: (0, 0),
                    nan: both(bins.nan_cell()),
                    pos_inf: both(bins.pos_inf_cell()),
                    neg_inf: both(0),
                },
                moments,
                weighted,
                singletons: None,
                overlooked: 0.0,
            })
        }
        (LaneBins::Nominal(bins), (LaneCounts::Nominal { cells: a }, LaneCounts::Nominal { cells: b })) => {
            Some(BinnedColumn {
                name,
                kind: Kind::Nominal,
                bins: bins.bins(),
                reference: a.clone(),
                live: b.clone(),
                special: Special::default(),
                moments: (Moments::default(), Moments::default()),
                weighted,
                singletons: column.singletons,
                overlooked: bins.filter().false_rate(),
            })
        }
        _ => None,
    }
}

/// The embeddings of two counts on the same plan.
#[allow(clippy::cast_precision_loss, reason = "the one rounding of exact counts")]
pub(super) fn embedded(plan: &Plan, reference: &Counts, live: &Counts) -> Vec<EmbeddedColumn> {
    let weighted = weighted(plan, reference, live);
    let unit = weighted.map_or(1.0, |weighted| weighted.unit);
    let mut embedded = Vec::new();
    for (column, (a, b)) in plan.columns.iter().zip(reference.columns.iter().zip(&live.columns)) {
        for pair in a.lanes.iter().zip(&b.lanes) {
            if let (LaneCounts::Features { weight: n, sums: s }, LaneCounts::Features { weight: m, sums: t }) = pair {
                embedded.push(EmbeddedColumn {
                    name: column.name.clone(),
                    n: (*n as f64 * unit, *m as f64 * unit),
                    means: (Features::means(*n, s), Features::means(*m, t)),
                    weighted,
                });
            }
        }
    }
    embedded
}

#[allow(clippy::cast_precision_loss, reason = "an effective number of rows")]
fn weighted(plan: &Plan, reference: &Counts, live: &Counts) -> Option<Weighted> {
    let effective = |counts: &Counts| {
        let total = counts.weight as f64;
        if counts.squares == 0 { 0.0 } else { total * total / counts.squares as f64 }
    };
    plan.weight.as_ref().map(|_| Weighted { unit: WEIGHT_UNIT, effective: (effective(reference), effective(live)) })
}
