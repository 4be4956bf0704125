//! Exact distributions of two-sample statistics: every order of the pooled rows is equally likely, so probabilities are
//! shares of the lattice paths from (0, 0) to (n, m).
//!
//! J. L. Hodges, "The significance probability of the Smirnov two-sample test", 1958; with ties as in G. Schröer and
//! D. Trenkler, "Exact and randomization distributions of Kolmogorov-Smirnov tests for two or three samples", 1995. A
//! path at (i, j) came by its last step from (i - 1, j) with the chance i / (i + j), which keeps the recurrence between
//! 0 and 1, and the small probabilities as exact as the large ones.
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::many_single_char_names,
    reason = "the callers bound the sizes by what can be enumerated; letters as in the papers"
)]

use std::collections::BTreeMap;

/// `P(max |i/n - j/m| >= d)` over all paths, where `d` = `h` / lcm(n, m). Without ties.
pub(crate) fn smirnov_sf(n: u64, m: u64, h: u64) -> f64 {
    if h == 0 {
        return 1.0;
    }
    if n == m { smirnov_square_sf(n, h) } else { smirnov_band_sf(n, m, h) }
}

/// Equal sizes: `2 sum (-1)^(k+1) C(2n, n - k h) / C(2n, n)`.
fn smirnov_square_sf(n: u64, h: u64) -> f64 {
    let size = n as f64;
    let (mut sum, mut ratio, mut sign) = (0.0, 1.0, 1.0);
    let mut reached = 0;
    while reached + h <= n {
        for j in reached..reached + h {
            ratio *= (size - j as f64) / (size + j as f64 + 1.0);
        }
        reached += h;
        sum += sign * ratio;
        sign = -sign;
        if ratio < 1e-300 {
            break;
        }
    }
    (2.0 * sum).clamp(0.0, 1.0)
}

/// Different sizes. Only what lies inside the band is walked; outside, the probability is 1.
fn smirnov_band_sf(n: u64, m: u64, h: u64) -> f64 {
    let divisor = gcd(n, m);
    // |i/n - j/m| < d  <=>  |i * up - j * across| < h
    let (up, across) = ((m / divisor) as i64, (n / divisor) as i64);
    let (rows, columns, h) = (n as i64, m as i64, h as i64);
    let mut outside = vec![1.0_f64; m as usize + 1];
    for i in 0..=rows {
        let low = ((i * up - h).div_euclid(across) + 1).max(0);
        let high = (i * up + h - 1).div_euclid(across).min(columns);
        // The band moves to the right: what it leaves behind is outside, and what it has not reached still says 1.
        if low > 0 && low <= columns + 1 {
            outside[low as usize - 1] = 1.0;
        }
        for j in low..=high {
            let at = j as usize;
            outside[at] = if i == 0 && j == 0 {
                0.0
            } else {
                let along = i as f64 / (i + j) as f64;
                let before = if at > 0 { outside[at - 1] } else { 0.0 };
                let below = if i > 0 { outside[at] } else { 0.0 };
                along * below + (1.0 - along) * before
            };
        }
    }
    outside[m as usize].clamp(0.0, 1.0)
}

/// `P(max over the ends of tied groups of |i/n - j/m| >= d)`: conditional on the sizes of the groups, of which the last
/// one is the end of everything. `h` = d n m, a whole number.
pub(crate) fn smirnov_tied_sf(n: u64, m: u64, h: u64, groups: &[u64]) -> f64 {
    let (rows, columns) = (n as i64, m as i64);
    let mut group_ends = vec![false; (n + m) as usize + 1];
    let mut end = 0;
    for size in groups {
        end += size;
        group_ends[end as usize] = true;
    }
    let mut outside = vec![0.0_f64; m as usize + 1];
    for i in 0..=rows {
        for j in 0..=columns {
            let at = j as usize;
            let checked = group_ends[(i + j) as usize] && (i * columns - j * rows).unsigned_abs() >= h;
            outside[at] = if checked {
                1.0
            } else if i + j == 0 {
                0.0
            } else {
                let along = i as f64 / (i + j) as f64;
                let below = if i > 0 { outside[at] } else { 0.0 };
                let before = if at > 0 { outside[at - 1] } else { 0.0 };
                along * below + (1.0 - along) * before
            };
        }
    }
    outside[m as usize].clamp(0.0, 1.0)
}

