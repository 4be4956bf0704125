//! Profiles: what a reference looked like, on bins that it froze, and what was counted on them since.
//!
//! [`Profile::fit`] reads a reference twice: a [`Survey`] chooses bins, a [`Recount`] counts the reference on them, exactly.
//! A [`Window`] counts live rows on the same bins. All that both hold are integers, so that windows add up and subtract
//! bit for bit, and neither batches nor threads show in them. [`BinnedColumn`] is what the statistics of drift are
//! computed from: two rows of counts on the same bins.

mod batch;
mod binned;
mod binning;
mod bytes;
mod calendar;
mod count;
mod counts;
mod dictionary;
mod distinct;
mod features;
mod format;
mod hashing;
mod key;
mod moments;
mod nominal;
mod pairs;
mod plan;
mod problem;
mod read;
mod sample;
mod short;
mod survey;
mod text;
mod window;
mod words;

use std::fmt;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, SchemaRef};

pub use batch::Threads;
pub use format::FORMAT_VERSION;
pub use problem::Problem;
pub use survey::{Recount, Survey};
pub use window::{Reader, Window};

use crate::error::{Error, Result};
use counts::Counts;
pub(crate) use key::Key;
pub(crate) use moments::TILE;
use plan::{Part, Plan};

/// Random Fourier features of a column of embeddings.
pub const FEATURES: usize = 256;
/// The largest weight of a row.
pub const MAX_WEIGHT: f64 = 65_536.0;
/// What a count is worth where rows have weights.
pub const WEIGHT_UNIT: f64 = 1.0 / 1_048_576.0;
/// The most values of a column that are segments of their own.
pub const MAX_SEGMENTS: usize = 32;

/// What a column is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// Integers, floats, decimals.
    Number,
    /// True or false.
    Boolean,
    /// Texts with a limited number of values, as strings or dictionaries; integers, if asked for.
    Category,
    /// Texts that are read for their length and words; if asked for.
    Text,
    /// Days.
    Date,
    /// Points in time.
    Datetime,
    /// Times of day.
    Time,
    /// Spans of time.
    Duration,
    /// Lists of floats, all of the same length.
    Embedding,
    /// No value at all was in the reference.
    Null,
}

impl Family {
    const ALL: [Self; 10] = [
        Self::Number,
        Self::Boolean,
        Self::Category,
        Self::Text,
        Self::Date,
        Self::Datetime,
        Self::Time,
        Self::Duration,
        Self::Embedding,
        Self::Null,
    ];

    /// Its name: `number`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Category => "category",
            Self::Text => "text",
            Self::Date => "date",
            Self::Datetime => "datetime",
            Self::Time => "time",
            Self::Duration => "duration",
            Self::Embedding => "embedding",
            Self::Null => "null",
        }
    }

    /// The family of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.name() == name)
    }

    fn code(self) -> u8 {
        Self::ALL.iter().position(|family| *family == self).and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a profile is to be made of.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// These columns, in this order; else all but the weights.
    pub columns: Option<Vec<String>>,
    /// Columns that are to be read as something else than their type says.
    pub families: Vec<(String, Family)>,
    /// The column of the rows' weights, from 0 to [`MAX_WEIGHT`]; rounded to 2^-20.
    pub weight: Option<String>,
    /// The column whose most frequent values, up to [`MAX_SEGMENTS`], have counts of their own.
    pub segments: Option<String>,
    /// Columns to be counted together.
    pub pairs: Vec<(String, String)>,
}

/// A reference: bins that it froze, and its counts on them.
#[derive(Debug, Clone)]
pub struct Profile {
    plan: Arc<Plan>,
    whole: Counts,
    parts: Vec<Counts>,
}

impl PartialEq for Profile {
    fn eq(&self, other: &Self) -> bool {
        self.plan == other.plan && self.whole == other.whole && self.parts == other.parts
    }
}

