//! Statistics of two rows of counts over the same categories or bins.
//!
//! The first row is the reference, the second is live; `p` and `q` are their shares. Formulas and edge cases are stated
//! at each; a row that is empty has no shares, and everything measured against it is NaN.
#![allow(
    clippy::cast_precision_loss,
    clippy::many_single_char_names,
    reason = "counts are far below 2^53; letters as in the formulas"
)]

use super::special::{chi2_isf, chi2_sf, noncentrality};

/// How many there are.
#[must_use]
pub fn total(counts: &[u64]) -> f64 {
    counts.iter().map(|count| *count as f64).sum()
}

/// Shares of the counts; NaN if there are none.
#[must_use]
pub fn shares(counts: &[u64]) -> Vec<f64> {
    let total = total(counts);
    counts.iter().map(|count| *count as f64 / total).collect()
}

fn pairs<'a>(p: &'a [f64], q: &'a [f64]) -> impl Iterator<Item = (f64, f64)> + 'a {
    p.iter().copied().zip(q.iter().copied())
}

/// Total variation: half the sum of `|p - q|`, the share of rows that would have to move. 0 to 1.
#[must_use]
pub fn total_variation(p: &[f64], q: &[f64]) -> f64 {
    0.5 * pairs(p, q).map(|(p, q)| (p - q).abs()).sum::<f64>()
}

/// The largest `|p - q|` of a category. 0 to 1.
#[must_use]
pub fn l_infinity(p: &[f64], q: &[f64]) -> f64 {
    pairs(p, q).map(|(p, q)| (p - q).abs()).fold(0.0, |most, gap| if gap > most || gap.is_nan() { gap } else { most })
}

/// Hellinger distance `sqrt(1 - sum sqrt(p q))`, computed from the differences of roots so that near ones stay exact.
/// 0 to 1.
#[must_use]
pub fn hellinger(p: &[f64], q: &[f64]) -> f64 {
    (0.5 * pairs(p, q).map(|(p, q)| (p.sqrt() - q.sqrt()).powi(2)).sum::<f64>()).sqrt()
}

/// Jensen-Shannon distance: the square root of the divergence, in the logarithm's `base`. With base 2 it is 0 to 1, with
/// base e 0 to 0.833.
#[must_use]
pub fn jensen_shannon(p: &[f64], q: &[f64], base: f64) -> f64 {
    let part = |share: f64, middle: f64| if share > 0.0 { share * (share / middle).ln() } else { 0.0 };
    let sum: f64 = pairs(p, q)
        .map(|(p, q)| {
            let middle = f64::midpoint(p, q);
            if middle.is_nan() { middle } else { part(p, middle) + part(q, middle) }
        })
        .sum();
    if sum.is_nan() { sum } else { (0.5 * sum.max(0.0) / base.ln()).sqrt() }
}

/// Population stability index `sum (q - p) ln(q / p)` over counts smoothed by half a row a category, so that an empty
/// category costs what one row could not have shown, and not infinity: `(count + 1/2) / (total + categories / 2)`.
#[must_use]
pub fn psi(p: &[f64], q: &[f64], n: f64, m: f64) -> f64 {
    let half = 0.5 * p.len() as f64;
    pairs(p, q)
        .map(|(p, q)| {
            let (p, q) = ((p * n + 0.5) / (n + half), (q * m + 0.5) / (m + half));
            (q - p) * (q / p).ln()
        })
        .sum()
}

/// Pearson's chi-square of homogeneity from shares: `n_e sum (p - q)^2 / pooled`. Categories without rows do not count.
#[must_use]
pub fn chi_square(p: &[f64], q: &[f64], n: f64, m: f64) -> f64 {
    let sum: f64 = pairs(p, q)
        .map(|(p, q)| {
            let pooled = (n * p + m * q) / (n + m);
            if pooled > 0.0 { (p - q).powi(2) / pooled } else { 0.0 }
        })
        .sum();
    n * m / (n + m) * sum
}

/// The likelihood ratio G: `2 sum O ln(O / E)` over both rows, 0 ln 0 = 0.
#[must_use]
pub fn g(p: &[f64], q: &[f64], n: f64, m: f64) -> f64 {
    let part = |share: f64, pooled: f64| if share > 0.0 { share * (share / pooled).ln() } else { 0.0 };
    let sum: f64 = pairs(p, q)
        .map(|(p, q)| {
            let pooled = (n * p + m * q) / (n + m);
            n * part(p, pooled) + m * part(q, pooled)
        })
        .sum();
    (2.0 * sum).max(0.0)
}

/// Which categories are too rare for the chi-square limit, put together.
///
/// A category is rare if either row expects fewer than `least` rows of it. All rare ones become one; if that one is rare
/// itself, it joins the least frequent of the others. Decided from the totals alone, so that it cannot favour an alarm.
#[must_use]
pub fn pool(reference: &[u64], live: &[u64], least: f64) -> (Vec<u64>, Vec<u64>) {
    let (n, m): (u64, u64) = (reference.iter().sum(), live.iter().sum());
    let smaller = n.min(m) as f64 / (n + m).max(1) as f64;
    let enough = |total: u64| total as f64 * smaller >= least;
    let mut kept: Vec<(u64, u64)> = Vec::new();
    let (mut rest, mut any) = ((0, 0), false);
    for (a, b) in reference.iter().copied().zip(live.iter().copied()).filter(|(a, b)| a + b > 0) {
        if enough(a + b) {
            kept.push((a, b));
        } else {
            rest = (rest.0 + a, rest.1 + b);
            any = true;
        }
    }
    if any {
        let least_frequent = kept.iter().enumerate().min_by_key(|(_, (a, b))| a + b).map(|(index, _)| index);
        match least_frequent {
            Some(index) if !enough(rest.0 + rest.1) => {
                kept[index].0 += rest.0;
                kept[index].1 += rest.1;
            }
            _ => kept.push(rest),
        }
    }
    kept.into_iter().unzip()
}

/// A test over counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CountTest {
    /// The statistic, over the categories that are left after pooling.
    pub statistic: f64,
    /// Probability of one at least as large if nothing changed.
    pub pvalue: f64,
    /// Degrees of freedom: categories that are left, less one.
    pub df: f64,
}

impl CountTest {
    /// The statistic that is expected at the change that is significant at `alpha` with probability `power`.
    #[must_use]
    pub fn detectable(&self, alpha: f64, power: f64) -> f64 {
        noncentrality(chi2_isf(alpha, self.df), self.df, power) + self.df
    }
}

/// Chi-square of homogeneity (`likelihood` = false) or G (true), after [`pool`]. With one category left nothing can
/// differ: statistic 0, p = 1.
#[must_use]
pub fn homogeneity(reference: &[u64], live: &[u64], least: f64, likelihood: bool) -> CountTest {
    let (a, b) = pool(reference, live, least);
    let (n, m): (u64, u64) = (a.iter().sum(), b.iter().sum());
    if a.len() < 2 || n == 0 || m == 0 {
        return CountTest { statistic: 0.0, pvalue: 1.0, df: 0.0 };
    }
    let (p, q, n, m) = (shares(&a), shares(&b), n as f64, m as f64);
    let statistic = if likelihood { g(&p, &q, n, m) } else { chi_square(&p, &q, n, m) };
    let df = (a.len() - 1) as f64;
    CountTest { statistic, pvalue: chi2_sf(statistic, df), df }
}
