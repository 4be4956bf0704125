//! Everything that is said about one column: its statistics, and the parts that its verdict is made of.
#![allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]

use std::f64::consts::LN_2;

use super::counts;
use super::draws::{Margins, Null};
use super::kolmogorov::{at_a_point, kolmogorov_isf, kolmogorov_sf};
use super::ordered;
use super::paths;
use super::problem::Problem;
use super::rates::{Rates, binomial_tail, hypergeometric_deviation};
use super::shape::{Coarse, Shape, Totals};
use super::special::{chi2_isf, chi2_sf, noncentrality, normal_isf};
use crate::error::{Error, Result};
use crate::profile::{Bin, BinnedColumn, EmbeddedColumn, Kind};

/// Exact two-sample distributions are walked up to so many steps.
const EXACT_STEPS: f64 = 250_000.0;

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

/// Kolmogorov-Smirnov and its kin, the divergences, and the part of the values.
fn of_ordered(column: &BinnedColumn, shape: &Shape, settings: &Settings, measures: &mut Vec<Measure>) -> (Part, f64) {
    let margins = shape.margins();
    let gaps: Vec<f64> = shape.p.iter().zip(&shape.q).map(|(p, q)| q - p).collect();
    let seen = ordered::ordered(&gaps, &shape.widths, &margins.pooled);
    let bounds = ordered::bounds(shape, &seen);
    let effective = shape.effective();
    let mut drawn: [Vec<f64>; 4] = Default::default();
    if shape.comparable() {
        margins.draw(settings.draws, |gaps| {
            let one = ordered::ordered(gaps, &shape.widths, &margins.pooled);
            for (to, value) in drawn.iter_mut().zip([one.kuiper, one.cramer.sqrt(), one.wasserstein, one.energy]) {
                to.push(value);
            }
        });
    }
    let [kuiper, cramer, area, energy] = drawn.map(Null::new);
    let method = if margins.dealt() { "permutation" } else { "normal draws" };
    let size = if shape.comparable() { seen.kolmogorov } else { f64::NAN };
    let unchanged = kolmogorov_unchanged(shape, seen.kolmogorov);
    let part = kolmogorov_part(shape, size, bounds.kolmogorov, settings);
    measures.push(Measure {
        name: "ks",
        value: size,
        bound: bounds.kolmogorov,
        pvalue: Some(unchanged.0),
        interval: Some((part.low, part.high)),
        detectable: part.detectable - part.delta,
        method: unchanged.1,
    });
    // Seminorms: one of a true size S is seen as at least S less what chance makes of it, so critical value plus the
    // quantile of chance is always enough.
    let reach = |null: &Null| null.exceeded_by(settings.alpha) + null.exceeded_by(1.0 - settings.power);
    let mut push = |name, value: f64, bound: f64, pvalue: f64, detectable: f64| {
        let value = if shape.comparable() { value } else { f64::NAN };
        let pvalue = if shape.comparable() { pvalue } else { 1.0 };
        measures.push(Measure { name, value, bound, pvalue: Some(pvalue), interval: None, detectable, method });
    };
    push("kuiper", seen.kuiper, bounds.kuiper, kuiper.pvalue(seen.kuiper), reach(&kuiper));
    push(
        "cramer_von_mises",
        effective * seen.cramer,
        effective * bounds.cramer,
        cramer.pvalue(seen.cramer.sqrt()),
        effective * reach(&cramer).powi(2),
    );
    let means = (column.moments.0.mean - column.moments.1.mean).abs();
    let finite = column.special.pos_inf == (0, 0) && column.special.neg_inf == (0, 0);
    for (name, scale) in wasserstein_scales(column, shape) {
        // Of what lies beyond the reference's range only the means speak; the distance of means is never the greater.
        let value = if finite { seen.wasserstein.max(means) } else { f64::INFINITY };
        let pvalue = area.pvalue(seen.wasserstein);
        push(name, value / scale, bounds.wasserstein / scale, pvalue, reach(&area) / scale);
    }
    if column.moments.0.n > 0.0 {
        let value = if finite { seen.energy } else { f64::INFINITY };
        push("energy", value, bounds.energy, energy.pvalue(seen.energy), reach(&energy));
    }
    divergences(&shape.coarse(), shape, settings, measures);
    (part, unchanged.0)
}