/// One column of a profile, as facts.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnFacts {
    /// Its name.
    pub name: String,
    /// What it is read as.
    pub family: Family,
    /// How many different values it has: an estimate with a standard error of 1.6 %; of embeddings, of their norms.
    pub distinct: f64,
    /// The probability that a text which the reference does not have is taken for one that it has.
    pub false_rate: f64,
}

impl Profile {
    /// Fits a reference that `open` opens, twice, with the same rows in the same order.
    pub fn fit<I: Iterator<Item = Result<RecordBatch, ArrowError>>>(
        schema: &SchemaRef,
        mut open: impl FnMut() -> I,
        options: Options,
        threads: &mut Threads,
    ) -> Result<Self> {
        let mut survey = Survey::new(Arc::clone(schema), options)?;
        for batch in open() {
            survey.observe(&batch.map_err(Error::Producer)?, threads)?;
        }
        let mut recount = survey.freeze(threads)?;
        for batch in open() {
            recount.observe(&batch.map_err(Error::Producer)?, threads)?;
        }
        recount.finish()
    }

    fn assemble(mut plan: Plan, whole: Counts, parts: Vec<Counts>) -> Self {
        plan.fingerprint = format::fingerprint(&plan);
        Self { plan: Arc::new(plan), whole, parts }
    }

    /// How many rows the reference has.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.whole.rows
    }

    /// An empty window on its bins.
    #[must_use]
    pub fn window(&self) -> Window {
        Window::empty(Arc::clone(&self.plan))
    }

    /// The reference's own rows, as a window.
    #[must_use]
    pub fn as_window(&self) -> Window {
        Window { plan: Arc::clone(&self.plan), whole: self.whole.clone(), parts: self.parts.clone() }
    }

    /// SHA-256 of what was frozen: two profiles with the same one have the same bins.
    #[must_use]
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.plan.fingerprint
    }

    /// Its columns.
    #[must_use]
    pub fn columns(&self) -> Vec<ColumnFacts> {
        let facts = self.plan.columns.iter().map(|column| ColumnFacts {
            name: column.name.clone(),
            family: column.family,
            distinct: column.distinct.estimate(),
            false_rate: column.lanes.iter().map(plan::Lane::false_rate).fold(0.0, f64::max),
        });
        facts.collect()
    }

    /// The column of the rows' weights.
    #[must_use]
    pub fn weight(&self) -> Option<&str> {
        self.plan.weight.as_deref()
    }

    /// The column of segments, and its values that are segments of their own.
    #[must_use]
    pub fn segments(&self) -> Option<(&str, Vec<String>)> {
        self.plan.segments.as_ref().map(|segments| {
            let values = segments.values.categories().iter().map(|name| String::from_utf8_lossy(name).into_owned());
            (segments.column.as_str(), values.collect())
        })
    }

    /// The reference beside a window. Fails with [`Problem::OtherReference`].
    pub fn binned(&self, live: &Window) -> Result<Vec<BinnedColumn>> {
        self.check(live)?;
        Ok(binned::columns(&self.plan, &self.whole, &live.whole, true))
    }

    /// Embeddings of the reference beside those of a window. Fails with [`Problem::OtherReference`].
    pub fn embedded(&self, live: &Window) -> Result<Vec<EmbeddedColumn>> {
        self.check(live)?;
        Ok(binned::embedded(&self.plan, &self.whole, &live.whole))
    }

    /// As [`Profile::binned`] for each segment: its value, and none for all others together.
    pub fn binned_segments(&self, live: &Window) -> Result<Vec<(Option<String>, Vec<BinnedColumn>)>> {
        self.check(live)?;
        let values = self.segments().map_or_else(Vec::new, |(_, values)| values);
        let names = values.into_iter().map(Some).chain(std::iter::once(None));
        let parts = self.parts.iter().zip(&live.parts);
        Ok(names.zip(parts).map(|(name, (a, b))| (name, binned::columns(&self.plan, a, b, false))).collect())
    }

    fn check(&self, live: &Window) -> Result<()> {
        if live.plan.fingerprint == self.plan.fingerprint { Ok(()) } else { Err(Problem::OtherReference.into()) }
    }
}

