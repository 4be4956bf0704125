//! ADWIN: a window that shrinks when its older and its newer part differ in mean.
//!
//! Bifet and Gavalda 2007, "Learning from time-changing data with adaptive windowing", the version with an exponential
//! histogram (ADWIN2): row `i` holds at most `M` buckets of 2^i values, each a sum and a sum of squared deviations, so
//! that n values take O(M log n). At a check every cut between two buckets is tried:
//!
//! |mean0 - mean1| > sqrt(2 r v L) + 2/3 r L,  r = 1/n0 + 1/n1,  L = ln(2 ln(n) / delta),  v = variance of the window
//!
//! and while one holds, the oldest bucket is dropped. In the paper's semantics what remains is the window; river starts
//! anew with the next value, checks every 32nd value only, and takes n - (minimum - 1) for n in r. The order of the
//! operations is river's throughout, which is what makes the two agree index by index.

use super::option::{Semantics, between, count};
use super::state::{Reader, Writer, refuse};
use super::{Step, moderate};
use crate::Result;

/// Rows of the histogram: 2^62 values in the last are more than a counter of 64 bits sees.
const MOST_ROWS: usize = 62;

/// Options of [`Adwin`].
#[derive(Debug, Clone, PartialEq)]
pub struct AdwinOptions {
    /// Whether the window is kept after a detection (paper) or begun anew (river).
    pub semantics: Semantics,
    /// Bound of the rate of false cuts at a check.
    pub delta: f64,
    /// Every how many values the cuts are tried.
    pub clock: u64,
    /// Buckets of one size; one more, and the two oldest are merged.
    pub max_buckets: u64,
    /// Fewest values on either side of a cut.
    pub min_window: u64,
    /// No check before the window holds more than so many values.
    pub grace_period: u64,
}

impl AdwinOptions {
    /// The defaults of one semantics.
    #[must_use]
    pub fn of(semantics: Semantics) -> Self {
        let (clock, min_window, grace_period) = match semantics {
            Semantics::Paper => (1, 1, 0),
            Semantics::River => (32, 5, 10),
        };
        Self { semantics, delta: 0.002, clock, max_buckets: 5, min_window, grace_period }
    }

    fn checked(self) -> Result<Self> {
        between("delta", self.delta, (0.0, 1.0), false, "above 0 and below 1")?;
        count("clock", self.clock, (1, 1 << 31), "from 1 to 2^31")?;
        count("max_buckets", self.max_buckets, (2, 1000), "from 2 to 1000")?;
        count("min_window", self.min_window, (1, 1 << 31), "from 1 to 2^31")?;
        count("grace_period", self.grace_period, (0, 1 << 31), "from 0 to 2^31")?;
        Ok(self)
    }
}

/// The detector.
#[derive(Debug, Clone)]
pub struct Adwin {
    options: AdwinOptions,
    /// `stride` places a row, the oldest bucket of a row first.
    buckets: Vec<Bucket>,
    /// Buckets in use, a row.
    lengths: Vec<usize>,
    stride: usize,
    total: f64,
    deviation: f64,
    width: f64,
    /// Values until the next check.
    until_check: u64,
    /// The next value begins a new window.
    restart: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    total: f64,
    /// Sum of the squared deviations from the bucket's mean.
    deviation: f64,
}

#[expect(clippy::cast_precision_loss, reason = "a power of two is exact")]
fn bucket_size(row: usize) -> f64 {
    (1_u64 << row) as f64
}

impl Adwin {
    /// An empty window.
    pub fn new(options: AdwinOptions) -> Result<Self> {
        let options = options.checked()?;
        let stride = usize::try_from(options.max_buckets).unwrap_or(usize::MAX).saturating_add(1);
        let mut made = Self {
            until_check: options.clock,
            options,
            buckets: Vec::new(),
            lengths: Vec::new(),
            stride,
            total: 0.0,
            deviation: 0.0,
            width: 0.0,
            restart: false,
        };
        made.clear();
        Ok(made)
    }

