//! Online change detectors: one value after the other, and the positions at which something changed.
//!
//! [`Adwin`](adwin), [`PageHinkley`](page_hinkley), [`Cusum`](cusum), [`Ddm`](ddm), [`Kswin`](kswin): a file each, with its
//! source. [`Detector`] is what they share: rows of a column are checked before the first of them is counted, positions run
//! on from one update to the next, and the state can be written down and resumed. What a detector says does not depend
//! on how the rows are cut into updates: each is a fold over single values.

mod adwin;
mod cusum;
mod ddm;
mod kswin;
mod option;
mod page_hinkley;
mod problem;
mod random;
mod state;
mod values;

use std::collections::VecDeque;

pub use adwin::{Adwin, AdwinOptions};
pub use cusum::{Cusum, CusumOptions};
pub use ddm::{Ddm, DdmOptions};
pub use kswin::{Kswin, KswinOptions};
pub use option::{Direction, Semantics};
pub use page_hinkley::{PageHinkley, PageHinkleyOptions};
pub use problem::Problem;
pub use values::Values;

use crate::Result;
use state::{Reader, Writer, refuse};
use values::TILE;

/// How many of the last detections are remembered: the state stays small whatever the stream does.
const REMEMBERED: usize = 256;

/// Values must be at most this large, so that no sum of their squares overflows and silences a detector for good.
const LARGEST: f64 = 1e100;

/// What each detector is: a step that says whether the value changed something.
trait Step {
    fn step(&mut self, value: f64) -> bool;

    /// Whether the value may be given to `step`.
    fn takes(value: f64) -> bool;
}

/// Not NaN, and not so large that its square is no number.
fn moderate(value: f64) -> bool {
    value.abs() <= LARGEST
}

/// What becomes of null and NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// They are an error.
    Refuse,
    /// They are passed over; positions count them.
    Skip,
}

/// One of the methods.
#[derive(Debug, Clone)]
pub enum Method {
    /// ADWIN.
    Adwin(Adwin),
    /// Page-Hinkley.
    PageHinkley(PageHinkley),
    /// CUSUM.
    Cusum(Cusum),
    /// DDM.
    Ddm(Ddm),
    /// KSWIN.
    Kswin(Kswin),
}

/// The options of a method.
#[derive(Debug, Clone, PartialEq)]
pub enum Options {
    /// Of ADWIN.
    Adwin(AdwinOptions),
    /// Of Page-Hinkley.
    PageHinkley(PageHinkleyOptions),
    /// Of CUSUM.
    Cusum(CusumOptions),
    /// Of DDM.
    Ddm(DdmOptions),
    /// Of KSWIN.
    Kswin(KswinOptions),
}

macro_rules! each {
    ($method:expr, $found:ident => $result:expr) => {
        match $method {
            Method::Adwin($found) => $result,
            Method::PageHinkley($found) => $result,
            Method::Cusum($found) => $result,
            Method::Ddm($found) => $result,
            Method::Kswin($found) => $result,
        }
    };
}

impl Method {
    fn new(options: Options) -> Result<Self> {
        Ok(match options {
            Options::Adwin(options) => Self::Adwin(Adwin::new(options)?),
            Options::PageHinkley(options) => Self::PageHinkley(PageHinkley::new(options)?),
            Options::Cusum(options) => Self::Cusum(Cusum::new(options)?),
            Options::Ddm(options) => Self::Ddm(Ddm::new(options)?),
            Options::Kswin(options) => Self::Kswin(Kswin::new(options)?),
        })
    }

    fn code(&self) -> u8 {
        match self {
            Self::Adwin(_) => 0,
            Self::PageHinkley(_) => 1,
            Self::Cusum(_) => 2,
            Self::Ddm(_) => 3,
            Self::Kswin(_) => 4,
        }
    }
}

/// A detector, where it stands in its stream, and what it found there.
#[derive(Debug, Clone)]
pub struct Detector {
    method: Method,
    seen: u64,
    found: u64,
    last: VecDeque<u64>,
}

impl Detector {
    /// At the start of a stream.
    pub fn new(options: Options) -> Result<Self> {
        Ok(Self { method: Method::new(options)?, seen: 0, found: 0, last: VecDeque::new() })
    }

