//! Distributions of the Kolmogorov-Smirnov, Kuiper and Cramér-von Mises statistics when nothing changed.
//!
//! One sample against a known distribution: R. Simard and P. L'Ecuyer, "Computing the two-sided Kolmogorov-Smirnov
//! distribution", Journal of Statistical Software 39(11), 2011, which is also what scipy's `kstwo` follows.
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::many_single_char_names,
    reason = "sample sizes are far below 2^53, what is truncated is a whole number of that size; letters as in the papers"
)]

use std::f64::consts::{FRAC_PI_2, PI, TAU};

use super::special::{bessel_quarter_scaled, binomial, bisect, half_gamma_ratio, ln_factorial, normal_isf};

/// Above this size the one-sided exact sum gives way to Maag's approximation, whose relative error is then below 1e-6.
const LARGEST_SUM: u64 = 1_000_000;

/// `P(sup |F_n - F| >= d)` for `n` values from a continuous distribution.
#[must_use]
pub fn kstwo_sf(d: f64, n: u64) -> f64 {
    if n == 0 || d.is_nan() {
        return f64::NAN;
    }
    if d >= 1.0 {
        return 0.0;
    }
    let size = n as f64;
    let t = size * d;
    if t <= 0.5 {
        return 1.0;
    }
    if t <= 1.0 {
        return 1.0 - (ln_factorial(size) + size * ((2.0 * t - 1.0) / size).ln()).exp();
    }
    if t >= size - 1.0 {
        return 2.0 * (size * (-d).ln_1p()).exp();
    }
    let spread = t * d;
    if d >= 0.5 {
        return 2.0 * one_sided_sf(d, n);
    }
    if n <= 140 {
        return if spread <= 4.0 { 1.0 - matrix_cdf(d, n) } else { 2.0 * one_sided_sf(d, n) };
    }
    if spread >= 370.0 {
        0.0
    } else if spread >= 2.2 {
        2.0 * one_sided_sf(d, n)
    } else if n <= 5_000 && size * d.powf(1.5) <= 1.4 {
        1.0 - matrix_cdf(d, n)
    } else {
        (1.0 - pelz_good_cdf(d, size)).clamp(0.0, 1.0)
    }
}

/// `kstwo_sf` for verdicts: above `n` = 100 by Kolmogorov's limit at `(sqrt(n) + 1 / (6 sqrt(n))) d`, which costs
/// nothing at any size and is too high or too low by a fraction of about `1 / n`. The size need not be whole.
#[must_use]
pub fn kolmogorov_sf(d: f64, n: f64) -> f64 {
    if n <= 0.0 || d.is_nan() {
        return 1.0;
    }
    if d > 1.0 {
        return 0.0;
    }
    if n <= 100.0 {
        return kstwo_sf(d, n.floor().max(1.0) as u64);
    }
    limit_sf((n.sqrt() + 1.0 / (6.0 * n.sqrt())) * d)
}

/// The distance that `kolmogorov_sf` gives the probability `p`.
#[must_use]
pub fn kolmogorov_isf(p: f64, n: f64) -> f64 {
    if n <= 0.0 {
        return f64::INFINITY;
    }
    let first = bisect(0.0, 3.0, |x| limit_sf(x) > p) / (n.sqrt() + 0.12 + 0.11 / n.sqrt());
    // Newton's steps on the logarithm, whose slope is about that of the limit: exact values cost much to look up.
    let mut d = first.min(1.0);
    for _ in 0..8 {
        let off = (kolmogorov_sf(d, n) / p).ln();
        if off.abs() < 1e-9 || !off.is_finite() {
            break;
        }
        d = (d + off / (4.0 * n * d)).clamp(0.0, 1.0);
    }
    d
}

/// How far a difference of two shares lies from its expectation, one-sided at level `tail`: normal with the largest
/// variance that a share can have, and half a row of either side for the steps.
pub(crate) fn at_a_point(sizes: (f64, f64), tail: f64) -> f64 {
    let rows = 1.0 / sizes.0 + 1.0 / sizes.1;
    normal_isf(tail).max(0.0) * 0.5 * rows.sqrt() + 0.5 * rows
}

/// One-sided confidence bounds of the true distance at level `alpha` each, and the distance that is significant at
/// `alpha` with probability `power`: `statistic` of `n` and `m` values.
#[must_use]
pub fn kolmogorov_bounds(statistic: f64, n: u64, m: u64, alpha: f64, power: f64) -> (f64, f64, f64) {
    let sizes = (n as f64, m as f64);
    let critical = kolmogorov_isf(alpha, sizes.0 * sizes.1 / (sizes.0 + sizes.1));
    (
        (statistic - critical).max(0.0),
        (statistic + at_a_point(sizes, alpha)).min(1.0),
        (critical + at_a_point(sizes, 1.0 - power)).min(1.0),
    )
}

