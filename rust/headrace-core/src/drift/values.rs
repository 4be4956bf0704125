//! What has changed about the values of a column: its statistics, and the part of its verdict.
#![allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]

use super::column::{Measure, Part, Settings};
use super::counts;
use super::divergences::divergences;
use super::draws::{Margins, Null};
use super::kolmogorov::{at_a_point, kolmogorov_isf, kolmogorov_sf};
use super::ordered;
use super::paths;
use super::rates::{Rates, hypergeometric_deviation};
use super::shape::{Coarse, Shape};
use super::special::normal_sf;
use crate::profile::{BinnedColumn, Moments};

/// Exact two-sample distributions are walked up to so many steps.
const EXACT_STEPS: f64 = 250_000.0;

/// Kolmogorov-Smirnov and its kin, the divergences, and the part of the values.
pub(crate) fn of_ordered(
    column: &BinnedColumn,
    shape: &Shape,
    settings: &Settings,
    measures: &mut Vec<Measure>,
) -> (Part, f64) {
    let margins = shape.margins();
    let gaps: Vec<f64> = shape.p.iter().zip(&shape.q).map(|(p, q)| q - p).collect();
    let seen = ordered::ordered(&gaps, &shape.widths, &margins.pooled);
    let bounds = ordered::bounds(shape, &seen, |at| reach_beyond(column, shape, at));
    let effective = shape.effective();
    let mut drawn = ordered::Drawn::new(&shape.widths, &margins.pooled);
    if shape.comparable() {
        margins.draw(settings.draws, |gaps| drawn.add(gaps));
    }
    let drawn = drawn.finish();
    let null = |of: fn(&ordered::Ordered) -> f64| Null::new(drawn.iter().map(of).collect());
    let (kuiper, cramer) = (null(|one| one.kuiper), null(|one| one.cramer.sqrt()));
    let (area, energy) = (null(|one| one.wasserstein), null(|one| one.energy));
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

/// How far rows lie outside the reference's range in a cell that is open to one side: infinite where a side that has such
/// rows does not know its extremes.
fn reach_beyond(column: &BinnedColumn, shape: &Shape, at: usize) -> f64 {
    let end = shape.places[at];
    // Cells of ordered columns ascend, and what is below all of them is first, perhaps after the infinite ones.
    let below = shape.places[at + 1..].iter().any(|place| place.is_finite());
    let above = shape.places[..at].iter().any(|place| place.is_finite());
    let of_side = |rows: u64, moments: &Moments| match (rows, moments.min, moments.max) {
        (0, _, _) => 0.0,
        (_, Some(min), Some(max)) => match (below, above) {
            (true, false) => (end - min).max(0.0),
            (false, true) => (max - end).max(0.0),
            _ => (end - min).max(max - end).max(0.0),
        },
        _ => f64::INFINITY,
    };
    let moments = &column.moments;
    of_side(shape.counts.0[at], &moments.0).max(of_side(shape.counts.1[at], &moments.1))
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
pub(crate) fn of_nominal(shape: &Shape, settings: &Settings, measures: &mut Vec<Measure>) -> (Part, f64) {
    let coarse = shape.coarse();
    let part = variation_part(&coarse, shape, settings);
    let first = measures.len();
    divergences(&coarse, shape, settings, measures);
    let chi = measures[first..].iter().find(|measure| measure.name == "chi2").and_then(|measure| measure.pvalue);
    (part, chi.unwrap_or(1.0))
}

/// The part of the values by total variation, from two claims that each follow from "at most delta".
///
/// No single category changed by more than delta: the score test for each, times their number. And the variation itself:
/// what is observed is too large by what chance adds, on average at most what it adds when nothing changed, which is known
/// exactly given the totals; above that by `t` with the normal probability of `2 t sqrt(n_e)` at most, because half the sum
/// of differences is a convex function that one row moves by no more than a share (Borell; the median of such a function
/// of normal variables lies below its mean). Rare categories were put together, so normal they are.
fn variation_part(coarse: &Coarse, shape: &Shape, settings: &Settings) -> Part {
    let Settings { delta, alpha, power, .. } = *settings;
    if !shape.comparable() {
        return unknown(shape, delta);
    }
    let size = counts::total_variation(&coarse.p, &coarse.q);
    let high = (size + coarse.hidden + at_a_point(shape.sizes, alpha)).min(1.0);
    let seen = at_a_point(shape.sizes, 1.0 - power);
    let rates: Vec<Rates> = coarse.p.iter().zip(&coarse.q).map(|(p, q)| rate(shape.sizes, *p, *q)).collect();
    let lowest = |tail: f64| {
        let (below, above) = rates
            .iter()
            .map(|one| one.interval(tail))
            .fold((0.0_f64, 0.0_f64), |most, (low, high)| (most.0.max(low), most.1.max(-high)));
        below.max(above)
    };
    if let [one, _] = rates[..] {
        // Of two categories one says all.
        let pvalue = if delta > 0.0 { one.score_pvalue(delta) } else { one.equal_pvalue() };
        let detectable = (delta + at_a_point(shape.sizes, alpha) + seen).min(1.0);
        return Part { name: "values", size, low: lowest(alpha), high, delta, pvalue, detectable };
    }
    let cells = rates.len().max(1) as f64;
    let single = rates.iter().map(|one| one.score_pvalue(delta)).fold(1.0, f64::min) * cells;
    let on_average = chance_variation(&coarse.margins);
    let rows = 1.0 / shape.sizes.0 + 1.0 / shape.sizes.1;
    let excess = size - on_average - delta - 0.5 * rows;
    let whole = if excess > 0.0 { normal_sf(2.0 * excess / rows.sqrt()) } else { 1.0 };
    let critical = on_average + at_a_point(shape.sizes, 0.5 * alpha);
    Part {
        name: "values",
        size,
        low: (size - critical).max(lowest(0.5 * alpha / cells)).max(0.0),
        high,
        delta,
        pvalue: (2.0 * single.min(whole)).min(1.0),
        detectable: (delta + critical + seen).min(1.0),
    }
}

/// One category against all others.
fn rate(sizes: (f64, f64), p: f64, q: f64) -> Rates {
    // Whole numbers of rows again, unless rows have weights.
    let rows = |share: f64, size: f64| {
        let exact = share * size;
        if (exact - exact.round()).abs() <= 1e-9 * size { exact.round() } else { exact }
    };
    Rates { a: rows(p, sizes.0), n: sizes.0, b: rows(q, sizes.1), m: sizes.1 }
}

/// Average total variation if nothing changed, given the totals.
pub(crate) fn chance_variation(margins: &Margins) -> f64 {
    let (n, m) = margins.sizes;
    let rows = 1.0 / n + 1.0 / m;
    let of_cell = |at: usize, share: &f64| match &margins.rows {
        Some(all) if share * n.min(m) < 1_000.0 => hypergeometric_deviation(all[at] as f64, m, n + m) * rows,
        _ => (share * (1.0 - share) * rows * std::f64::consts::FRAC_2_PI).max(0.0).sqrt(),
    };
    0.5 * margins.pooled.iter().enumerate().map(|(at, share)| of_cell(at, share)).sum::<f64>()
}
