//! KSWIN: the newest values against some of the older ones, by the Kolmogorov-Smirnov statistic.
//!
//! Raab, Heusinger and Schleif 2020, "Reactive soft prototype computing for concept drift streams": of a window of n values
//! the newest r are compared with r drawn at random from the other n - r, at every value. The paper detects where the
//! statistic is above sqrt(-ln(alpha) / r), keeps the newest r as the window, and draws on. River detects where the exact
//! p-value (scipy's) is at most alpha and the statistic above 0.1, empties the window, and seeds its draws anew; they are
//! `CPython`'s, and so are ours in its semantics. Neither corrects for testing at every value.

use std::collections::VecDeque;

use super::option::{Semantics, between, count};
use super::random::{Mersenne, Random};
use super::state::{Reader, Writer, refuse};
use super::{Problem, Step, moderate};
use crate::Result;

/// Options of [`Kswin`].
#[derive(Debug, Clone, PartialEq)]
pub struct KswinOptions {
    /// Whose test, draws and reset are used.
    pub semantics: Semantics,
    /// Level of one test.
    pub alpha: f64,
    /// Values in the window (n).
    pub window_size: u64,
    /// Values on either side of the test (r).
    pub stat_size: u64,
    /// Where the draws begin.
    pub seed: u64,
}

impl KswinOptions {
    /// The defaults of one semantics.
    #[must_use]
    pub fn of(semantics: Semantics) -> Self {
        Self { semantics, alpha: 0.005, window_size: 100, stat_size: 30, seed: 0 }
    }

    fn checked(self) -> Result<Self> {
        between("alpha", self.alpha, (0.0, 1.0), false, "above 0 and below 1")?;
        count("stat_size", self.stat_size, (1, 1000), "from 1 to 1000")?;
        count("window_size", self.window_size, (2, 1_000_000), "from 2 to 1000000")?;
        if self.window_size < 2 * self.stat_size {
            return Err(Problem::Option {
                option: "window_size",
                found: self.window_size.to_string(),
                expected: "at least twice stat_size",
            }
            .into());
        }
        Ok(self)
    }
}

/// The detector.
#[derive(Debug, Clone)]
pub struct Kswin {
    options: KswinOptions,
    size: usize,
    stat: usize,
    /// Whether a statistic of `h / stat` is a detection, by `h`.
    fires: Vec<bool>,
    window: VecDeque<f64>,
    random: Random,
    restart: bool,
    scratch: Scratch,
}

/// What a test needs room for; nothing of it lasts.
#[derive(Debug, Clone, Default)]
struct Scratch {
    pool: Vec<usize>,
    chosen: Vec<usize>,
    older: Vec<f64>,
    newer: Vec<f64>,
}

impl Kswin {
    /// An empty window.
    pub fn new(options: KswinOptions) -> Result<Self> {
        let options = options.checked()?;
        let size = usize::try_from(options.window_size).unwrap_or(usize::MAX);
        let stat = usize::try_from(options.stat_size).unwrap_or(usize::MAX);
        Ok(Self {
            size,
            stat,
            fires: (0..=stat).map(|apart| fires(&options, stat, apart)).collect(),
            window: VecDeque::with_capacity(size),
            random: source(&options),
            options,
            restart: false,
            scratch: Scratch::default(),
        })
    }

    pub(super) fn options(&self) -> &KswinOptions {
        &self.options
    }

    /// Values in the window.
    #[expect(clippy::cast_precision_loss, reason = "at most a million, by the options")]
    pub(super) fn width(&self) -> f64 {
        self.window.len() as f64
    }

    /// Mean of the window; 0 where it is empty.
    pub(super) fn estimation(&self) -> f64 {
        if self.window.is_empty() { 0.0 } else { self.window.iter().sum::<f64>() / self.width() }
    }

