//! Statistics that do not know an order.
#![allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]

use std::f64::consts::LN_2;

use super::column::{Measure, Settings};
use super::counts;
use super::draws::Null;
use super::kolmogorov::at_a_point;
use super::shape::{Coarse, Shape};
use super::special::{chi2_isf, chi2_sf, noncentrality};
use super::values::chance_variation;

/// What [`divergences`] measures.
const NAMES: [&str; 7] = ["total_variation", "l_infinity", "jensen_shannon", "hellinger", "psi", "chi2", "g"];

/// Statistics that do not know an order, over cells that are not too rare.
pub(crate) fn divergences(coarse: &Coarse, shape: &Shape, settings: &Settings, measures: &mut Vec<Measure>) {
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
