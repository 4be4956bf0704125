//! A column's two rows of counts, made ready: shares, effective sizes, and where ordered cells lie.
#![allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]

use super::draws::Margins;
use crate::error::{Error, Result};
use crate::profile::{Bin, BinnedColumn, Kind};

/// Cells of one column: ordered ones ascend, from minus infinity to plus infinity where there are such rows.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) kind: Kind,
    pub(crate) counts: (Vec<u64>, Vec<u64>),
    pub(crate) p: Vec<f64>,
    pub(crate) q: Vec<f64>,
    /// Rows with a value, effective ones if they have weights.
    pub(crate) sizes: (f64, f64),
    /// Whether a count is a number of rows.
    pub(crate) whole: bool,
    /// Width of the cell: of intervals, else 0.
    pub(crate) widths: Vec<f64>,
    /// Whether values inside a cell may differ.
    pub(crate) spread: Vec<bool>,
    /// Where the cell lies; NaN if nowhere.
    pub(crate) places: Vec<f64>,
    /// Cells that the reference has none of, or more than its share of, by its making: [`Bin::Below`], [`Bin::Above`],
    /// [`Bin::Other`], [`Bin::Unseen`].
    pub(crate) beyond: Vec<bool>,
}

/// What makes a rate: rows of one kind among all rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Totals {
    /// All rows, in units of the counts.
    pub(crate) counted: (u64, u64),
    /// All rows, effective.
    pub(crate) effective: (f64, f64),
}

impl Totals {
    pub(crate) fn of(column: &BinnedColumn) -> Result<Self> {
        let (mut n, mut m) = (0_u64, 0_u64);
        let special = &column.special;
        let rest = [special.null, special.nan, special.pos_inf, special.neg_inf];
        let bins = column.reference.iter().copied().zip(column.live.iter().copied());
        for (a, b) in bins.chain(rest) {
            let (next_n, next_m) = (n.checked_add(a), m.checked_add(b));
            (n, m) = next_n.zip(next_m).ok_or_else(|| damaged(column, "its counts add up to more than 2^64"))?;
        }
        let effective = column.weighted.map_or((n as f64, m as f64), |weighted| weighted.effective);
        if !(effective.0 >= 0.0 && effective.1 >= 0.0) {
            return Err(damaged(column, "its effective number of rows is not a number"));
        }
        Ok(Self { counted: (n, m), effective })
    }

    /// Effective sizes of a part of the rows.
    pub(crate) fn part(&self, counts: (u64, u64)) -> (f64, f64) {
        let share = |count: u64, all: u64, effective: f64| {
            if all == 0 { 0.0 } else { effective * (count as f64 / all as f64) }
        };
        (share(counts.0, self.counted.0, self.effective.0), share(counts.1, self.counted.1, self.effective.1))
    }
}

impl Shape {
    pub(crate) fn of(column: &BinnedColumn, totals: &Totals) -> Result<Self> {
        if column.reference.len() != column.bins.len() || column.live.len() != column.bins.len() {
            return Err(damaged(column, "it has counts for more or fewer bins than it has"));
        }
        let mut shape = Self {
            kind: column.kind,
            counts: (column.reference.clone(), column.live.clone()),
            p: Vec::new(),
            q: Vec::new(),
            sizes: (0.0, 0.0),
            whole: column.weighted.is_none(),
            widths: Vec::with_capacity(column.bins.len() + 2),
            spread: Vec::with_capacity(column.bins.len() + 2),
            places: Vec::with_capacity(column.bins.len() + 2),
            beyond: Vec::with_capacity(column.bins.len() + 2),
        };
        for bin in &column.bins {
            let (width, spread, place, beyond) = match bin {
                Bin::Interval { low, high } => (width(*low, *high), true, f64::midpoint(*low, *high), false),
                Bin::Atom(value) => (0.0, false, *value, false),
                Bin::Below(end) | Bin::Above(end) => (0.0, true, *end, true),
                // Which values are among the others was decided by the reference too.
                Bin::Other | Bin::Unseen => (0.0, true, f64::NAN, true),
                Bin::Category(_) => (0.0, false, f64::NAN, false),
            };
            shape.widths.push(width);
            shape.spread.push(spread);
            shape.places.push(place);
            shape.beyond.push(beyond);
        }
        for (counts, first) in [(column.special.neg_inf, true), (column.special.pos_inf, false)] {
            if counts != (0, 0) {
                shape.insert(counts, first);
            }
        }
        let (n, m) = (shape.counts.0.iter().sum::<u64>(), shape.counts.1.iter().sum::<u64>());
        shape.sizes = totals.part((n, m));
        shape.p = shape.counts.0.iter().map(|count| *count as f64 / n as f64).collect();
        shape.q = shape.counts.1.iter().map(|count| *count as f64 / m as f64).collect();
        Ok(shape)
    }

    /// A cell of infinite values, first or last.
    fn insert(&mut self, counts: (u64, u64), first: bool) {
        let at = if first { 0 } else { self.widths.len() };
        self.counts.0.insert(at, counts.0);
        self.counts.1.insert(at, counts.1);
        self.widths.insert(at, 0.0);
        self.spread.insert(at, false);
        self.places.insert(at, if first { f64::NEG_INFINITY } else { f64::INFINITY });
        self.beyond.insert(at, false);
    }