/// What `kuiper_sf` would cost, in steps.
pub(crate) fn kuiper_steps(n: u64, m: u64, h: u64) -> u128 {
    2 * u128::from(h) * u128::from(n + 1) * u128::from(m + 1)
}

/// `P(max - min of i/n - j/m >= v)` over all paths, where `v` = `h` / lcm(n, m). Without ties.
///
/// A path of range r < h fits h - r of the windows of width h - 1 that hold its start, and one less of those of width
/// h - 2, so the difference of the two sums counts each such path once.
pub(crate) fn kuiper_sf(n: u64, m: u64, h: u64) -> f64 {
    if h == 0 {
        return 1.0;
    }
    let divisor = gcd(n, m);
    let (up, across) = ((m / divisor) as i64, (n / divisor) as i64);
    let h = h as i64;
    let within = |width: i64| -> f64 { (0..=width).map(|below| inside(n, m, up, across, -below, width - below)).sum() };
    let inside_both = within(h - 1) - if h >= 2 { within(h - 2) } else { 0.0 };
    (1.0 - inside_both).clamp(0.0, 1.0)
}

/// Share of the paths with `low <= i up - j across <= high` everywhere.
fn inside(n: u64, m: u64, up: i64, across: i64, low: i64, high: i64) -> f64 {
    let mut share = vec![0.0_f64; m as usize + 1];
    for i in 0..=n as i64 {
        for j in 0..=m as i64 {
            let at = j as usize;
            let height = i * up - j * across;
            share[at] = if height < low || height > high {
                0.0
            } else if i + j == 0 {
                1.0
            } else {
                let along = i as f64 / (i + j) as f64;
                let below = if i > 0 { share[at] } else { 0.0 };
                let before = if at > 0 { share[at - 1] } else { 0.0 };
                along * below + (1.0 - along) * before
            };
        }
    }
    share[m as usize]
}

/// `P(zeta >= observed)` of the Cramér-von Mises statistic in Anderson's whole numbers: zeta sums `(a j - b i)^2` over
/// the points of a path, a = lcm/m, b = lcm/n. Y. Xiao, A. Gordon and A. Yakovlev (Journal of Statistical Software 17(8),
/// 2006). Without ties.
pub(crate) fn cramer_von_mises_sf(n: u64, m: u64, observed: i128) -> f64 {
    let divisor = gcd(n, m);
    let (a, b) = (i128::from(n / divisor), i128::from(m / divisor));
    let mut states: Vec<BTreeMap<i128, f64>> = vec![BTreeMap::new(); m as usize + 1];
    for i in 0..=i128::from(n) {
        for j in 0..=i128::from(m) {
            let at = j as usize;
            if i + j == 0 {
                states[0] = BTreeMap::from([(0, 1.0)]);
                continue;
            }
            let along = i as f64 / (i + j) as f64;
            let added = (a * j - b * i).pow(2);
            let mut next = BTreeMap::new();
            if i > 0 {
                for (value, share) in &states[at] {
                    *next.entry(value + added).or_insert(0.0) += along * share;
                }
            }
            if j > 0 {
                for (value, share) in &states[at - 1] {
                    *next.entry(value + added).or_insert(0.0) += (1.0 - along) * share;
                }
            }
            states[at] = next;
        }
    }
    // A sum of nothing is -0.
    (states[m as usize].range(observed..).map(|(_, share)| share).sum::<f64>() + 0.0).clamp(0.0, 1.0)
}

/// Greatest common divisor; 1 for two zeros.
pub(crate) fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}