/// Kolmogorov's limit: `2 sum (-1)^(k-1) e^(-2 k^2 x^2)`.
#[must_use]
pub fn limit_sf(x: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    if x < 1.18 {
        // The transformed series converges here in a few terms.
        let base = -PI * PI / (8.0 * x * x);
        let sum: f64 = (0..4).map(|k| (base * f64::from(2 * k + 1).powi(2)).exp()).sum();
        return 1.0 - TAU.sqrt() / x * sum;
    }
    let sum: f64 =
        (1..5).map(|k| f64::from(if k % 2 == 1 { 2 } else { -2 }) * (-2.0 * f64::from(k * k) * x * x).exp()).sum();
    sum.clamp(0.0, 1.0)
}

/// `P(sup (F_n - F) >= d)`: Smirnov's exact sum, each term as a binomial probability.
fn one_sided_sf(d: f64, n: u64) -> f64 {
    let size = n as f64;
    if n > LARGEST_SUM {
        let shifted = 6.0 * size * d + 1.0;
        return (-shifted * shifted / (18.0 * size)).exp();
    }
    let last = (size * (1.0 - d)).floor() as u64;
    let mut sum = 0.0;
    for j in 0..=last.min(n) {
        let chance = d + j as f64 / size;
        if chance < 1.0 {
            sum += d / chance * binomial(j as f64, size, chance);
        } else if j == n {
            sum += d / chance;
        }
    }
    sum.min(1.0)
}

/// Durbin's matrix, raised to the power n as by Marsaglia, Tsang and Wang (2003).
fn matrix_cdf(d: f64, n: u64) -> f64 {
    let size = n as f64;
    let k = (size * d).ceil();
    let h = k - size * d;
    let m = 2 * (k as usize) - 1;
    let mut base = vec![0.0; m * m];
    for row in 0..m {
        for column in 0..m.min(row + 2) {
            base[row * m + column] = 1.0;
        }
    }
    for i in 0..m {
        let power = h.powi(i32::try_from(i + 1).unwrap_or(i32::MAX));
        base[i * m] -= power;
        base[(m - 1) * m + i] -= h.powi(i32::try_from(m - i).unwrap_or(i32::MAX));
    }
    if 2.0 * h > 1.0 {
        base[(m - 1) * m] += (2.0 * h - 1.0).powi(i32::try_from(m).unwrap_or(i32::MAX));
    }
    let factorial: Vec<f64> = (0..=m).map(|i| ln_factorial(i as f64).exp()).collect();
    for row in 0..m {
        for column in 0..m.min(row + 2) {
            if row + 1 > column {
                base[row * m + column] /= factorial[row + 1 - column];
            }
        }
    }
    let (power, exponent) = matrix_power(&base, m, n);
    let middle = k as usize - 1;
    let entry = power[middle * m + middle];
    if entry <= 0.0 {
        return 0.0;
    }
    (entry.ln() + exponent + ln_factorial(size) - size * size.ln()).exp().clamp(0.0, 1.0)
}

/// `base^n` with the logarithm of a scale beside it.
fn matrix_power(base: &[f64], m: usize, n: u64) -> (Vec<f64>, f64) {
    let multiply = |a: &[f64], b: &[f64]| {
        let mut out = vec![0.0; m * m];
        for i in 0..m {
            for l in 0..m {
                let factor = a[i * m + l];
                for j in 0..m {
                    out[i * m + j] += factor * b[l * m + j];
                }
            }
        }
        let largest = out.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
        if largest > 0.0 {
            for value in &mut out {
                *value /= largest;
            }
            (out, largest.ln())
        } else {
            (out, 0.0)
        }
    };
    let mut result: Vec<f64> = (0..m * m).map(|i| f64::from(u8::from(i % (m + 1) == 0))).collect();
    let (mut square, mut rest) = (base.to_vec(), n);
    let (mut result_log, mut square_log) = (0.0, 0.0);
    while rest > 0 {
        if rest & 1 == 1 {
            let (next, log) = multiply(&result, &square);
            result = next;
            result_log += square_log + log;
        }
        rest >>= 1;
        if rest > 0 {
            let (next, log) = multiply(&square, &square);
            square = next;
            square_log = 2.0 * square_log + log;
        }
    }
    (result, result_log)
}