    /// Whether both sides have a value.
    pub(crate) fn comparable(&self) -> bool {
        self.sizes.0 > 0.0 && self.sizes.1 > 0.0
    }

    /// `n m / (n + m)`.
    pub(crate) fn effective(&self) -> f64 {
        let (n, m) = self.sizes;
        if n > 0.0 && m > 0.0 { n * m / (n + m) } else { 0.0 }
    }

    pub(crate) fn margins(&self) -> Margins {
        let (n, m) = self.sizes;
        let pooled = self.p.iter().zip(&self.q).map(|(p, q)| (n * p + m * q) / (n + m)).collect();
        let rows = self.counts.0.iter().zip(&self.counts.1).map(|(a, b)| a + b).collect();
        Margins { sizes: self.sizes, pooled, rows: self.whole.then_some(rows) }
    }

    /// Fewer cells, none rarer than the chi-square limit wants; decided from the totals alone.
    ///
    /// A cell that the reference has no value of by its making joins others, or chance would fill it on one side only: of
    /// ordered cells the neighbours, of nominal ones those that are rare.
    pub(crate) fn coarse(&self) -> Coarse {
        let (n, m) = self.sizes;
        let fine = self.margins();
        let expects = |share: f64, rows: f64| share * n.min(m) >= rows;
        let groups = if self.kind == Kind::Ordered {
            let enough = |share: f64| share >= LEAST_SHARE && expects(share, 2.0 * LEAST_EXPECTED);
            self.neighbours(&fine.pooled, enough)
        } else {
            self.frequent(&fine.pooled, |share| expects(share, LEAST_EXPECTED))
        };
        let add = |of: &[f64], group: &[usize]| group.iter().map(|at| of[*at]).sum::<f64>();
        let p: Vec<f64> = groups.iter().map(|group| add(&self.p, group)).collect();
        let q: Vec<f64> = groups.iter().map(|group| add(&self.q, group)).collect();
        let hides = |group: &Vec<usize>| group.len() > 1 || group.iter().any(|at| self.spread[*at]);
        let hidden = groups.iter().enumerate().filter(|(_, group)| hides(group)).map(|(at, _)| p[at].min(q[at])).sum();
        let margins = Margins {
            sizes: self.sizes,
            pooled: groups.iter().map(|group| add(&fine.pooled, group)).collect(),
            rows: fine.rows.map(|rows| groups.iter().map(|group| group.iter().map(|at| rows[*at]).sum()).collect()),
        };
        Coarse { p, q, margins, hidden }
    }

    /// Ordered cells from left to right, closed as soon as they hold enough; what is left over joins the last.
    fn neighbours(&self, pooled: &[f64], enough: impl Fn(f64) -> bool) -> Vec<Vec<usize>> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let (mut open, mut share) = (Vec::new(), 0.0);
        for (at, part) in pooled.iter().enumerate() {
            open.push(at);
            share += part;
            if enough(share) && !self.beyond[at] {
                groups.push(std::mem::take(&mut open));
                share = 0.0;
            }
        }
        match groups.last_mut() {
            Some(last) => last.append(&mut open),
            None => groups.push(open),
        }
        groups
    }

    /// Frequent categories by themselves, and the rare ones together, with the least frequent if they are still rare.
    fn frequent(&self, pooled: &[f64], enough: impl Fn(f64) -> bool) -> Vec<Vec<usize>> {
        let (mut groups, mut rare): (Vec<Vec<usize>>, _) = (Vec::new(), Vec::new());
        for (at, share) in pooled.iter().enumerate() {
            if enough(*share) && !self.beyond[at] {
                groups.push(vec![at]);
            } else if *share > 0.0 {
                rare.push(at);
            }
        }
        let least = (0..groups.len()).min_by(|a, b| pooled[groups[*a][0]].total_cmp(&pooled[groups[*b][0]]));
        match least {
            _ if rare.is_empty() => {}
            Some(least) if !enough(rare.iter().map(|at| pooled[*at]).sum()) => groups[least].append(&mut rare),
            _ => groups.push(rare),
        }
        groups
    }
}

/// Rows that the rarer side must expect in a cell for the chi-square limit.
const LEAST_EXPECTED: f64 = 5.0;
/// Share that an ordered cell must have. The edges are quantiles of the reference, so its counts are nearly fixed, and
/// live counts skewed to the right as long as only few rows of the reference set a cell's ends; twenty cells are also
/// about what these statistics see most with.
const LEAST_SHARE: f64 = 0.05;

/// Cells put together.
#[derive(Debug)]
pub(crate) struct Coarse {
    pub(crate) p: Vec<f64>,
    pub(crate) q: Vec<f64>,
    pub(crate) margins: Margins,
    /// So much total variation may hide inside the cells that were put together.
    pub(crate) hidden: f64,
}

/// A width that stays finite where the ends are far apart. An open end has none: nothing is known of it.
fn width(low: f64, high: f64) -> f64 {
    let width = high - low;
    if low.is_infinite() || high.is_infinite() {
        0.0
    } else if width.is_finite() {
        width.max(0.0)
    } else {
        f64::MAX
    }
}

fn damaged(column: &BinnedColumn, reason: &str) -> Error {
    Error::DamagedColumn { column: column.name.clone(), reason: reason.to_owned() }
}
