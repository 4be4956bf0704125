//! Everything that can go wrong in this crate.
//!
//! A message says what was found and what was expected; [`Error::place`] and [`Error::hint`] carry where, and the way
//! out, so that a caller can show them apart.

use arrow_schema::{ArrowError, DataType};

use crate::detect;
use crate::drift::Problem as DriftProblem;
use crate::hasher::Problem as HasherProblem;
use crate::profile::Problem;

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A column has a type that has no defined hash.
    #[error("the column has the Arrow type {data_type}, which has no content hash")]
    UnsupportedType {
        /// Name of the column.
        column: String,
        /// Its type, or the type nested in it that is not supported.
        data_type: DataType,
    },

    /// A batch does not have the columns that the stream announced.
    #[error("a batch of the stream has {found}, but its schema announces {expected}")]
    SchemaMismatch {
        /// What the batch has.
        found: String,
        /// What was announced.
        expected: String,
    },

    /// A column's buffers contradict each other: an offset or a dictionary key points outside.
    #[error("the column's Arrow buffers are damaged: {reason}")]
    DamagedColumn {
        /// Name of the column.
        column: String,
        /// What does not fit.
        reason: String,
    },

    /// The producer of the stream failed.
    #[error("the producer of the frame failed: {0}")]
    Producer(#[source] ArrowError),

    /// A sparse result has more values than 32-bit indices can count.
    #[error("the result has at least {values} values other than zero, and at most {} fit", i32::MAX)]
    TooManyValues {
        /// How many there were when it was noticed.
        values: usize,
        /// Name of the column, if one alone has so many.
        column: Option<String>,
        /// Number of the row, from 0, up to which there are so many.
        row: Option<usize>,
    },

    /// A column of texts was expected.
    #[error("the column has the Arrow type {data_type}, expected text")]
    NotText {
        /// Name of the column.
        column: String,
        /// Its type.
        data_type: DataType,
    },

    /// Bytes that should be text are not.
    #[error("the text is not UTF-8: byte {byte} of it begins no character")]
    NotUtf8 {
        /// Name of the column, if it has one.
        column: Option<String>,
        /// Number of the row, from 0.
        row: usize,
        /// Where in the text, from 0.
        byte: usize,
    },

    /// An option of the text vectorizer has a value that it cannot have.
    #[error("{option} is {found}, expected {expected}")]
    TextOption {
        /// Name of the option.
        option: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: &'static str,
    },

    /// A feature plan is not valid.
    #[error("not a valid feature plan: {reason}")]
    InvalidPlan {
        /// What is wrong with it.
        reason: String,
    },

    /// A feature plan of a format that was never released.
    #[error("the feature plan has format {found} (made by an unreleased headrace), this headrace reads format {reads}")]
    OldPlan {
        /// Its format.
        found: u64,
        /// The format that is read.
        reads: u64,
    },

    /// A feature plan of a newer format.
    #[error("the feature plan has format {found} (made by a newer headrace), this headrace reads format {reads}")]
    NewerPlan {
        /// Its format.
        found: String,
        /// The format that is read.
        reads: u64,
    },

    /// A column that a feature plan reads is not there.
    #[error("the frame has no column '{}', which the feature plan reads", column.escape_debug())]
    MissingColumn {
        /// Name of the column.
        column: String,
        /// The nearest names that are there.
        hint: String,
    },

    /// A column that a feature plan neither reads nor saw when it was fitted.
    #[error("the frame has the column '{}', which the feature plan neither reads nor saw in training", column.escape_debug())]
    ExtraColumn {
        /// Name of the column.
        column: String,
    },

    /// A column is there twice.
    #[error("the frame cannot be read: it has the column '{}' twice", column.escape_debug())]
    ColumnTwice {
        /// Name of the column.
        column: String,
    },

    /// A column, or a value of a row, has a type that is neither the plan's nor a declared cast of it.
    #[error("{what}")]
    WrongType {
        /// Name of the column.
        column: String,
        /// A row that shows it, from 0.
        row: Option<usize>,
        /// What it is, and what was expected.
        what: String,
    },

    /// A float in a column of whole numbers is not whole, or too large.
    #[error("holds {value} ({found}), the feature plan expects whole numbers ({expected})")]
    NotWhole {
        /// Name of the column.
        column: String,
        /// Number of the row, from 0.
        row: usize,
        /// The value.
        value: String,
        /// The type of the column.
        found: String,
        /// The type in the plan.
        expected: String,
    },

    /// A date, datetime or time of day that no calendar or clock has.
    #[error("holds {value}, which is beyond the calendar")]
    BeyondCalendar {
        /// Name of the column.
        column: String,
        /// Number of the row, from 0.
        row: usize,
        /// The value.
        value: String,
    },

    /// A value of a column whose buffers contradict each other, or hold what the type does not allow.
    #[error("the column's Arrow buffers are damaged: {reason}")]
    DamagedRow {
        /// Name of the column.
        column: String,
        /// Number of the row, from 0.
        row: usize,
        /// What does not fit.
        reason: String,
    },

    /// A row of JSON cannot be read.
    #[error("the row is no JSON object of columns: {reason}")]
    BadRow {
        /// What is wrong with it.
        reason: String,
    },

    /// A dense matrix would have too many columns.
    #[error("the feature plan has {columns} outputs, a dense matrix has at most {most}")]
    TooWide {
        /// How many.
        columns: usize,
        /// At most.
        most: usize,
    },

    /// A dense matrix would not fit into memory.
    #[error("a matrix of {rows} rows and {columns} columns does not fit into memory")]
    TooLarge {
        /// Its rows.
        rows: usize,
        /// Its columns.
        columns: usize,
    },

    /// Something is wrong with what a change detector was given.
    #[error(transparent)]
    Detector(#[from] detect::Problem),

    /// Something is wrong with a profile or a window.
    #[error(transparent)]
    Profile(#[from] Problem),

    /// Nothing can be said about drift from what was given.
    #[error(transparent)]
    Drift(#[from] DriftProblem),

    /// Something is wrong with what is hashed to features.
    #[error(transparent)]
    Hasher(#[from] HasherProblem),

    /// The operating system gave no threads.
    #[error("cannot start {threads} threads: {reason}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the system said.
        reason: String,
    },
}

impl Error {
    /// Whether bytes that should be a profile are at fault.
    #[must_use]
    pub fn is_of_profile_bytes(&self) -> bool {
        matches!(self, Self::Profile(Problem::Bytes { .. } | Problem::Newer { .. }))
    }

    /// The same with the row in which the values became too many.
    #[must_use]
    pub(crate) fn in_row(self, number: usize) -> Self {
        match self {
            Self::TooManyValues { values, column, .. } => Self::TooManyValues { values, column, row: Some(number) },
            other => other,
        }
    }

    /// Where it happened, if that is known: `column 'age'`.
    #[must_use]
    pub fn place(&self) -> Option<String> {
        match self {
            Self::UnsupportedType { column, .. }
            | Self::DamagedColumn { column, .. }
            | Self::NotText { column, .. }
            | Self::MissingColumn { column, .. }
            | Self::ExtraColumn { column }
            | Self::ColumnTwice { column }
            | Self::WrongType { column, row: None, .. } => Some(column_place(column)),
            Self::NotUtf8 { column: Some(column), row, .. }
            | Self::WrongType { column, row: Some(row), .. }
            | Self::NotWhole { column, row, .. }
            | Self::BeyondCalendar { column, row, .. }
            | Self::DamagedRow { column, row, .. } => Some(format!("{}, row {row}", column_place(column))),
            Self::TooManyValues { column: Some(column), row: Some(row), .. } => {
                Some(format!("{}, row {row}", column_place(column)))
            }
            Self::NotUtf8 { column: None, row, .. } | Self::TooManyValues { column: None, row: Some(row), .. } => {
                Some(format!("row {row}"))
            }
            Self::InvalidPlan { .. } | Self::OldPlan { .. } | Self::NewerPlan { .. } => Some("feature plan".to_owned()),
            Self::Detector(problem) => problem.place(),
            Self::Profile(problem) => problem.place(),
            Self::Drift(problem) => problem.place(),
            Self::Hasher(problem) => problem.place(),
            Self::SchemaMismatch { .. }
            | Self::Producer(_)
            | Self::TooManyValues { row: None, .. }
            | Self::TextOption { .. }
            | Self::BadRow { .. }
            | Self::TooWide { .. }
            | Self::TooLarge { .. }
            | Self::Threads { .. } => None,
        }
    }

    /// The way out, if there is one.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::UnsupportedType { .. } => {
                Some("Cast the column to a plain type (a number, string, binary, date or time, list or struct) first.")
            }
            Self::SchemaMismatch { .. } => Some("Give every batch the same columns and types, in the same order."),
            Self::DamagedColumn { .. } | Self::DamagedRow { .. } => {
                Some("Write the frame anew from its source; whatever produced it broke Arrow's layout rules.")
            }
            Self::Detector(problem) => problem.hint(),
            Self::Profile(problem) => problem.hint(),
            Self::Drift(problem) => problem.hint(),
            Self::Hasher(problem) => problem.hint(),
            Self::NotText { .. } => Some("Cast it to text first, or leave it out."),
            Self::NotUtf8 { .. } => Some("Say which encoding the bytes have, or how to treat those that do not fit."),
            Self::Producer(_) | Self::TextOption { .. } => None,
            Self::TooManyValues { .. } | Self::TooLarge { .. } => Some("Transform the rows in parts."),
            Self::InvalidPlan { .. } => {
                Some("The document is damaged or was changed by hand; take it again from where it was made.")
            }
            Self::OldPlan { .. } => Some("Fit it again."),
            Self::NewerPlan { .. } => Some("Upgrade headrace."),
            Self::MissingColumn { hint, .. } => Some(hint),
            Self::ExtraColumn { .. } => {
                Some("Leave it out, say extra_columns=\"ignore\", or fit the plan again with it.")
            }
            Self::ColumnTwice { .. } => Some("Rename or drop one of them."),
            Self::WrongType { .. } => Some("Read or cast the column with the type that it had in training."),
            Self::NotWhole { .. } => {
                Some("Fix the value, or fit the plan again on data in which the column is a float.")
            }
            Self::BeyondCalendar { .. } => Some("Fix the value, or make it null."),
            Self::BadRow { .. } => Some("Give one object with a value for each column."),
            Self::TooWide { .. } => Some("Ask for sparse rows, or give the hashed columns fewer outputs."),
            Self::Threads { .. } => Some("Ask for fewer threads."),
        }
    }
}

/// A column as a place: `column 'age'`, on one line whatever the name holds.
#[must_use]
pub fn column_place(name: &str) -> String {
    format!("column '{}'", name.escape_debug())
}
