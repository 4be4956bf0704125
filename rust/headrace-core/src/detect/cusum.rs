//! CUSUM: sums of standardised deviations from a target, which stop at 0.
//!
//! Page 1954; two one-sided charts in the tabular form (Montgomery, "Introduction to Statistical Quality Control",
//! chapter 9): with z = (x - target) / scale, `up = max(0, up + z - slack)`, `down = max(0, down - z - slack)`, and a
//! detection where one is above the threshold. A target or scale that is not given is the mean or the standard deviation
//! (n - 1) of the first `warm_up` values, in which nothing is detected; where all of these are equal, warm-up goes on
//! until one is not. After a detection everything begins anew with the next value, warm-up included.

use super::option::{Direction, count, not_negative, positive};
use super::state::{Reader, Writer, refuse};
use super::{Problem, Step, moderate};
use crate::Result;

/// Options of [`Cusum`].
#[derive(Debug, Clone, PartialEq)]
pub struct CusumOptions {
    /// What the values are expected to be; estimated where not given.
    pub target: Option<f64>,
    /// Their standard deviation; estimated where not given.
    pub scale: Option<f64>,
    /// Deviation that is not counted, in scales: half the shift that is to be found.
    pub slack: f64,
    /// Sum at which a change is detected, in scales.
    pub threshold: f64,
    /// Values to estimate from.
    pub warm_up: u64,
    /// Which changes count.
    pub direction: Direction,
}

impl Default for CusumOptions {
    fn default() -> Self {
        Self { target: None, scale: None, slack: 0.5, threshold: 5.0, warm_up: 100, direction: Direction::Both }
    }
}

impl CusumOptions {
    fn checked(self) -> Result<Self> {
        if let Some(target) = self.target
            && !moderate(target)
        {
            return Err(Problem::Option {
                option: "target",
                found: target.to_string(),
                expected: "a number between -1e100 and 1e100",
            }
            .into());
        }
        if let Some(scale) = self.scale {
            positive("scale", scale)?;
        }
        not_negative("slack", self.slack)?;
        positive("threshold", self.threshold)?;
        count("warm_up", self.warm_up, (2, 1 << 31), "from 2 to 2^31")?;
        Ok(self)
    }
}

/// The detector.
#[derive(Debug, Clone)]
pub struct Cusum {
    options: CusumOptions,
    /// Values since the last beginning, their mean and squared deviations, counted while warming up only.
    count: u64,
    mean: f64,
    deviation: f64,
    /// Target and scale once they are known.
    known: Option<(f64, f64)>,
    up: f64,
    down: f64,
    restart: bool,
}

impl Cusum {
    /// Nothing seen.
    pub fn new(options: CusumOptions) -> Result<Self> {
        let options = options.checked()?;
        let known = options.target.zip(options.scale);
        Ok(Self { options, count: 0, mean: 0.0, deviation: 0.0, known, up: 0.0, down: 0.0, restart: false })
    }

    pub(super) fn options(&self) -> &CusumOptions {
        &self.options
    }

    /// Values since the last beginning.
    #[expect(clippy::cast_precision_loss, reason = "a count for people")]
    pub(super) fn width(&self) -> f64 {
        self.count as f64
    }

    /// The target: given, or estimated so far.
    pub(super) fn estimation(&self) -> f64 {
        self.options.target.unwrap_or(self.mean)
    }

    fn clear(&mut self) {
        self.count = 0;
        self.mean = 0.0;
        self.deviation = 0.0;
        self.known = self.options.target.zip(self.options.scale);
        self.up = 0.0;
        self.down = 0.0;
        self.restart = false;
    }

    #[expect(clippy::cast_precision_loss, reason = "warm-up that long has other troubles")]
    fn warm_up(&mut self, value: f64) {
        let apart = value - self.mean;
        self.mean += apart / self.count as f64;
        self.deviation += apart * (value - self.mean);
        if self.count >= self.options.warm_up {
            let scale = self.options.scale.unwrap_or((self.deviation / (self.count - 1) as f64).sqrt());
            if scale > 0.0 {
                self.known = Some((self.options.target.unwrap_or(self.mean), scale));
            }
        }
    }

    pub(super) fn write(&self, to: &mut Writer) {
        for given in [self.options.target, self.options.scale] {
            to.flag(given.is_some());
            to.number(given.unwrap_or(0.0));
        }
        to.number(self.options.slack);
        to.number(self.options.threshold);
        to.count(self.options.warm_up);
        to.byte(self.options.direction.code());
        to.count(self.count);
        to.numbers(&[self.mean, self.deviation]);
        let (target, scale) = self.known.unwrap_or((0.0, 0.0));
        to.flag(self.known.is_some());
        to.numbers(&[target, scale, self.up, self.down]);
        to.flag(self.restart);
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self> {
        let maybe = |from: &mut Reader<'_>| -> Result<Option<f64>> {
            let given = from.flag()?;
            let value = from.number()?;
            Ok(given.then_some(value))
        };
        let made = Self::new(CusumOptions {
            target: maybe(from)?,
            scale: maybe(from)?,
            slack: from.number()?,
            threshold: from.number()?,
            warm_up: from.count()?,
            direction: Direction::of_code(from.byte()?)?,
        })?;
        let (count, mean, deviation) = (from.count()?, from.number()?, from.number()?);
        let (is_known, target, scale) = (from.flag()?, from.number()?, from.number()?);
        if is_known && !(moderate(target) && scale > 0.0) {
            return refuse("their target cannot be");
        }
        let known = is_known.then_some((target, scale));
        Ok(Self {
            count,
            mean,
            deviation,
            known,
            up: from.number()?,
            down: from.number()?,
            restart: from.flag()?,
            ..made
        })
    }
}

impl Step for Cusum {
    fn step(&mut self, value: f64) -> bool {
        if self.restart {
            self.clear();
        }
        self.count += 1;
        let Some((target, scale)) = self.known else {
            self.warm_up(value);
            return false;
        };
        let options = &self.options;
        let apart = (value - target) / scale;
        self.up = (self.up + apart - options.slack).max(0.0);
        self.down = (self.down - apart - options.slack).max(0.0);
        let up = options.direction.up() && self.up > options.threshold;
        let down = options.direction.down() && self.down > options.threshold;
        self.restart = up || down;
        self.restart
    }

    fn takes(value: f64) -> bool {
        moderate(value)
    }
}