    pub(super) fn options(&self) -> &AdwinOptions {
        &self.options
    }

    /// Number of values in the window.
    pub(super) fn width(&self) -> f64 {
        self.width
    }

    /// Mean of the window; 0 where it is empty.
    pub(super) fn estimation(&self) -> f64 {
        if self.width == 0.0 { 0.0 } else { self.total / self.width }
    }

    /// Variance of the window, of the population.
    pub(super) fn variance(&self) -> f64 {
        if self.width == 0.0 { 0.0 } else { (self.deviation / self.width).max(0.0) }
    }

    /// Buckets in use.
    pub(super) fn buckets(&self) -> usize {
        self.lengths.iter().sum()
    }

    fn clear(&mut self) {
        self.lengths.clear();
        self.lengths.push(0);
        self.buckets.clear();
        self.buckets.resize(self.stride, Bucket::default());
        self.total = 0.0;
        self.deviation = 0.0;
        self.width = 0.0;
        self.until_check = self.options.clock;
        self.restart = false;
    }

    fn insert(&mut self, value: f64) {
        self.buckets[self.lengths[0]] = Bucket { total: value, deviation: 0.0 };
        self.lengths[0] += 1;
        self.width += 1.0;
        if self.width > 1.0 {
            let apart = value - self.total / (self.width - 1.0);
            self.deviation += (self.width - 1.0) * apart * apart / self.width;
        }
        self.total += value;
        if self.lengths[0] == self.stride {
            self.merge();
        }
    }

    /// Joins the two oldest buckets of a full row into one of the next, from the first row on.
    fn merge(&mut self) {
        let mut row = 0;
        while self.lengths[row] == self.stride {
            let size = bucket_size(row);
            let start = row * self.stride;
            let (older, newer) = (self.buckets[start], self.buckets[start + 1]);
            // Exact, as the size is a power of two.
            let share = 1.0 / size;
            let apart = older.total * share - newer.total * share;
            let deviation = older.deviation + newer.deviation + size * 0.5 * apart * apart;
            if row + 1 == self.lengths.len() {
                self.lengths.push(0);
                self.buckets.resize(self.buckets.len() + self.stride, Bucket::default());
            }
            let place = start + self.stride + self.lengths[row + 1];
            self.buckets[place] = Bucket { total: older.total + newer.total, deviation };
            self.lengths[row + 1] += 1;
            self.forget_oldest(row, 2);
            row += 1;
        }
    }

    fn forget_oldest(&mut self, row: usize, count: usize) {
        let start = row * self.stride;
        let used = &mut self.buckets[start..start + self.lengths[row]];
        // So few that a call to move them costs more than the move.
        for index in count..used.len() {
            used[index - count] = used[index];
        }
        self.lengths[row] -= count;
    }

    /// Drops the oldest bucket.
    fn shrink(&mut self) {
        let row = self.lengths.len() - 1;
        let start = row * self.stride;
        let size = bucket_size(row);
        let Bucket { total, deviation } = self.buckets[start];
        self.width -= size;
        self.total -= total;
        let apart = total / size - self.total / self.width;
        self.deviation -= deviation + size * self.width * apart * apart / (size + self.width);
        self.forget_oldest(row, 1);
        // The paper's window outlives a cut, and rounding must not leave it with a variance below 0.
        if self.options.semantics == Semantics::Paper {
            self.deviation = self.deviation.max(0.0);
        }
        while self.lengths.len() > 1 && self.lengths.last() == Some(&0) {
            self.lengths.pop();
            self.buckets.truncate(self.lengths.len() * self.stride);
        }
    }