/// Names of the scaled distances with their scales; one without a scale is left out.
fn wasserstein_scales(column: &BinnedColumn, shape: &Shape) -> Vec<(&'static str, f64)> {
    let moments = &column.moments.0;
    if moments.n <= 0.0 {
        return Vec::new(); // only counts are known, or nothing
    }
    let deviation = (moments.m2 / moments.n).sqrt();
    [("wasserstein", 1.0), ("wasserstein_std", deviation), ("wasserstein_iqr", ordered::quartile_range(shape))]
        .into_iter()
        .filter(|(_, scale)| *scale > 0.0 && scale.is_finite())
        .collect()
}

/// p-value of "the values have not changed" by Kolmogorov-Smirnov, and how.
fn kolmogorov_unchanged(shape: &Shape, statistic: f64) -> (f64, &'static str) {
    if !shape.comparable() {
        return (1.0, "no values");
    }
    let (n, m) = (shape.counts.0.iter().sum::<u64>(), shape.counts.1.iter().sum::<u64>());
    if shape.whole && n as f64 * m as f64 <= EXACT_STEPS {
        let (mut gap, mut widest) = (0_i128, 0_i128);
        let mut groups = Vec::with_capacity(shape.counts.0.len());
        for (a, b) in shape.counts.0.iter().zip(&shape.counts.1) {
            gap += i128::from(*a) * i128::from(m) - i128::from(*b) * i128::from(n);
            widest = widest.max(gap.abs());
            groups.push(a + b);
        }
        let widest = u64::try_from(widest).unwrap_or(u64::MAX);
        // Given ties are known where cells are single values. Edges between intervals were set by rows of the reference,
        // and are no chance to be conditioned on: there the distance over all places has to be taken as it is.
        let values = shape.spread.iter().zip(&groups).all(|(spread, rows)| !spread || *rows == 0);
        let pvalue = if widest == 0 {
            1.0
        } else if values {
            paths::smirnov_tied_sf(n, m, widest, &groups)
        } else {
            paths::smirnov_sf(n, m, widest / paths::gcd(n, m))
        };
        (pvalue, "exact")
    } else {
        (kolmogorov_sf(statistic, shape.effective()), "Kolmogorov")
    }
}

/// The part of the values by Kolmogorov-Smirnov distance.
///
/// A distance above delta by more than chance can do is a relevant one: `sup |G_m - F_n|` exceeds the true distance by at
/// most the largest deviation of both samples from their own distributions, and that is at most what it is when both
/// distributions are one (Anderson's inequality; the difference of the two processes is one more Gaussian that is added).
fn kolmogorov_part(shape: &Shape, size: f64, bound: f64, settings: &Settings) -> Part {
    let Settings { delta, alpha, power, .. } = *settings;
    if !shape.comparable() {
        return unknown(shape, delta);
    }
    let effective = shape.effective();
    let excess = size - delta;
    let pvalue = if excess <= 0.0 {
        1.0
    } else if delta <= 0.0 {
        kolmogorov_unchanged(shape, size).0
    } else {
        kolmogorov_sf(excess, effective)
    };
    let critical = kolmogorov_isf(alpha, effective);
    Part {
        name: "values",
        size,
        low: (size - critical).max(0.0),
        high: (size + bound + at_a_point(shape.sizes, alpha)).min(1.0),
        delta,
        pvalue,
        detectable: (delta + critical + bound + at_a_point(shape.sizes, 1.0 - power)).min(1.0),
    }
}

/// The part of values that one side does not have: anything is possible, or, if neither has any, nothing is.
fn unknown(shape: &Shape, delta: f64) -> Part {
    let high = if shape.sizes.0 <= 0.0 && shape.sizes.1 <= 0.0 { 0.0 } else { 1.0 };
    Part { name: "values", size: f64::NAN, low: 0.0, high, delta, pvalue: 1.0, detectable: 1.0 }
}

