//! Page-Hinkley: the sum of what lies above the running mean, against its lowest point so far.
//!
//! Page 1954, "Continuous inspection schemes", in the form of Mouss et al. 2004: with m the sum so far of what each value
//! lies above the mean so far, less delta, an increase is an m more than lambda above its minimum; a decrease is the
//! mirror image. River lets the sum fade (0.9999 a value) and waits for 30 values. After a detection both begin anew with
//! the next value.

use super::option::{Direction, Semantics, between, count, not_negative, positive};
use super::state::{Reader, Writer};
use super::{Step, moderate};
use crate::Result;

/// Options of [`PageHinkley`].
#[derive(Debug, Clone, PartialEq)]
pub struct PageHinkleyOptions {
    /// Where the defaults come from; the test itself is the same.
    pub semantics: Semantics,
    /// Change of the mean that is not worth a detection, in units of the values.
    pub delta: f64,
    /// Sum at which a change is detected (lambda), in units of the values.
    pub threshold: f64,
    /// What remains of the sum from one value to the next; 1 keeps it.
    pub forgetting: f64,
    /// No detection before so many values.
    pub min_instances: u64,
    /// Which changes count.
    pub direction: Direction,
}

impl PageHinkleyOptions {
    /// The defaults of one semantics.
    #[must_use]
    pub fn of(semantics: Semantics) -> Self {
        let (forgetting, min_instances) = match semantics {
            Semantics::Paper => (1.0, 1),
            Semantics::River => (1.0 - 0.0001, 30),
        };
        Self { semantics, delta: 0.005, threshold: 50.0, forgetting, min_instances, direction: Direction::Both }
    }

    fn checked(self) -> Result<Self> {
        not_negative("delta", self.delta)?;
        positive("threshold", self.threshold)?;
        between("forgetting", self.forgetting, (0.0, 1.0), true, "from 0 to 1")?;
        count("min_instances", self.min_instances, (1, 1 << 31), "from 1 to 2^31")?;
        Ok(self)
    }
}

/// The detector.
#[derive(Debug, Clone)]
pub struct PageHinkley {
    options: PageHinkleyOptions,
    count: f64,
    mean: f64,
    rise: f64,
    lowest: f64,
    fall: f64,
    highest: f64,
    restart: bool,
}

impl PageHinkley {
    /// Nothing seen.
    pub fn new(options: PageHinkleyOptions) -> Result<Self> {
        Ok(Self {
            options: options.checked()?,
            count: 0.0,
            mean: 0.0,
            rise: 0.0,
            lowest: f64::INFINITY,
            fall: 0.0,
            highest: f64::NEG_INFINITY,
            restart: false,
        })
    }

    pub(super) fn options(&self) -> &PageHinkleyOptions {
        &self.options
    }

    /// Values since the last beginning.
    pub(super) fn width(&self) -> f64 {
        self.count
    }

    /// Their mean.
    pub(super) fn estimation(&self) -> f64 {
        self.mean
    }

    fn clear(&mut self) {
        self.count = 0.0;
        self.mean = 0.0;
        self.rise = 0.0;
        self.lowest = f64::INFINITY;
        self.fall = 0.0;
        self.highest = f64::NEG_INFINITY;
        self.restart = false;
    }

    pub(super) fn write(&self, to: &mut Writer) {
        to.byte(self.options.semantics.code());
        to.number(self.options.delta);
        to.number(self.options.threshold);
        to.number(self.options.forgetting);
        to.count(self.options.min_instances);
        to.byte(self.options.direction.code());
        to.numbers(&[self.count, self.mean, self.rise, self.lowest, self.fall, self.highest]);
        to.flag(self.restart);
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self> {
        let made = Self::new(PageHinkleyOptions {
            semantics: Semantics::of_code(from.flag()?),
            delta: from.number()?,
            threshold: from.number()?,
            forgetting: from.number()?,
            min_instances: from.count()?,
            direction: Direction::of_code(from.byte()?)?,
        })?;
        Ok(Self {
            count: from.number()?,
            mean: from.number()?,
            rise: from.number()?,
            lowest: from.number()?,
            fall: from.number()?,
            highest: from.number()?,
            restart: from.flag()?,
            ..made
        })
    }
}

impl Step for PageHinkley {
    #[expect(clippy::cast_precision_loss, reason = "at most 2^31, by the options")]
    fn step(&mut self, value: f64) -> bool {
        if self.restart {
            self.clear();
        }
        let options = &self.options;
        self.count += 1.0;
        self.mean += (1.0 / self.count) * (value - self.mean);
        let apart = value - self.mean;
        self.rise = options.forgetting * self.rise + apart - options.delta;
        self.fall = options.forgetting * self.fall + apart + options.delta;
        if self.rise < self.lowest {
            self.lowest = self.rise;
        }
        if self.fall > self.highest {
            self.highest = self.fall;
        }
        let up = options.direction.up() && self.rise - self.lowest > options.threshold;
        let down = options.direction.down() && self.highest - self.fall > options.threshold;
        self.restart = (up || down) && self.count >= options.min_instances as f64;
        self.restart
    }

    fn takes(value: f64) -> bool {
        moderate(value)
    }
}
