//! Everything that is said about one column: its statistics, and the parts that its verdict is made of.
#![allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]

use super::missing::{of_rate, rate_measure, unseen};
use super::problem::Problem;
use super::rates::Rates;
use super::shape::{Shape, Totals};
use super::values::{of_nominal, of_ordered};
use crate::error::{Error, Result};
use crate::profile::{BinnedColumn, EmbeddedColumn, Kind};

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Changes of values up to this size do not matter: Kolmogorov-Smirnov distance of ordered columns, total variation
    /// of nominal ones. A share of rows, 0 to 1.
    pub delta: f64,
    /// Changes of a rate (null, NaN, unseen) up to this size do not matter.
    pub delta_rate: f64,
    /// Level of the tests and of each one-sided confidence bound.
    pub alpha: f64,
    /// With what probability a change of the stated detectable size is seen.
    pub power: f64,
    /// Draws for the statistics whose distribution has no formula.
    pub draws: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { delta: 0.1, delta_rate: 0.02, alpha: 0.05, power: 0.8, draws: 199 }
    }
}

impl Settings {
    /// Refuses what cannot be meant.
    pub fn check(&self) -> Result<()> {
        let inside = |value: f64| value > 0.0 && value < 1.0;
        for (name, value, good) in [
            ("delta", self.delta, (0.0..1.0).contains(&self.delta)),
            ("delta_rate", self.delta_rate, (0.0..1.0).contains(&self.delta_rate)),
            ("alpha", self.alpha, inside(self.alpha) && self.alpha <= 0.5),
            ("power", self.power, inside(self.power) && self.power >= 0.5),
            ("draws", self.draws as f64, (19..=1_000_000).contains(&self.draws)),
        ] {
            if !good {
                return Err(Problem::Setting { name, value }.into());
            }
        }
        Ok(())
    }
}

/// One statistic of one column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measure {
    /// Its name.
    pub name: &'static str,
    /// Its value; NaN where a side has no values.
    pub value: f64,
    /// So much can the bins hide: with all values known it would be within `value` ± `bound`.
    pub bound: f64,
    /// Probability of a value at least as large if nothing changed.
    pub pvalue: Option<f64>,
    /// One-sided confidence bounds at level `alpha` each, what the bins hide included.
    pub interval: Option<(f64, f64)>,
    /// The size that is seen at level `alpha` with the stated power, at these numbers of rows.
    pub detectable: f64,
    /// How the p-value came about.
    pub method: &'static str,
}

/// One thing that can have changed about a column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part {
    /// `values`, `null`, `nan` or `unseen`.
    pub name: &'static str,
    /// Estimated size of the change.
    pub size: f64,
    /// One-sided lower confidence bound.
    pub low: f64,
    /// One-sided upper confidence bound.
    pub high: f64,
    /// Changes up to this size do not matter.
    pub delta: f64,
    /// p-value of "the change is at most `delta`".
    pub pvalue: f64,
    /// The change that is called drift with the stated power, if this were the only column.
    pub detectable: f64,
}

/// One column's answer, before it is judged among the others.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnDrift {
    /// The column.
    pub name: String,
    /// Whether its bins are in an order; `None` for embeddings.
    pub kind: Option<Kind>,
    /// Rows, effective ones if they have weights: of the reference and live.
    pub rows: (f64, f64),
    /// Rows with a value.
    pub values: (f64, f64),
    /// The statistics.
    pub measures: Vec<Measure>,
    /// What can have changed; the first part is the values.
    pub parts: Vec<Part>,
    /// p-value of "nothing changed", over all parts.
    pub unchanged: f64,
    /// p-value of "nothing changed by more than delta", over all parts.
    pub irrelevant: f64,
}

