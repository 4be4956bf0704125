//! What was frozen: which columns, as what, on which bins.

use super::Family;
use super::binning::OrderedBins;
use super::calendar;
use super::counts::{ColumnCounts, LaneCounts};
use super::distinct::Distinct;
use super::features::Features;
use super::moments::{Ruler, Sums};
use super::nominal::NominalBins;

/// One column of the reference. What a column is counted as has one or more *lanes*: a moment has the moment itself, its
/// weekday and its hour.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ColumnPlan {
    pub(super) name: String,
    pub(super) family: Family,
    pub(super) lanes: Vec<Lane>,
    pub(super) distinct: Distinct,
    /// Texts that the reference has once, if they were counted exactly.
    pub(super) singletons: Option<u64>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lane {
    /// Behind the column's name: ` (hour)`; empty for the values themselves.
    pub(super) part: Part,
    pub(super) bins: LaneBins,
}

/// What of a column a lane counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Value,
    Weekday,
    Hour,
    Length,
    Tokens,
    Words,
    Norm,
    Features,
}

impl Part {
    pub(super) const ALL: [Self; 8] =
        [Self::Value, Self::Weekday, Self::Hour, Self::Length, Self::Tokens, Self::Words, Self::Norm, Self::Features];

    /// The name of a column's part.
    pub(super) fn of(self, column: &str) -> String {
        let part = match self {
            Self::Value | Self::Features => return column.to_owned(),
            Self::Weekday => "weekday",
            Self::Hour => "hour",
            Self::Length => "length",
            Self::Tokens => "tokens",
            Self::Words => "words",
            Self::Norm => "norm",
        };
        format!("{column} ({part})")
    }
}

#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "a handful a column, and most are the large one")]
pub(super) enum LaneBins {
    Ordered(OrderedBins, Ruler),
    Nominal(NominalBins),
    Features(Features),
}

/// The three shapes of bins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Ordered,
    Nominal,
    Features,
}

impl LaneBins {
    pub(super) fn shape(&self) -> Shape {
        match self {
            Self::Ordered(..) => Shape::Ordered,
            Self::Nominal(_) => Shape::Nominal,
            Self::Features(_) => Shape::Features,
        }
    }
}

impl Family {
    /// The lanes of a column.
    pub(super) fn shape(self) -> Vec<(Part, Shape)> {
        let value = |shape| vec![(Part::Value, shape)];
        match self {
            Self::Number | Self::Time | Self::Duration => value(Shape::Ordered),
            Self::Boolean | Self::Category | Self::Null => value(Shape::Nominal),
            Self::Date => vec![(Part::Value, Shape::Ordered), (Part::Weekday, Shape::Nominal)],
            Self::Datetime => {
                vec![(Part::Value, Shape::Ordered), (Part::Weekday, Shape::Nominal), (Part::Hour, Shape::Nominal)]
            }
            Self::Text => {
                vec![(Part::Length, Shape::Ordered), (Part::Tokens, Shape::Ordered), (Part::Words, Shape::Nominal)]
            }
            Self::Embedding => vec![(Part::Norm, Shape::Ordered), (Part::Features, Shape::Features)],
        }
    }
}

impl Lane {
    pub(super) fn false_rate(&self) -> f64 {
        match &self.bins {
            LaneBins::Nominal(bins) => bins.filter().false_rate(),
            _ => 0.0,
        }
    }

    pub(super) fn ordered(part: Part, bins: OrderedBins, ruler: Ruler) -> Self {
        Self { part, bins: LaneBins::Ordered(bins, ruler) }
    }

    pub(super) fn nominal(part: Part, bins: NominalBins) -> Self {
        Self { part, bins: LaneBins::Nominal(bins) }
    }

    pub(super) fn weekday() -> Self {
        Self::nominal(Part::Weekday, calendar::weekday_bins())
    }

    pub(super) fn hour() -> Self {
        Self::nominal(Part::Hour, calendar::hour_bins())
    }

    fn no_counts(&self) -> LaneCounts {
        match &self.bins {
            LaneBins::Ordered(bins, _) => LaneCounts::Ordered { cells: vec![0; bins.cells()], sums: Sums::default() },
            LaneBins::Nominal(bins) => LaneCounts::Nominal { cells: vec![0; bins.cells()] },
            LaneBins::Features(_) => LaneCounts::Features { weight: 0, sums: vec![0; super::FEATURES] },
        }
    }
}

impl ColumnPlan {
    pub(super) fn no_counts(&self) -> ColumnCounts {
        ColumnCounts { null: 0, lanes: self.lanes.iter().map(Lane::no_counts).collect() }
    }
}

/// All that was frozen.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) columns: Vec<ColumnPlan>,
    /// The column that has the rows' weights.
    pub(super) weight: Option<String>,
    pub(super) segments: Option<Segments>,
    pub(super) pairs: Vec<Pair>,
    /// SHA-256 of all of the above, as it is written.
    pub(super) fingerprint: [u8; 32],
}

/// The values of a column that have a profile of their own; all others share one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Segments {
    pub(super) column: String,
    pub(super) family: Family,
    pub(super) values: NominalBins,
}

/// Two columns that are counted together, on coarse bins of each.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pair {
    pub(super) first: Side,
    pub(super) second: Side,
}

/// One column of a pair.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Side {
    /// Its number among the columns.
    pub(super) column: usize,
    /// To which coarse bin each cell of its first lane belongs; nulls are one more.
    pub(super) coarse: Vec<u8>,
}

impl Side {
    pub(super) fn bins(&self) -> usize {
        self.coarse.iter().max().map_or(0, |most| usize::from(*most) + 1) + 1
    }
}

impl Pair {
    pub(super) fn cells(&self) -> usize {
        self.first.bins() * self.second.bins()
    }
}