/// Total variation and its kin, and the part of the values.
fn of_nominal(shape: &Shape, settings: &Settings, measures: &mut Vec<Measure>) -> (Part, f64) {
    let coarse = shape.coarse();
    let part = variation_part(&coarse, shape, settings);
    let first = measures.len();
    divergences(&coarse, shape, settings, measures);
    let chi = measures[first..].iter().find(|measure| measure.name == "chi2").and_then(|measure| measure.pvalue);
    (part, chi.unwrap_or(1.0))
}

/// The part of the values by total variation.
///
/// Observed variation is too large by what chance adds: on average at most what it adds when nothing changed, which is
/// known exactly given the totals, and above that by `t` with a probability of at most `exp(-2 n_e t^2)` (`McDiarmid`).
/// With few categories it is sharper to bound the chance of each set of categories and add up (Hoeffding). Which of the
/// two is used depends on the totals alone.
fn variation_part(coarse: &Coarse, shape: &Shape, settings: &Settings) -> Part {
    let Settings { delta, alpha, power, .. } = *settings;
    if !shape.comparable() {
        return unknown(shape, delta);
    }
    let effective = shape.effective();
    let size = counts::total_variation(&coarse.p, &coarse.q);
    let on_average = chance_variation(&coarse.margins);
    let sets = f64::exp2(coarse.p.len() as f64) - 2.0;
    let reach = |tail: f64, sets: f64| ((sets / tail).ln().max(0.0) / (2.0 * effective)).sqrt();
    let by_average = on_average + reach(alpha, 1.0);
    let (offset, sets) =
        if sets.is_finite() && sets > 0.0 && reach(alpha, sets) < by_average { (0.0, sets) } else { (on_average, 1.0) };
    let excess = size - offset - delta;
    let pvalue = if excess > 0.0 { (sets * (-2.0 * effective * excess * excess).exp()).min(1.0) } else { 1.0 };
    let critical = offset + reach(alpha, sets);
    Part {
        name: "values",
        size,
        low: (size - critical).max(0.0),
        high: (size + coarse.hidden + at_a_point(shape.sizes, alpha)).min(1.0),
        delta,
        pvalue,
        detectable: (delta + critical + at_a_point(shape.sizes, 1.0 - power)).min(1.0),
    }
}

/// Average total variation if nothing changed, given the totals.
fn chance_variation(margins: &Margins) -> f64 {
    let (n, m) = margins.sizes;
    let rows = 1.0 / n + 1.0 / m;
    let of_cell = |at: usize, share: &f64| match &margins.rows {
        Some(all) if share * n.min(m) < 1_000.0 => hypergeometric_deviation(all[at] as f64, m, n + m) * rows,
        _ => (share * (1.0 - share) * rows * std::f64::consts::FRAC_2_PI).max(0.0).sqrt(),
    };
    0.5 * margins.pooled.iter().enumerate().map(|(at, share)| of_cell(at, share)).sum::<f64>()
}

/// What [`divergences`] measures.
const NAMES: [&str; 7] = ["total_variation", "l_infinity", "jensen_shannon", "hellinger", "psi", "chi2", "g"];