/// All about one column.
pub fn column_drift(column: &BinnedColumn, settings: &Settings) -> Result<ColumnDrift> {
    let totals = Totals::of(column)?;
    let shape = Shape::of(column, &totals)?;
    let mut measures = Vec::new();
    let (values, unchanged_values) = match shape.kind {
        Kind::Ordered => of_ordered(column, &shape, settings, &mut measures),
        Kind::Nominal => of_nominal(&shape, settings, &mut measures),
    };
    let mut parts = vec![values];
    let mut unchanged = vec![unchanged_values];
    let special = &column.special;
    for (name, measure, counts) in [("null", "null_rate", special.null), ("nan", "nan_rate", special.nan)] {
        if counts == (0, 0) && name != "null" {
            continue;
        }
        let (a, b) = totals.part(counts);
        let rates = Rates { a, n: totals.effective.0, b, m: totals.effective.1 };
        let (part, pvalue) = of_rate(name, &rates, settings);
        measures.push(rate_measure(measure, &rates, &part, pvalue, settings));
        if counts != (0, 0) {
            parts.push(part);
            unchanged.push(pvalue);
        } else if part.high > part.delta {
            // Nothing was missing: it cannot alarm, but with few rows it cannot be called unchanged either.
            parts.push(part);
        }
    }
    if let Some(unseen) = unseen(column, &totals, settings, &mut measures) {
        unchanged.push(unseen.1);
        parts.push(unseen.0);
    }
    // Bonferroni inside the column: parts without a row of their kind cannot alarm and cost nothing.
    let tested = unchanged.len() as f64;
    let least = |values: &mut dyn Iterator<Item = f64>| (values.fold(1.0_f64, f64::min) * tested).min(1.0);
    Ok(ColumnDrift {
        name: column.name.clone(),
        kind: Some(shape.kind),
        rows: totals.effective,
        values: shape.sizes,
        unchanged: least(&mut unchanged.iter().copied()),
        irrelevant: least(&mut parts.iter().map(|part| part.pvalue)),
        measures,
        parts,
    })
}

/// All about a column of embeddings: the maximum mean discrepancy over random features.
///
/// A feature vector has length at most sqrt 2 and mean square 1, so the discrepancy of two samples of one distribution
/// is at most `1 / sqrt(n_e)` on average, and by `McDiarmid`'s inequality above that by `t` with a probability of at most
/// `exp(-n_e t^2 / 4)`. Conservative; `headrace.drift.mmd` on raw vectors permutes them instead.
pub fn embedded_drift(column: &EmbeddedColumn, settings: &Settings) -> Result<ColumnDrift> {
    if column.means.0.len() != column.means.1.len() {
        return Err(Error::DamagedColumn {
            column: column.name.clone(),
            reason: "it has means of more features on one side than on the other".to_owned(),
        });
    }
    let sizes = column.weighted.map_or(column.n, |weighted| weighted.effective);
    let sizes = (if column.n.0 > 0.0 { sizes.0 } else { 0.0 }, if column.n.1 > 0.0 { sizes.1 } else { 0.0 });
    let effective = if sizes.0 > 0.0 && sizes.1 > 0.0 { sizes.0 * sizes.1 / (sizes.0 + sizes.1) } else { 0.0 };
    let square: f64 = column.means.0.iter().zip(&column.means.1).map(|(a, b)| (a - b).powi(2)).sum();
    let value = if effective > 0.0 { square.sqrt() } else { f64::NAN };
    let chance = 1.0 / effective.sqrt();
    let beyond = |delta: f64| {
        let gap = value - chance - delta;
        if gap > 0.0 { (-0.25 * effective * gap * gap).exp() } else { 1.0 }
    };
    let reach = |level: f64| (4.0 * (1.0 / level).ln() / effective).sqrt();
    let (low, high) = if effective > 0.0 {
        let reach = reach(settings.alpha);
        ((value - chance - reach).max(0.0), value + chance + reach)
    } else {
        (0.0, 2.0_f64.sqrt() * 2.0)
    };
    let detectable = 2.0 * chance + reach(settings.alpha) + reach(1.0 - settings.power);
    let unchanged = beyond(0.0);
    Ok(ColumnDrift {
        name: column.name.clone(),
        kind: None,
        rows: sizes,
        values: sizes,
        measures: vec![Measure {
            name: "mmd",
            value,
            bound: 0.0,
            pvalue: Some(unchanged),
            interval: Some((low, high)),
            detectable,
            method: "McDiarmid",
        }],
        parts: vec![Part {
            name: "values",
            size: value,
            low,
            high,
            delta: settings.delta,
            pvalue: beyond(settings.delta),
            detectable: detectable + settings.delta,
        }],
        unchanged,
        irrelevant: beyond(settings.delta),
    })
}
