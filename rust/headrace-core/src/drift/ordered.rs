//! Statistics of ordered cells, all of them from the differences of shares, so that observed and drawn ones are computed
//! by the same lines.
//!
//! Between the ends of an interval the distribution functions are taken as straight; `bound` says how much of each
//! statistic that can hide. Of what lies beyond the reference's range only the means speak.

#![allow(clippy::inline_always, reason = "only what is inlined is compiled for the processor at hand")]

use fearless_simd::{Level, dispatch};

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

/// Rows of gaps that are looked at together.
const TOGETHER: usize = 8;

/// From the gaps (live share less reference share) of the cells, their widths and their pooled shares.
pub(crate) fn ordered(gaps: &[f64], widths: &[f64], pooled: &[f64]) -> Ordered {
    let [one] = together(gaps.as_chunks::<1>().0, widths, pooled);
    one
}

/// [`ordered`] of many rows of gaps, several at a time; each gets the same bits as by itself.
pub(crate) struct Drawn<'a> {
    widths: &'a [f64],
    pooled: &'a [f64],
    /// Of each cell, the gaps of the rows that are waiting.
    waiting: Vec<[f64; TOGETHER]>,
    count: usize,
    found: Vec<Ordered>,
    level: Level,
}

impl<'a> Drawn<'a> {
    pub(crate) fn new(widths: &'a [f64], pooled: &'a [f64]) -> Self {
        let waiting = vec![[0.0; TOGETHER]; pooled.len()];
        Self { widths, pooled, waiting, count: 0, found: Vec::new(), level: Level::new() }
    }

    pub(crate) fn add(&mut self, gaps: &[f64]) {
        for (slots, gap) in self.waiting.iter_mut().zip(gaps) {
            slots[self.count] = *gap;
        }
        self.count += 1;
        if self.count == TOGETHER {
            self.look();
        }
    }

    fn look(&mut self) {
        let found = dispatch!(self.level, _simd => together(&self.waiting, self.widths, self.pooled));
        self.found.extend(found.into_iter().take(std::mem::take(&mut self.count)));
    }

    /// Of all rows, in the order in which they came.
    pub(crate) fn finish(mut self) -> Vec<Ordered> {
        self.look();
        self.found
    }
}

#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "with iterators the compiler makes no vectors")]
fn together<const N: usize>(gaps: &[[f64; N]], widths: &[f64], pooled: &[f64]) -> [Ordered; N] {
    let (mut sum, mut above, mut below) = ([0.0; N], [0.0; N], [0.0; N]);
    let (mut area, mut square, mut cramer) = ([0.0; N], [0.0; N], [0.0; N]);
    for ((gap, width), share) in gaps.iter().zip(widths).zip(pooled) {
        let before = sum;
        let mut mean_square = [0.0; N];
        for i in 0..N {
            sum[i] += gap[i];
            above[i] = if sum[i] > above[i] { sum[i] } else { above[i] };
        }
        for i in 0..N {
            let fallen = -sum[i];
            below[i] = if fallen > below[i] { fallen } else { below[i] };
            mean_square[i] = (before[i] * before[i] + before[i] * sum[i] + sum[i] * sum[i]) / 3.0;
            cramer[i] += share * mean_square[i];
        }
        if *width > 0.0 {
            for i in 0..N {
                let height = before[i].abs() + sum[i].abs();
                // Where the line crosses zero there are two triangles.
                let crossed = 0.5 * (before[i] * before[i] + sum[i] * sum[i]) / height;
                square[i] += width * mean_square[i];
                area[i] += width * if before[i] * sum[i] >= 0.0 { 0.5 * height } else { crossed };
            }
        }
    }
    std::array::from_fn(|i| Ordered {
        kolmogorov: if above[i] > below[i] { above[i] } else { below[i] },
        kuiper: above[i] + below[i],
        wasserstein: area[i],
        energy: (2.0 * square[i]).sqrt(),
        cramer: cramer[i],
    })
}

/// How much more (or less) each statistic could be if the values inside the intervals were known.
///
/// `reach` tells how far a cell without ends can go, from the extremes that both sides know; where none is known it is
/// infinite, and so is what may hide there.
pub(crate) fn bounds(shape: &Shape, seen: &Ordered, reach: impl Fn(usize) -> f64) -> Ordered {
    let (mut step, mut area, mut square) = (0.0_f64, 0.0, 0.0);
    for (at, spread) in shape.spread.iter().enumerate() {
        let (p, q) = (shape.p[at], shape.q[at]);
        if *spread {
            step = step.max(p.min(q));
            area += shape.widths[at] * 0.5 * (p + q);
            square += shape.widths[at] * p.max(q).powi(2);
            if shape.beyond[at] && p.max(q) > 0.0 {
                area += reach(at) * p.max(q);
                square += reach(at) * p.max(q).powi(2);
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_rows_are_what_each_is_alone() {
        let mut random = crate::drift::draws::Random::new(3);
        #[allow(clippy::cast_precision_loss, reason = "any numbers will do")]
        let mut unit = || (random.bits() >> 11) as f64 / 9_007_199_254_740_992.0 - 0.5;
        for rows in [0, 1, 8, 21] {
            let widths: Vec<f64> = (0..40).map(|at| if at % 7 == 0 { 0.0 } else { unit().abs() }).collect();
            let pooled: Vec<f64> = (0..40).map(|_| unit().abs()).collect();
            let gaps: Vec<Vec<f64>> = (0..rows).map(|_| (0..40).map(|_| unit()).collect()).collect();
            let mut drawn = Drawn::new(&widths, &pooled);
            for gaps in &gaps {
                drawn.add(gaps);
            }
            let alone: Vec<Ordered> = gaps.iter().map(|gaps| ordered(gaps, &widths, &pooled)).collect();
            assert_eq!(drawn.finish(), alone);
        }
    }
}
