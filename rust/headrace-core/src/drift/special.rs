//! The special functions behind p-values, each to about twelve digits: incomplete gamma, chi-square, normal, binomial.
//!
//! Written here because three functions are not worth a crate, and because the tails must keep their relative accuracy:
//! prefactors are taken through Loader's saddle-point form (C. Loader, "Fast and accurate computation of binomial
//! probabilities", 2000), never as a difference of large logarithms.

#![allow(clippy::many_single_char_names, reason = "letters as in the papers")]

use std::f64::consts::{PI, TAU};

/// Of the logarithm of the factorial, above Stirling's formula: `ln x! - ((x + 1/2) ln x - x + ln(2 pi) / 2)`, x > 0.
pub(crate) fn stirling_error(x: f64) -> f64 {
    // ln Gamma's asymptotic series holds from 16 on; below, the recurrence of the factorial carries it up.
    let mut shift = 0.0;
    let mut at = x;
    while at < 16.0 {
        // error(x) - error(x + 1) = (x + 1/2) ln(1 + 1/x) - 1
        shift += (at + 0.5) * (1.0 / at).ln_1p() - 1.0;
        at += 1.0;
    }
    let square = at * at;
    let series = 1.0 / 12.0
        - (1.0 / 360.0 - (1.0 / 1260.0 - (1.0 / 1680.0 - (1.0 / 1188.0) / square) / square) / square) / square;
    shift + series / at
}

/// `ln Gamma(x + 1)`, x >= 0.
pub(crate) fn ln_factorial(x: f64) -> f64 {
    if x <= 0.0 { 0.0 } else { (x + 0.5) * x.ln() - x + 0.5 * TAU.ln() + stirling_error(x) }
}

/// `x ln(x / mean) + mean - x`, without cancellation where x is close to the mean.
fn deviance(x: f64, mean: f64) -> f64 {
    let gap = x - mean;
    if gap.abs() < 0.1 * (x + mean) {
        let ratio = gap / (x + mean);
        let mut sum = gap * ratio;
        let square = ratio * ratio;
        let mut term = 2.0 * x * ratio;
        let mut odd = 3.0;
        loop {
            term *= square;
            let next = sum + term / odd;
            if next.to_bits() == sum.to_bits() {
                return sum;
            }
            sum = next;
            odd += 2.0;
        }
    }
    x * (x / mean).ln() + mean - x
}

/// `mean^x e^-mean / Gamma(x + 1)`.
fn poisson(x: f64, mean: f64) -> f64 {
    if x == 0.0 { (-mean).exp() } else { (-stirling_error(x) - deviance(x, mean)).exp() / (TAU * x).sqrt() }
}

/// Probability of `x` successes in `n` trials of chance `p`; `x` and `n` whole.
pub(crate) fn binomial(x: f64, n: f64, p: f64) -> f64 {
    let q = 1.0 - p;
    if p <= 0.0 || q <= 0.0 {
        let sure = if p <= 0.0 { 0.0 } else { n };
        return f64::from(u8::from(x.to_bits() == f64::to_bits(sure)));
    }
    if x <= 0.0 {
        return (n * (-p).ln_1p()).exp();
    }
    if x >= n {
        return (n * p.ln()).exp();
    }
    let exponent =
        stirling_error(n) - stirling_error(x) - stirling_error(n - x) - deviance(x, n * p) - deviance(n - x, n * q);
    exponent.exp() * (n / (TAU * x * (n - x))).sqrt()
}

/// Upper regularised incomplete gamma function `Q(a, x)`, a > 0, x >= 0.
pub(crate) fn gamma_q(a: f64, x: f64) -> f64 {
    if x.is_nan() || a.is_nan() {
        return f64::NAN;
    }
    if x <= 0.0 {
        return 1.0;
    }
    if x.is_infinite() {
        return 0.0;
    }
    let front = poisson(a, x);
    if x < a + 1.0 {
        let (mut sum, mut term, mut under) = (1.0, 1.0, a);
        loop {
            under += 1.0;
            term *= x / under;
            sum += term;
            if term < sum * 1e-17 {
                return (1.0 - front * sum).clamp(0.0, 1.0);
            }
        }
    }
    // Lentz's continued fraction.
    let tiny = 1e-300;
    let mut b = x + 1.0 - a;
    let mut c = 1.0 / tiny;
    let mut d = 1.0 / b;
    let mut fraction = d;
    let mut step = 1.0;
    loop {
        let numerator = -step * (step - a);
        b += 2.0;
        d = numerator * d + b;
        if d.abs() < tiny {
            d = tiny;
        }
        c = b + numerator / c;
        if c.abs() < tiny {
            c = tiny;
        }
        d = 1.0 / d;
        let factor = d * c;
        fraction *= factor;
        if (factor - 1.0).abs() < 1e-15 || step > 1e6 {
            return (front * a * fraction).clamp(0.0, 1.0);
        }
        step += 1.0;
    }
}