/// Whether the bins of a column lie in an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Numbers, dates, times, lengths: the bins ascend.
    Ordered,
    /// Categories: the bins have no order, and the last one is [`Bin::Unseen`].
    Nominal,
}

/// One bin.
#[derive(Debug, Clone, PartialEq)]
pub enum Bin {
    /// Less than the least value of the reference, which is given; first of the ordered bins.
    Below(f64),
    /// Exactly this value, which many rows of the reference have. Zero and minus zero are one value.
    Atom(f64),
    /// From `low` on (without it where the bin before is an atom at `low`), less than `high`; the last interval takes
    /// the greatest value of the reference, its `high`, too. Where inside a value lies is not known.
    Interval {
        /// The lower end.
        low: f64,
        /// The upper end.
        high: f64,
    },
    /// Greater than the greatest value of the reference, which is given; last of the ordered bins.
    Above(f64),
    /// A frequent value of the reference.
    Category(String),
    /// Values that the reference has, but not often enough for a bin of their own.
    Other,
    /// Values that the reference does not have; last of the nominal bins.
    Unseen,
}

/// Rows that are in no bin, of the reference and live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Special {
    /// No value.
    pub null: (u64, u64),
    /// Not a number, whatever its payload.
    pub nan: (u64, u64),
    /// Plus infinity.
    pub pos_inf: (u64, u64),
    /// Minus infinity.
    pub neg_inf: (u64, u64),
}

/// Moments of the finite values. They come from exact integer sums, so they do not depend on how rows were cut or
/// merged; a value was rounded to 2^-16 of the reference's scale and kept within 2^31 scales for them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Moments {
    /// How many, or the sum of their weights.
    pub n: f64,
    /// Their mean; 0 where there are none.
    pub mean: f64,
    /// The (weighted) sum of squared distances from the mean.
    pub m2: f64,
    /// The least. Of a reference only: what a window subtracts can take it away unnoticed.
    pub min: Option<f64>,
    /// The greatest; as `min`.
    pub max: Option<f64>,
}

/// What weights make of counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weighted {
    /// One count is so much weight.
    pub unit: f64,
    /// Kish's effective number of rows, `(Σw)² / Σw²`, of the reference and live, over all rows, null or not.
    pub effective: (f64, f64),
}

/// Counts of one column on the bins of its reference: both sides have the same bins.
#[derive(Debug, Clone, PartialEq)]
pub struct BinnedColumn {
    /// The column; what is derived from it is named behind it: `departed (hour)`, `comment (tokens)`, `a × b`.
    pub name: String,
    /// Whether `bins` are in an order.
    pub kind: Kind,
    /// The bins; ordered ones ascend and leave nothing out but what `special` counts.
    pub bins: Vec<Bin>,
    /// Rows of the reference in each bin.
    pub reference: Vec<u64>,
    /// Rows of the window in each bin.
    pub live: Vec<u64>,
    /// Rows in no bin.
    pub special: Special,
    /// Of the reference and live; zero for nominal bins.
    pub moments: (Moments, Moments),
    /// Set if rows have weights; all counts are in its unit then.
    pub weighted: Option<Weighted>,
    /// How many texts the reference has just once, where that is known: of nominal bins, the share of live rows that are
    /// to be expected in [`Bin::Unseen`] without any drift is about this over the reference's rows (Good and Turing).
    pub singletons: Option<u64>,
    /// The probability that a text that the reference never had is counted in [`Bin::Other`]: what it had beyond the
    /// categories with a bin is known by a filter of bounded size.
    pub overlooked: f64,
}

/// Means of the random Fourier features of a column of embeddings, of the reference and live: the squared distance of
/// the two is the squared maximum mean discrepancy, up to what [`FEATURES`] random features leave of it.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbeddedColumn {
    /// The column.
    pub name: String,
    /// How many vectors, or the sum of their weights.
    pub n: (f64, f64),
    /// The means, [`FEATURES`] each.
    pub means: (Vec<f64>, Vec<f64>),
    /// Set if rows have weights.
    pub weighted: Option<Weighted>,
}
