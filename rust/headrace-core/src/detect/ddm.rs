//! DDM: a learner's error rate against the lowest it has had.
//!
//! Gama et al. 2004, "Learning with drift detection": with p the share of errors among i answers and
//! s = sqrt(p (1 - p) / i), the detector remembers the p and s where p + s was lowest. A warning is where p + s reaches
//! `p_min + 2 s_min`, a detection where it reaches `p_min + 3 s_min`, neither within the first 30 answers. In the paper
//! "reaches" means >=; as p + s equals its minimum while there is no error at all, it must also be above that. River asks
//! for more than the threshold. After a detection everything begins anew with the next answer.

use super::Step;
use super::option::{Semantics, count, positive};
use super::state::{Reader, Writer, refuse};
use crate::Result;

/// Options of [`Ddm`].
#[derive(Debug, Clone, PartialEq)]
pub struct DdmOptions {
    /// Whether a threshold is reached at (paper) or above (river) it.
    pub semantics: Semantics,
    /// Answers without any decision.
    pub warm_up: u64,
    /// Standard deviations to a warning.
    pub warning_threshold: f64,
    /// Standard deviations to a detection.
    pub drift_threshold: f64,
}

impl DdmOptions {
    /// The defaults of one semantics.
    #[must_use]
    pub fn of(semantics: Semantics) -> Self {
        Self { semantics, warm_up: 30, warning_threshold: 2.0, drift_threshold: 3.0 }
    }

    fn checked(self) -> Result<Self> {
        count("warm_up", self.warm_up, (0, 1 << 31), "from 0 to 2^31")?;
        positive("warning_threshold", self.warning_threshold)?;
        positive("drift_threshold", self.drift_threshold)?;
        Ok(self)
    }
}

/// The detector.
#[derive(Debug, Clone)]
pub struct Ddm {
    options: DdmOptions,
    count: f64,
    rate: f64,
    rate_min: f64,
    spread_min: f64,
    level_min: f64,
    /// How many answers ago the warning began, while there is one.
    warning: Option<u64>,
    restart: bool,
}

impl Ddm {
    /// Nothing seen.
    pub fn new(options: DdmOptions) -> Result<Self> {
        Ok(Self {
            options: options.checked()?,
            count: 0.0,
            rate: 0.0,
            rate_min: 0.0,
            spread_min: 0.0,
            level_min: f64::INFINITY,
            warning: None,
            restart: false,
        })
    }

    pub(super) fn options(&self) -> &DdmOptions {
        &self.options
    }

    /// Answers since the last beginning.
    pub(super) fn width(&self) -> f64 {
        self.count
    }

    /// Their error rate.
    pub(super) fn estimation(&self) -> f64 {
        self.rate
    }

    /// How many answers, the last included, the warning lasts; none where there is no warning.
    pub(super) fn warning(&self) -> Option<u64> {
        self.warning
    }

    fn clear(&mut self) {
        self.count = 0.0;
        self.rate = 0.0;
        self.rate_min = 0.0;
        self.spread_min = 0.0;
        self.level_min = f64::INFINITY;
        self.warning = None;
        self.restart = false;
    }

    pub(super) fn write(&self, to: &mut Writer) {
        to.byte(self.options.semantics.code());
        to.count(self.options.warm_up);
        to.numbers(&[self.options.warning_threshold, self.options.drift_threshold]);
        to.numbers(&[self.count, self.rate, self.rate_min, self.spread_min, self.level_min]);
        to.count(self.warning.unwrap_or(0));
        to.flag(self.restart);
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self> {
        let made = Self::new(DdmOptions {
            semantics: Semantics::of_code(from.flag()?),
            warm_up: from.count()?,
            warning_threshold: from.number()?,
            drift_threshold: from.number()?,
        })?;
        let read = Self {
            count: from.number()?,
            rate: from.number()?,
            rate_min: from.number()?,
            spread_min: from.number()?,
            level_min: from.number()?,
            warning: Some(from.count()?).filter(|&length| length > 0),
            restart: from.flag()?,
            ..made
        };
        if !(0.0..=1.0).contains(&read.rate) {
            return refuse("their error rate is not between 0 and 1");
        }
        Ok(read)
    }
}

impl Step for Ddm {
    #[expect(clippy::cast_precision_loss, reason = "at most 2^31, by the options")]
    fn step(&mut self, value: f64) -> bool {
        if self.restart {
            self.clear();
        }
        self.count += 1.0;
        self.rate += (1.0 / self.count) * (value - self.rate);
        if self.count <= self.options.warm_up as f64 {
            return false;
        }
        // Rounding can leave the mean of zeros and ones just outside [0, 1].
        let spread = (self.rate * (1.0 - self.rate) / self.count).max(0.0).sqrt();
        let level = self.rate + spread;
        if level <= self.level_min {
            self.rate_min = self.rate;
            self.spread_min = spread;
            self.level_min = level;
        }
        let reaches = |deviations: f64| {
            let threshold = self.rate_min + deviations * self.spread_min;
            match self.options.semantics {
                Semantics::Paper => level >= threshold && level > self.level_min,
                Semantics::River => level > threshold,
            }
        };
        self.restart = reaches(self.options.drift_threshold);
        let warned = !self.restart && reaches(self.options.warning_threshold);
        self.warning = warned.then(|| self.warning.unwrap_or(0).saturating_add(1));
        self.restart
    }

    fn takes(value: f64) -> bool {
        matches!(value, 0.0 | 1.0)
    }
}