    /// Whether some cut holds.
    #[expect(clippy::cast_precision_loss, reason = "at most 2^31, by the options")]
    fn has_cut(&self) -> bool {
        let minimum = self.options.min_window as f64;
        let log = (2.0 * self.width.ln() / self.options.delta).ln();
        let spread = 2.0 * (self.deviation / self.width) * log * self.width;
        let (mut n0, mut n1) = (0.0, self.width);
        let (mut sum0, mut sum1) = (0.0, self.total);
        for row in (0..self.lengths.len()).rev() {
            let size = bucket_size(row);
            let start = row * self.stride;
            for &Bucket { total, .. } in &self.buckets[start..start + self.lengths[row]] {
                n0 += size;
                n1 -= size;
                sum0 += total;
                sum1 -= total;
                // A cut must pass (sum0 n1 - sum1 n0)^2 > 2 v L n n0 n1, which needs no division: the second term of the
                // bound is left out, and r taken at its least. What rounding may do to either side is added, so that
                // nothing is lost here; the test itself follows.
                let (left, right) = (sum0 * n1, sum1 * n0);
                let apart = (left - right).abs() + 8.0 * f64::EPSILON * (left.abs() + right.abs());
                let enough = spread * (n0 * n1) * (1.0 - 1e-9);
                if apart * apart <= enough || n0 < minimum || n1 < minimum {
                    continue;
                }
                let r = 1.0 / (n0 - minimum + 1.0) + 1.0 / (n1 - minimum + 1.0);
                let bound = (2.0 * r * (self.deviation / self.width) * log).sqrt() + 2.0 / 3.0 * log * r;
                if (sum0 / n0 - sum1 / n1).abs() > bound {
                    return true;
                }
            }
        }
        false
    }

    pub(super) fn write(&self, to: &mut Writer) {
        to.byte(self.options.semantics.code());
        to.number(self.options.delta);
        to.count(self.options.clock);
        to.count(self.options.max_buckets);
        to.count(self.options.min_window);
        to.count(self.options.grace_period);
        to.number(self.total);
        to.number(self.deviation);
        to.count(self.until_check);
        to.flag(self.restart);
        to.size(self.lengths.len());
        for (row, &length) in self.lengths.iter().enumerate() {
            to.size(length);
            for bucket in &self.buckets[row * self.stride..row * self.stride + length] {
                to.numbers(&[bucket.total, bucket.deviation]);
            }
        }
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self> {
        let mut made = Self::new(AdwinOptions {
            semantics: Semantics::of_code(from.flag()?),
            delta: from.number()?,
            clock: from.count()?,
            max_buckets: from.count()?,
            min_window: from.count()?,
            grace_period: from.count()?,
        })?;
        made.total = from.number()?;
        made.deviation = from.number()?;
        made.until_check = from.count()?;
        made.restart = from.flag()?;
        if !(1..=made.options.clock).contains(&made.until_check) {
            return refuse("the check of their window is not due when it should be");
        }
        let rows = from.size(MOST_ROWS)?;
        made.lengths.clear();
        made.buckets.clear();
        for row in 0..rows {
            let length = from.size(made.stride - 1)?;
            made.lengths.push(length);
            for _ in 0..length {
                made.buckets.push(Bucket { total: from.number()?, deviation: from.number()? });
            }
            made.buckets.resize((row + 1) * made.stride, Bucket::default());
            #[expect(clippy::cast_precision_loss, reason = "at most 1000 buckets")]
            let buckets = length as f64;
            made.width += buckets * bucket_size(row);
        }
        let empty_end = rows > 1 && made.lengths.last() == Some(&0);
        if rows == 0 || empty_end {
            return refuse("the rows of their window are not those of one");
        }
        Ok(made)
    }
}

impl Step for Adwin {
    fn step(&mut self, value: f64) -> bool {
        if self.restart {
            self.clear();
        }
        self.insert(value);
        self.until_check -= 1;
        if self.until_check > 0 {
            return false;
        }
        self.until_check = self.options.clock;
        #[expect(clippy::cast_precision_loss, reason = "at most 2^31, by the options")]
        if self.width <= self.options.grace_period as f64 {
            return false;
        }
        let mut found = false;
        while self.has_cut() {
            self.shrink();
            found = true;
        }
        self.restart = found && self.options.semantics == Semantics::River;
        found
    }

    fn takes(value: f64) -> bool {
        moderate(value)
    }
}
