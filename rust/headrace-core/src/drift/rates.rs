//! Changes of a rate: missing values, unseen categories. Two counts of two totals.
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::many_single_char_names,
    reason = "counts are far below 2^53; letters as in the papers"
)]

use std::f64::consts::PI;

use super::special::{binomial, normal_isf, normal_sf};

/// `a` of `n` in the reference, `b` of `m` live. Totals may be effective sizes, and counts shares of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// How many of the reference.
    pub a: f64,
    /// Rows of the reference.
    pub n: f64,
    /// How many live.
    pub b: f64,
    /// Rows live.
    pub m: f64,
}

impl Rates {
    /// Live rate less reference rate; 0 without rows.
    #[must_use]
    pub fn change(&self) -> f64 {
        if self.n > 0.0 && self.m > 0.0 { self.b / self.m - self.a / self.n } else { 0.0 }
    }

    /// Two-sided interval of the change at confidence 1 - 2 `tail`: R. G. Newcombe's (1998) square-and-add of Wilson's
    /// intervals, method 10. Without rows it is everything.
    #[must_use]
    pub fn interval(&self, tail: f64) -> (f64, f64) {
        if self.n <= 0.0 || self.m <= 0.0 {
            return (-1.0, 1.0);
        }
        let z = normal_isf(tail);
        let (p, q) = (self.a / self.n, self.b / self.m);
        let (p_low, p_high) = wilson(p, self.n, z);
        let (q_low, q_high) = wilson(q, self.m, z);
        let below = ((q - q_low).powi(2) + (p_high - p).powi(2)).sqrt();
        let above = ((q_high - q).powi(2) + (p - p_low).powi(2)).sqrt();
        ((q - p - below).max(-1.0), (q - p + above).min(1.0))
    }

    /// p-value of "the rates are equal": Fisher's exact test, two-sided (all tables at most as likely), up to 10,000 rows;
    /// beyond, the score test. Conservative.
    #[must_use]
    pub fn equal_pvalue(&self) -> f64 {
        let Self { a, n, b, m } = *self;
        let total = a + b;
        if n <= 0.0 || m <= 0.0 || total <= 0.0 || total >= n + m {
            return 1.0;
        }
        if n + m > 10_000.0 || [a, n, b, m].iter().any(|count| count.fract() != 0.0) {
            return self.score_pvalue(0.0);
        }
        let at = |x: f64| hypergeometric(x, total, m, n + m);
        let observed = at(b) * (1.0 + 1e-7);
        let (low, high) = ((total - n).max(0.0) as u64, total.min(m) as u64);
        (low..=high).map(|x| at(x as f64)).filter(|chance| *chance <= observed).sum::<f64>().min(1.0)
    }

    /// p-value of "the rates differ by at most `delta`": the score test of O. Miettinen and M. Nurminen (1985), the rates
    /// estimated at the edge of the claim. Two-sided at `delta` = 0, one-sided otherwise.
    #[must_use]
    pub fn score_pvalue(&self, delta: f64) -> f64 {
        let Self { a, n, b, m } = *self;
        let gap = self.change().abs() - delta;
        if gap <= 0.0 || n <= 0.0 || m <= 0.0 {
            return 1.0;
        }
        // Turned so that the second rate is the greater one.
        let (a, n, b, m) = if self.change() > 0.0 { (a, n, b, m) } else { (b, m, a, n) };
        let (p, q) = restricted(a, n, b, m, delta);
        let total = n + m;
        let variance = (p * (1.0 - p) / n + q * (1.0 - q) / m) * total / (total - 1.0).max(1.0);
        if variance <= 0.0 {
            return 1.0;
        }
        // Half a row to either side: without it the test is too eager where few rows are counted.
        let half = 0.5 * (1.0 / n + 1.0 / m);
        let z = (gap - half).max(0.0) / variance.sqrt();
        if delta > 0.0 { normal_sf(z) } else { (2.0 * normal_sf(z)).min(1.0) }
    }
}

