//! What has changed about rows without a value, and about values that the reference does not have.
#![allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]

use super::column::{Measure, Part, Settings};
use super::rates::{Rates, binomial_tail};
use super::shape::Totals;
use super::special::normal_isf;
use crate::profile::{Bin, BinnedColumn, Kind};

/// The part of a rate, and the p-value of "the rates are equal".
pub(crate) fn of_rate(name: &'static str, rates: &Rates, settings: &Settings) -> (Part, f64) {
    let Settings { delta_rate: delta, alpha, power, .. } = *settings;
    let (below, above) = rates.interval(alpha);
    let low = below.max(-above).max(0.0);
    let pvalue = if delta > 0.0 { rates.score_pvalue(delta) } else { rates.equal_pvalue() };
    let part = Part {
        name,
        size: rates.change().abs(),
        low,
        high: above.max(-below),
        delta,
        pvalue,
        detectable: rate_detectable(rates, delta, alpha, power),
    };
    (part, rates.equal_pvalue())
}

/// The rise of the rate that is called drift with the stated power.
fn rate_detectable(rates: &Rates, delta: f64, alpha: f64, power: f64) -> f64 {
    let Rates { a, n, m, .. } = *rates;
    if n <= 0.0 || m <= 0.0 {
        return 1.0;
    }
    let p = a / n;
    let (alarm, seen) = (normal_isf(if delta > 0.0 { alpha } else { alpha / 2.0 }), normal_isf(1.0 - power));
    let enough = |rise: f64| {
        let q = (p + rise).min(1.0);
        let middle = (n * p + m * q) / (n + m);
        let under = (middle * (1.0 - middle) * (1.0 / n + 1.0 / m)).sqrt();
        let there = (p * (1.0 - p) / n + q * (1.0 - q) / m).sqrt();
        rise - delta - 0.5 * (1.0 / n + 1.0 / m) >= alarm * under + seen * there
    };
    if enough(1.0 - p) { super::special::bisect(0.0, 1.0 - p, |rise| !enough(rise)) } else { 1.0 }
}

pub(crate) fn rate_measure(
    name: &'static str,
    rates: &Rates,
    part: &Part,
    pvalue: f64,
    settings: &Settings,
) -> Measure {
    let known = rates.n > 0.0 && rates.m > 0.0;
    Measure {
        name,
        value: if known { rates.change() } else { f64::NAN },
        bound: 0.0,
        pvalue: Some(pvalue),
        interval: Some(rates.interval(settings.alpha)),
        detectable: if known { part.detectable - part.delta } else { 1.0 },
        method: if rates.n + rates.m <= 10_000.0 { "Fisher" } else { "score" },
    }
}

/// The share of live values that the reference does not have.
///
/// Chance makes it positive: the reference is a sample, and what it missed is about the share of its values that it has
/// once (Good and Turing). Where the reference did not say how many those are, it is known for the categories that have a
/// bin; of the others every one may be. The test is exact against that share and its error, so a column of identifiers is never an alarm.
pub(crate) fn unseen(
    column: &BinnedColumn,
    totals: &Totals,
    settings: &Settings,
    measures: &mut Vec<Measure>,
) -> Option<(Part, f64)> {
    if column.kind != Kind::Nominal {
        return None;
    }
    let at = column.bins.iter().position(|bin| *bin == Bin::Unseen)?;
    let valued = (column.reference.iter().sum::<u64>(), column.live.iter().sum::<u64>());
    let (n, m) = totals.part(valued);
    let (_, b) = totals.part((0, column.live[at]));
    let (a, _) = totals.part((column.reference[at], 0));
    let rates = Rates { a, n, b, m };
    let unit = if valued.0 > 0 { n / valued.0 as f64 } else { 0.0 };
    let possible: f64 = column
        .bins
        .iter()
        .zip(&column.reference)
        .map(|(bin, count)| (bin, *count as f64 * unit))
        .filter(|(bin, count)| **bin == Bin::Other || (matches!(bin, Bin::Category(_)) && *count > 0.0 && *count < 1.5))
        .map(|(_, count)| count)
        .sum();
    let once = column.singletons.map_or(possible, |known| (known as f64).min(n));
    // Four deviations: the chance that more was missed is below 1e-4, which is added to the p-value.
    let missed = if n > 0.0 { ((once + 1.0 + 4.0 * (once + 1.0).sqrt()) / n).min(1.0) } else { 1.0 };
    // That alone would keep every p-value above 1e-4, too much among some hundred columns, so a second allowance beside
    // it is exceeded with a chance below 1e-12 (Chernoff's bound for Poisson counts); two claims, hence the factor.
    let rare = 1e-12_f64;
    let spare = -rare.ln();
    let most = if n > 0.0 { ((once + spare + (spare * (spare + 2.0 * once)).sqrt()) / n).min(1.0) } else { 1.0 };
    let tail = |delta: f64| {
        let by = |missed: f64, chance: f64| binomial_tail(b, m, missed + delta) + chance;
        if m > 0.0 { (2.0 * by(missed, 1e-4).min(by(most, rare))).min(1.0) } else { 1.0 }
    };
    let (_, above) = rates.interval(settings.alpha);
    let (below, _) = Rates { a: 0.0, n: m.max(1.0), b, m }.interval(settings.alpha);
    let delta = settings.delta_rate;
    let seen = b > 0.0;
    // Values that the reference's filter takes for known are among the others of the window, so they are at most those.
    let found = 1.0 - column.overlooked.clamp(0.0, 1.0);
    let other: u64 =
        column.bins.iter().zip(&column.live).filter(|(bin, _)| **bin == Bin::Other).map(|(_, rows)| rows).sum();
    let hidden = if m > 0.0 { totals.part((0, other)).1 / m } else { 0.0 };
    let part = Part {
        name: "unseen",
        size: rates.change().abs(),
        low: if seen { (below - missed).max(0.0) } else { 0.0 },
        high: (above.max(0.0) / found).min(above.max(0.0) + hidden).min(1.0),
        delta,
        pvalue: if seen { tail(delta) } else { 1.0 },
        detectable: (rate_detectable(
            &Rates { a: 0.0, b: 0.0, n: m, m },
            delta + missed,
            settings.alpha,
            settings.power,
        ) / found)
            .min(1.0),
    };
    let pvalue = if seen { tail(0.0) } else { 1.0 };
    measures.push(Measure {
        name: "unseen_rate",
        value: if n > 0.0 && m > 0.0 { rates.change() } else { f64::NAN },
        bound: missed,
        pvalue: Some(pvalue),
        interval: Some((part.low, part.high)),
        detectable: (part.detectable - delta).max(0.0),
        method: "binomial above Good-Turing",
    });
    // As with missing values: what has no row of its kind cannot alarm.
    (seen).then_some((part, pvalue))
}
