//! From columns to verdicts: many columns, one false discovery rate.

use super::column::{ColumnDrift, Part, Settings};

/// What is to be thought of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Something changed by more than its delta.
    Drift,
    /// The rows allow neither of the others.
    NotEnoughData,
    /// Nothing changed by more than its delta.
    NoDrift,
}

/// How p-values of many columns are read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Correction {
    /// Y. Benjamini and Y. Hochberg (1995): right for independent columns and for those that rise together.
    BenjaminiHochberg,
    /// Y. Benjamini and D. Yekutieli (2001): right whatever the columns have to do with each other.
    BenjaminiYekutieli,
}

/// Adjusted p-values: a column is a discovery at rate alpha where its own is at most alpha.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "columns are few")]
pub fn adjust(pvalues: &[f64], correction: Correction) -> Vec<f64> {
    let count = pvalues.len();
    let factor = match correction {
        Correction::BenjaminiHochberg => count as f64,
        Correction::BenjaminiYekutieli => count as f64 * (1..=count).map(|i| 1.0 / i as f64).sum::<f64>(),
    };
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|a, b| pvalues[*a].total_cmp(&pvalues[*b]));
    let mut adjusted = vec![1.0; count];
    let mut least = 1.0_f64;
    for (rank, at) in order.into_iter().enumerate().rev() {
        least = least.min(pvalues[at] * factor / (rank + 1) as f64);
        adjusted[at] = least;
    }
    adjusted
}

/// The part that the column's verdict rests on: of those that speak for drift the clearest, else the largest beside its
/// delta.
#[must_use]
pub fn leading(column: &ColumnDrift) -> Option<&Part> {
    let measured = |part: &&Part| !part.size.is_nan();
    let ratio = |part: &Part| part.size / part.delta.max(1e-6);
    column
        .parts
        .iter()
        .filter(measured)
        .min_by(|a, b| a.pvalue.total_cmp(&b.pvalue).then(ratio(b).total_cmp(&ratio(a))))
        .or(column.parts.first())
}

/// A verdict for each column, and its adjusted p-value of "nothing changed by more than delta".
#[must_use]
pub fn judge(columns: &[ColumnDrift], settings: &Settings, correction: Correction) -> Vec<(Verdict, f64)> {
    let pvalues: Vec<f64> = columns.iter().map(|column| column.irrelevant).collect();
    let adjusted = adjust(&pvalues, correction);
    let verdict = |column: &ColumnDrift, adjusted: f64| {
        if adjusted <= settings.alpha {
            Verdict::Drift
        } else if column.parts.iter().all(|part| part.high <= part.delta) {
            Verdict::NoDrift
        } else {
            Verdict::NotEnoughData
        }
    };
    columns.iter().zip(adjusted).map(|(column, adjusted)| (verdict(column, adjusted), adjusted)).collect()
}
