//! Profiles: what a reference looked like, on bins that it froze, and what was counted on them since.
//!
//! [`BinnedColumn`] is what the statistics of drift are computed from: two rows of exact counts on the same bins.

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

/// Random Fourier features of a column of embeddings.
pub const FEATURES: usize = 256;