    /// The largest distance between the two empirical distributions, in steps of `1 / stat`.
    fn apart(&mut self) -> usize {
        let Scratch { pool, chosen, older, newer } = &mut self.scratch;
        let border = self.size - self.stat;
        self.random.sample(border, self.stat, pool, chosen);
        older.clear();
        older.extend(chosen.iter().map(|&index| self.window[index]));
        newer.clear();
        newer.extend(self.window.range(border..));
        older.sort_unstable_by(f64::total_cmp);
        newer.sort_unstable_by(f64::total_cmp);
        let (mut left, mut right, mut most) = (0, 0, 0);
        while left < self.stat && right < self.stat {
            let value = older[left].min(newer[right]);
            while left < self.stat && older[left] <= value {
                left += 1;
            }
            while right < self.stat && newer[right] <= value {
                right += 1;
            }
            most = most.max(left.abs_diff(right));
        }
        most
    }

    pub(super) fn write(&self, to: &mut Writer) {
        to.byte(self.options.semantics.code());
        to.number(self.options.alpha);
        to.count(self.options.window_size);
        to.count(self.options.stat_size);
        to.count(self.options.seed);
        self.random.write(to);
        to.flag(self.restart);
        to.size(self.window.len());
        to.numbers(&self.window);
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self> {
        let mut made = Self::new(KswinOptions {
            semantics: Semantics::of_code(from.flag()?),
            alpha: from.number()?,
            window_size: from.count()?,
            stat_size: from.count()?,
            seed: from.count()?,
        })?;
        made.random.read(from)?;
        made.restart = from.flag()?;
        let length = from.size(made.size)?;
        made.window.extend(from.numbers(length)?);
        if made.window.iter().any(|&value| !moderate(value)) {
            return refuse("a value of their window is too large");
        }
        Ok(made)
    }
}

impl Step for Kswin {
    fn step(&mut self, value: f64) -> bool {
        if self.restart {
            self.window.clear();
            self.random = source(&self.options);
            self.restart = false;
        }
        if self.window.len() == self.size {
            self.window.pop_front();
        }
        self.window.push_back(value + 0.0); // -0.0 is sorted as 0.0
        if self.window.len() < self.size {
            return false;
        }
        let apart = self.apart();
        let found = self.fires[apart];
        if found {
            self.window.drain(..self.size - self.stat);
            self.restart = self.options.semantics == Semantics::River;
        }
        found
    }

    fn takes(value: f64) -> bool {
        moderate(value)
    }
}

fn source(options: &KswinOptions) -> Random {
    match options.semantics {
        Semantics::Paper => Random::Split(options.seed),
        Semantics::River => Random::Mersenne(Box::new(Mersenne::new(options.seed))),
    }
}

#[expect(clippy::cast_precision_loss, reason = "at most a thousand, by the options")]
fn fires(options: &KswinOptions, stat: usize, apart: usize) -> bool {
    let distance = apart as f64 / stat as f64;
    match options.semantics {
        Semantics::Paper => distance > (-options.alpha.ln() / stat as f64).sqrt(),
        Semantics::River => distance > 0.1 && exact_p(stat, apart) <= options.alpha,
    }
}

/// Probability that the statistic of two samples of n from one distribution is at least `apart / n`: the share of lattice
/// paths that leave the band, by the reflection principle (Gnedenko and Korolyuk 1951), with the factors of each term
/// divided in turn, in scipy's order.
#[expect(clippy::cast_precision_loss, reason = "at most a thousand, by the options")]
fn exact_p(n: usize, apart: usize) -> f64 {
    if apart == 0 {
        return 1.0;
    }
    let mut share = 0.0;
    for turn in (0..=n / apart).rev() {
        let crossed = turn * apart;
        let mut term = 1.0;
        for step in 0..apart {
            // The last turns may have more steps than are left: the term is then 0.
            let above = n.saturating_sub(crossed + step) as f64;
            term = above * term / (n + crossed + step + 1) as f64;
        }
        share = term * (1.0 - share);
    }
    2.0 * share
}