/// Most likely rates (p, q) with q - p = `delta`: the root of the likelihood's cubic, after C. P. Farrington and
/// G. Manning (1990).
fn restricted(a: f64, n: f64, b: f64, m: f64, delta: f64) -> (f64, f64) {
    let total = n + m;
    if delta <= 0.0 {
        let pooled = (a + b) / total;
        return (pooled, pooled);
    }
    let third = total;
    let second = (m + 2.0 * n) * delta - total - a - b;
    let first = (n * delta - total - 2.0 * a) * delta + a + b;
    let zeroth = a * delta * (1.0 - delta);
    let v = (second / (3.0 * third)).powi(3) - first * second / (6.0 * third * third) + zeroth / (2.0 * third);
    let root = ((second / (3.0 * third)).powi(2) - first / (3.0 * third)).max(0.0).sqrt();
    let u = if v < 0.0 { -root } else { root };
    let cosine = if u == 0.0 { 0.0 } else { (v / u.powi(3)).clamp(-1.0, 1.0) };
    let w = (PI + cosine.acos()) / 3.0;
    let p = (2.0 * u * w.cos() - second / (3.0 * third)).clamp(0.0, 1.0 - delta);
    (p, p + delta)
}

fn wilson(p: f64, n: f64, z: f64) -> (f64, f64) {
    let square = z * z;
    let middle = p + square / (2.0 * n);
    let spread = z * (p * (1.0 - p) / n + square / (4.0 * n * n)).sqrt();
    let under = 1.0 + square / n;
    (((middle - spread) / under).max(0.0), ((middle + spread) / under).min(1.0))
}

/// Chance of `x` marked ones among `drawn`, of `all` with `marked` marked.
pub(crate) fn hypergeometric(x: f64, marked: f64, drawn: f64, all: f64) -> f64 {
    if x < 0.0 || x > marked || x > drawn || drawn - x > all - marked {
        return 0.0;
    }
    let p = drawn / all;
    if all <= drawn {
        return 1.0;
    }
    // Loader: a ratio of binomial chances keeps every digit.
    binomial(x, marked, p) * binomial(drawn - x, all - marked, p) / binomial(drawn, all, p)
}

/// `E |X - E X|` of a hypergeometric count, by de Moivre's identity.
pub(crate) fn hypergeometric_deviation(marked: f64, drawn: f64, all: f64) -> f64 {
    if marked <= 0.0 || all <= 0.0 || drawn <= 0.0 || drawn >= all || marked >= all {
        return 0.0;
    }
    let mean = marked * drawn / all;
    let k = mean.floor() + 1.0;
    2.0 * k * (all - marked - drawn + k) / all * hypergeometric(k, marked, drawn, all)
}

/// `P(X >= x)` of `n` trials of chance `p`.
pub(crate) fn binomial_tail(x: f64, n: f64, p: f64) -> f64 {
    if x <= 0.0 || p >= 1.0 {
        return 1.0;
    }
    if p <= 0.0 || x > n {
        return 0.0;
    }
    let (x, n) = (x.ceil(), n.round());
    if n > 1e6 {
        let deviation = (n * p * (1.0 - p)).sqrt();
        return normal_sf((x - 0.5 - n * p) / deviation);
    }
    // The ratio of neighbouring chances, from x upwards; from below where that is the shorter way to the mean.
    let odds = p / (1.0 - p);
    let upwards = x >= n * p;
    let start = if upwards { x } else { x - 1.0 };
    let (mut chance, mut at) = (binomial(start, n, p), start);
    let mut sum = 0.0;
    while chance > sum * 1e-17 && (0.0..=n).contains(&at) {
        sum += chance;
        if upwards {
            chance *= (n - at) / (at + 1.0) * odds;
            at += 1.0;
        } else {
            chance *= at / ((n - at + 1.0) * odds);
            at -= 1.0;
        }
    }
    if upwards { sum.min(1.0) } else { (1.0 - sum).max(0.0) }
}
