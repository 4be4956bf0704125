//! Statistics of ordered cells, all of them from the differences of shares, so that observed and drawn ones are computed
//! by the same lines.
//!
//! Between the ends of an interval the distribution functions are taken as straight; `bound` says how much of each
//! statistic that can hide. Of what lies beyond the reference's range only the means speak.

use super::shape::Shape;

/// Of one column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ordered {
    pub(crate) kolmogorov: f64,
    pub(crate) kuiper: f64,
    pub(crate) wasserstein: f64,
    pub(crate) energy: f64,
    /// `integral of (F - G)^2 dH`, without the factor of the sizes.
    pub(crate) cramer: f64,
}

/// From the gaps (live share less reference share) of the cells, their widths and their pooled shares.
pub(crate) fn ordered(gaps: &[f64], widths: &[f64], pooled: &[f64]) -> Ordered {
    let (mut sum, mut above, mut below) = (0.0_f64, 0.0_f64, 0.0_f64);
    let (mut area, mut square, mut cramer) = (0.0, 0.0, 0.0);
    for ((gap, width), share) in gaps.iter().zip(widths).zip(pooled) {
        let before = sum;
        sum += gap;
        above = above.max(sum);
        below = below.max(-sum);
        let mean_square = (before * before + before * sum + sum * sum) / 3.0;
        cramer += share * mean_square;
        if *width > 0.0 {
            square += width * mean_square;
            area += width
                * if before * sum >= 0.0 {
                    0.5 * (before.abs() + sum.abs())
                } else {
                    0.5 * (before * before + sum * sum) / (before.abs() + sum.abs())
                };
        }
    }
    Ordered {
        kolmogorov: above.max(below),
        kuiper: above + below,
        wasserstein: area,
        energy: (2.0 * square).sqrt(),
        cramer,
    }
}

/// How much more (or less) each statistic could be if the values inside the intervals were known.
pub(crate) fn bounds(shape: &Shape, seen: &Ordered) -> Ordered {
    let (mut step, mut area, mut square) = (0.0_f64, 0.0, 0.0);
    for (at, spread) in shape.spread.iter().enumerate() {
        if *spread {
            let (p, q) = (shape.p[at], shape.q[at]);
            step = step.max(p.min(q));
            area += shape.widths[at] * 0.5 * (p + q);
            square += shape.widths[at] * p.max(q).powi(2);
        }
    }
    Ordered {
        kolmogorov: step,
        kuiper: 2.0 * step,
        wasserstein: area,
        energy: (2.0 * square).sqrt(),
        cramer: step * (2.0 * seen.kolmogorov + step),
    }
}

/// The quartiles' distance in the reference, straight inside intervals; 0 if an atom holds both.
pub(crate) fn quartile_range(shape: &Shape) -> f64 {
    let quantile = |level: f64| {
        let mut sum = 0.0;
        for (at, share) in shape.p.iter().enumerate() {
            if sum + share >= level && *share > 0.0 {
                let inside = ((level - sum) / share).clamp(0.0, 1.0);
                return shape.places[at] + (inside - 0.5) * shape.widths[at];
            }
            sum += share;
        }
        f64::NAN
    };
    let range = quantile(0.75) - quantile(0.25);
    if range.is_finite() { range } else { 0.0 }
}