/// W. Pelz and I. J. Good (1976): the limit with corrections down to `n^(-3/2)`.
fn pelz_good_cdf(d: f64, size: f64) -> f64 {
    let z = d * size.sqrt();
    let (z2, pi2) = (z * z, PI * PI);
    let (z4, z6) = (z2 * z2, z2 * z2 * z2);
    let (mut k0, mut k1, mut k2, mut k3) = (0.0, 0.0, 0.0, 0.0);
    // Symmetric in k + 1/2, so only the positive half is summed, and doubled.
    for k in 0..40 {
        let a = pi2 * (f64::from(k) + 0.5).powi(2);
        let weight = (-a / (2.0 * z2)).exp();
        if weight == 0.0 {
            break;
        }
        k0 += weight;
        k1 += (a - z2) * weight;
        k2 += (6.0 * z6 + 2.0 * z4 + a * (2.0 * z4 - 5.0 * z2) + a * a * (1.0 - 2.0 * z2)) * weight;
        k3 += (a * a * a * (5.0 - 30.0 * z2) + a * a * (212.0 * z4 - 60.0 * z2) + a * (135.0 * z4 - 96.0 * z6)
            - 30.0 * z6
            - 90.0 * z4 * z4)
            * weight;
    }
    let (mut k2_whole, mut k3_whole) = (0.0, 0.0);
    for k in 1..40 {
        let b = pi2 * f64::from(k * k);
        let weight = (-b / (2.0 * z2)).exp();
        if weight == 0.0 {
            break;
        }
        k2_whole += b * weight;
        k3_whole += (3.0 * b * z2 - b * b) * weight;
    }
    let root = FRAC_PI_2.sqrt();
    let first = TAU.sqrt() / z * k0;
    let second = root / (3.0 * z4) * k1;
    let third = root * (k2 / (36.0 * z6 * z) - k2_whole / (18.0 * z2 * z));
    let fourth = root * (k3 / (3_240.0 * z6 * z4) + k3_whole / (108.0 * z6));
    first + second / size.sqrt() + third / size + fourth / (size * size.sqrt())
}

/// Kuiper's limit with Stephens' correction (Biometrika 1965), `P(V >= v)` at the effective size `n`.
#[must_use]
pub fn kuiper_sf(v: f64, n: f64) -> f64 {
    if n <= 0.0 || v.is_nan() {
        return 1.0;
    }
    let x = (n.sqrt() + 0.155 + 0.24 / n.sqrt()) * v;
    if x < 0.4 {
        return 1.0; // 1 - 7e-13 there
    }
    let sum: f64 = (1..100)
        .map(|j| {
            let square = f64::from(j * j) * x * x;
            2.0 * (4.0 * square - 1.0) * (-2.0 * square).exp()
        })
        .sum();
    sum.clamp(0.0, 1.0)
}

/// `P(W >= x)` of the limit of the Cramér-von Mises statistic: S. Csörgő and J. Faraway (JRSS B 1996), equation 1.3, and
/// far out, where that loses its digits, the first integral of N. V. Smirnov's series (1937).
pub(crate) fn cramer_von_mises_sf(x: f64) -> f64 {
    if x < 0.003 {
        return 1.0;
    }
    if x > 2.0 {
        // (2/pi) integral from pi to 2 pi of sqrt(u / -sin u) e^(-x u^2 / 2) / u du, by u = pi (3 - cos t) / 2, which
        // takes the poles at both ends away. The next integral is smaller by e^(-40 x).
        const STEPS: u32 = 512;
        let step = PI / f64::from(STEPS);
        let sum: f64 = (0..STEPS)
            .map(|i| {
                let t = (f64::from(i) + 0.5) * step;
                let past = PI * (0.5 * t).sin().powi(2); // u - pi
                let u = PI + past;
                (u / past.sin()).sqrt() * (-0.5 * x * u * u).exp() / u * t.sin()
            })
            .sum();
        return (sum * step).clamp(0.0, 1.0);
    }
    let mut cdf = 0.0;
    for k in 0..200_u32 {
        let y = f64::from(4 * k + 1);
        let q = y * y / (16.0 * x);
        let term =
            half_gamma_ratio(k) / (PI.powf(1.5) * x.sqrt()) * y.sqrt() * (-2.0 * q).exp() * bessel_quarter_scaled(q);
        cdf += term;
        if term < 1e-17 {
            break;
        }
    }
    (1.0 - cdf).clamp(0.0, 1.0)
}