/// `P(X > x)` of chi-square with `df` degrees of freedom. Without a degree of freedom there is nothing to see: 1.
#[must_use]
pub fn chi2_sf(x: f64, df: f64) -> f64 {
    if df <= 0.0 { 1.0 } else { gamma_q(df / 2.0, x / 2.0) }
}

/// The point that chi-square exceeds with probability `p`.
pub(crate) fn chi2_isf(p: f64, df: f64) -> f64 {
    if df <= 0.0 {
        return 0.0;
    }
    let mut high = df + 1.0;
    while chi2_sf(high, df) > p {
        high *= 2.0;
    }
    bisect(0.0, high, |x| chi2_sf(x, df) > p)
}

/// `P(X > x)` of the standard normal.
pub(crate) fn normal_sf(x: f64) -> f64 {
    let half = 0.5 * gamma_q(0.5, 0.5 * x * x);
    if x < 0.0 { 1.0 - half } else { half }
}

/// The point that the standard normal exceeds with probability `p`, 0 < p < 1.
pub(crate) fn normal_isf(p: f64) -> f64 {
    if p > 0.5 {
        return -normal_isf(1.0 - p);
    }
    // Abramowitz and Stegun 26.2.23, then Newton's steps on the logarithm, which is nearly a parabola.
    let t = (-2.0 * p.max(f64::MIN_POSITIVE).ln()).sqrt();
    let mut x =
        t - (2.515_517 + t * (0.802_853 + t * 0.010_328)) / (1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308)));
    for _ in 0..4 {
        let tail = normal_sf(x);
        let density = (-0.5 * x * x).exp() / TAU.sqrt();
        if density <= 0.0 || tail <= 0.0 {
            break;
        }
        x += (tail / p).ln() * tail / density;
    }
    x
}

/// The noncentrality with which chi-square of `df` degrees exceeds `critical` with probability `power`. By Sankaran's
/// normal approximation (Biometrika 1959), good to about one percent.
pub(crate) fn noncentrality(critical: f64, df: f64, power: f64) -> f64 {
    if df <= 0.0 {
        return f64::INFINITY;
    }
    let beyond = |lambda: f64| {
        let (first, second, third) = (df + lambda, df + 2.0 * lambda, df + 3.0 * lambda);
        let h = 1.0 - 2.0 * first * third / (3.0 * second * second);
        let p = second / (first * first);
        let m = (h - 1.0) * (1.0 - 3.0 * h);
        let mean = 1.0 + h * p * (h - 1.0 - 0.5 * (2.0 - h) * m * p);
        let deviation = h * (2.0 * p).sqrt() * (1.0 + 0.5 * m * p);
        normal_sf(((critical / first).powf(h) - mean) / deviation)
    };
    let mut high = critical + 1.0;
    while beyond(high) < power {
        high *= 2.0;
    }
    bisect(0.0, high, |lambda| beyond(lambda) < power)
}

/// Bessel's `K_1/4(x)`, scaled: `e^x K(x)`. By the trapezoidal rule on `K_v(x) = integral of e^(-x cosh t) cosh(v t)`,
/// which converges faster than any power.
pub(crate) fn bessel_quarter_scaled(x: f64) -> f64 {
    let step = 1.0 / 32.0;
    let mut sum = 0.5;
    let mut t = 0.0;
    loop {
        t += step;
        // cosh t - 1 by the half angle keeps small t exact.
        let half = (0.5_f64 * t).sinh();
        let term = (-2.0 * x * half * half).exp() * (0.25 * t).cosh();
        sum += term;
        if term < sum * 1e-17 {
            return sum * step;
        }
    }
}

/// Where a falling condition ends: `holds` is true at `low` and false at `high`.
pub(crate) fn bisect(mut low: f64, mut high: f64, holds: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high || high - low <= 1e-14 * high.abs() {
            break;
        }
        if holds(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// `Gamma(k + 1/2) / Gamma(k + 1)` for whole k.
pub(crate) fn half_gamma_ratio(k: u32) -> f64 {
    (1..=k).fold(PI.sqrt(), |ratio, i| ratio * (f64::from(i) - 0.5) / f64::from(i))
}