/// Statistics that do not know an order, over cells that are not too rare.
fn divergences(coarse: &Coarse, shape: &Shape, settings: &Settings, measures: &mut Vec<Measure>) {
    let (n, m) = shape.sizes;
    let all = |p: &[f64], q: &[f64]| {
        [
            counts::total_variation(p, q),
            counts::l_infinity(p, q),
            counts::jensen_shannon(p, q, 2.0),
            counts::hellinger(p, q),
            counts::psi(p, q, n, m),
            counts::chi_square(p, q, n, m),
            counts::g(p, q, n, m),
        ]
    };
    let df = coarse.p.len() as f64 - 1.0;
    if !shape.comparable() || df < 1.0 {
        let value = if shape.comparable() { 0.0 } else { f64::NAN };
        measures.extend(NAMES.iter().map(|name| Measure {
            name,
            value,
            bound: if *name == "total_variation" { coarse.hidden.max(0.0) } else { 0.0 },
            pvalue: Some(1.0),
            interval: None,
            detectable: f64::INFINITY,
            method: if shape.comparable() { "one cell" } else { "no values" },
        }));
        return;
    }
    let seen = all(&coarse.p, &coarse.q);
    let effective = shape.effective();
    let dealt = coarse.margins.dealt();
    let mut drawn: [Vec<f64>; 7] = Default::default();
    let (mut p, mut q) = (vec![0.0; coarse.p.len()], vec![0.0; coarse.p.len()]);
    coarse.margins.draw(settings.draws, |gaps| {
        if dealt {
            for (at, gap) in gaps.iter().enumerate() {
                p[at] = (coarse.margins.pooled[at] - gap * m / (n + m)).max(0.0);
                q[at] = (coarse.margins.pooled[at] + gap * n / (n + m)).max(0.0);
            }
            for (to, value) in drawn.iter_mut().zip(all(&p, &q)) {
                to.push(value);
            }
        } else {
            drawn[0].push(0.5 * gaps.iter().map(|gap| gap.abs()).sum::<f64>());
            drawn[1].push(gaps.iter().fold(0.0, |most, gap| gap.abs().max(most)));
        }
    });
    let nulls = drawn.map(Null::new);
    // What each is, times the effective size and this, follows chi-square: JS^2 and H^2 are an eighth of it near zero.
    let squared = |at: usize, value: f64| match at {
        2 => 8.0 * effective * LN_2 * value * value,
        3 => 8.0 * effective * value * value,
        4 => effective * value,
        _ => value,
    };
    let lambda = noncentrality(chi2_isf(settings.alpha, df), df, settings.power);
    let detectable = |at: usize| match at {
        0 | 1 => nulls[at].exceeded_by(settings.alpha) + nulls[at].exceeded_by(1.0 - settings.power),
        2 => (lambda / (8.0 * effective * LN_2)).sqrt(),
        3 => (lambda / (8.0 * effective)).sqrt(),
        4 => lambda / effective,
        _ => lambda + df,
    };
    let reach = at_a_point(shape.sizes, settings.alpha);
    for (at, name) in NAMES.iter().enumerate() {
        let by_draws = dealt || at < 2;
        let value = seen[at];
        measures.push(Measure {
            name,
            value,
            bound: if at == 0 { coarse.hidden } else { 0.0 },
            pvalue: Some(if by_draws { nulls[at].pvalue(value) } else { chi2_sf(squared(at, value), df) }),
            interval: (at == 0).then(|| {
                let low = value - chance_variation(&coarse.margins) - (-settings.alpha.ln() / (2.0 * effective)).sqrt();
                (low.max(0.0), (value + coarse.hidden + reach).min(1.0))
            }),
            detectable: detectable(at),
            method: match (dealt, by_draws) {
                (true, _) => "permutation",
                (false, true) => "normal draws",
                (false, false) => "chi-square",
            },
        });
    }
}

/// The part of a rate, and the p-value of "the rates are equal".
fn of_rate(name: &'static str, rates: &Rates, settings: &Settings) -> (Part, f64) {
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

fn rate_measure(name: &'static str, rates: &Rates, part: &Part, pvalue: f64, settings: &Settings) -> Measure {
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
fn unseen(
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
    let tail = |delta: f64| if m > 0.0 { (binomial_tail(b, m, missed + delta) + 1e-4).min(1.0) } else { 1.0 };
    let (_, above) = rates.interval(settings.alpha);
    let (below, _) = Rates { a: 0.0, n: m.max(1.0), b, m }.interval(settings.alpha);
    let delta = settings.delta_rate;
    let seen = b > 0.0;
    let part = Part {
        name: "unseen",
        size: rates.change().abs(),
        low: if seen { (below - missed).max(0.0) } else { 0.0 },
        high: above.max(0.0),
        delta,
        pvalue: if seen { tail(delta) } else { 1.0 },
        detectable: rate_detectable(&Rates { a: 0.0, b: 0.0, n: m, m }, delta + missed, settings.alpha, settings.power),
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