    /// Feeds the rows of `parts` in order, and gives the positions, counted from the start of the stream, at which a
    /// change was detected. On an error nothing was fed.
    pub fn update(&mut self, parts: &[Values<'_>], missing: Missing) -> Result<Vec<i64>> {
        each!(&mut self.method, method => {
            check(method, parts, missing)?;
            let found = feed(method, parts, missing, self.seen);
            self.seen += parts.iter().map(|part| part.len() as u64).sum::<u64>();
            self.found += found.len() as u64;
            for &position in &found[found.len().saturating_sub(REMEMBERED)..] {
                if self.last.len() == REMEMBERED {
                    self.last.pop_front();
                }
                self.last.push_back(position.cast_unsigned());
            }
            Ok(found)
        })
    }

    /// Rows fed so far.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Changes detected so far.
    #[must_use]
    pub fn found(&self) -> u64 {
        self.found
    }

    /// Positions of the last 256 of them, in order.
    #[must_use]
    pub fn last(&self) -> Vec<i64> {
        self.last.iter().map(|position| position.cast_signed()).collect()
    }

    /// What the detector takes the level of the stream to be: the mean of its window (ADWIN, KSWIN) or since its last
    /// beginning (Page-Hinkley), the target (CUSUM), the error rate (DDM).
    #[must_use]
    pub fn estimation(&self) -> f64 {
        each!(&self.method, method => method.estimation())
    }

    /// How many values that rests on.
    #[must_use]
    pub fn width(&self) -> f64 {
        each!(&self.method, method => method.width())
    }

    /// Variance of ADWIN's window, and the buckets it is kept in.
    #[must_use]
    pub fn window(&self) -> Option<(f64, usize)> {
        match &self.method {
            Method::Adwin(adwin) => Some((adwin.variance(), adwin.buckets())),
            _ => None,
        }
    }

    /// How many values DDM's warning lasts, if there is one.
    #[must_use]
    pub fn warning(&self) -> Option<u64> {
        match &self.method {
            Method::Ddm(ddm) => ddm.warning(),
            _ => None,
        }
    }

    /// The options it was made with.
    #[must_use]
    pub fn options(&self) -> Options {
        match &self.method {
            Method::Adwin(method) => Options::Adwin(method.options().clone()),
            Method::PageHinkley(method) => Options::PageHinkley(method.options().clone()),
            Method::Cusum(method) => Options::Cusum(method.options().clone()),
            Method::Ddm(method) => Options::Ddm(method.options().clone()),
            Method::Kswin(method) => Options::Kswin(method.options().clone()),
        }
    }

    /// Its state: equal bytes for equal options and equal rows, however they were cut into updates.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut to = Writer::new(self.method.code());
        to.count(self.seen);
        to.count(self.found);
        to.size(self.last.len());
        self.last.iter().for_each(|&position| to.count(position));
        each!(&self.method, method => method.write(&mut to));
        to.finish()
    }

    /// The detector that [`to_bytes`](Self::to_bytes) wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let (code, mut from) = Reader::open(bytes)?;
        let (seen, found) = (from.count()?, from.count()?);
        if seen > i64::MAX.cast_unsigned() || found > seen {
            return refuse("their counts cannot be");
        }
        let length = from.size(REMEMBERED)?;
        let last = (0..length).map(|_| from.count()).collect::<Result<VecDeque<_>>>()?;
        let ascending = last.iter().zip(last.iter().skip(1)).all(|(before, after)| before < after);
        if !ascending || last.back().is_some_and(|&position| position >= seen) || length as u64 > found {
            return refuse("their detections cannot be");
        }
        let method = match code {
            0 => Method::Adwin(Adwin::read(&mut from)?),
            1 => Method::PageHinkley(PageHinkley::read(&mut from)?),
            2 => Method::Cusum(Cusum::read(&mut from)?),
            3 => Method::Ddm(Ddm::read(&mut from)?),
            4 => Method::Kswin(Kswin::read(&mut from)?),
            other => return refuse(format!("they are of a method {other}, which this version does not have")),
        };
        from.finish()?;
        Ok(Self { method, seen, found, last })
    }
}

/// Looks for rows that may not be fed.
fn check<S: Step>(_: &S, parts: &[Values<'_>], missing: Missing) -> Result<()> {
    let mut room = Vec::with_capacity(TILE);
    let mut before = 0;
    for part in parts {
        for start in (0..part.len()).step_by(TILE) {
            let end = part.len().min(start + TILE);
            let tile = part.tile(start, end, &mut room);
            if part.all_valid() && tile.iter().fold(true, |fine, &value| fine & S::takes(value)) {
                continue;
            }
            for (index, &value) in tile.iter().enumerate() {
                let null = part.is_null(start + index);
                let passes = if null || value.is_nan() { missing == Missing::Skip } else { S::takes(value) };
                if !passes {
                    let found = if null { "null".to_owned() } else { value.to_string() };
                    let binary = !S::takes(2.0);
                    return Err(Problem::Value { row: before + start + index, found, binary }.into());
                }
            }
        }
        before += part.len();
    }
    Ok(())
}

fn feed<S: Step>(method: &mut S, parts: &[Values<'_>], missing: Missing, seen: u64) -> Vec<i64> {
    let mut room = Vec::with_capacity(TILE);
    let mut found = Vec::new();
    let mut before = seen;
    for part in parts {
        let dense = missing == Missing::Refuse && part.all_valid();
        for start in (0..part.len()).step_by(TILE) {
            let end = part.len().min(start + TILE);
            for (index, &value) in part.tile(start, end, &mut room).iter().enumerate() {
                let fed = dense || !(value.is_nan() || part.is_null(start + index));
                if fed && method.step(value) {
                    found.push((before + (start + index) as u64).cast_signed());
                }
            }
        }
        before += part.len() as u64;
    }
    found
}
