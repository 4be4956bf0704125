//! Everything that can go wrong in this crate.
//!
//! A message says what was found and what was expected; [`Error::place`] and [`Error::hint`] carry where, and the way
//! out, so that a caller can show them apart.

use arrow_schema::{ArrowError, DataType};

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

    /// A sample that is to be compared has no values.
    #[error("the {side} sample has no values to compare, expected at least one")]
    EmptySample {
        /// `reference` or `live`.
        side: &'static str,
    },

    /// A sample that is to be compared has values that are in no order.
    #[error("the {side} sample has {count} missing values (NaN or null), which are in no order")]
    NanInSample {
        /// `reference` or `live`.
        side: &'static str,
        /// How many.
        count: usize,
    },

    /// A distance in units of the values is asked for, and a value is infinite.
    #[error("the {side} sample has infinite values, from which no distance can be measured")]
    InfiniteInSample {
        /// `reference` or `live`.
        side: &'static str,
    },

    /// Something is said about a column that is not there.
    #[error("there is {what} for the column, but no such column")]
    NoSuchColumn {
        /// The name.
        column: String,
        /// What is said.
        what: &'static str,
    },

    /// A setting of drift that cannot be meant.
    #[error("{name} is {value}, expected {}", drift_range(name))]
    DriftSetting {
        /// Its name.
        name: &'static str,
        /// What was given.
        value: f64,
    },

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
    /// Where it happened, if that is known: `column 'age'`.
    #[must_use]
    pub fn place(&self) -> Option<String> {
        match self {
            Self::UnsupportedType { column, .. }
            | Self::DamagedColumn { column, .. }
            | Self::NoSuchColumn { column, .. }
            | Self::NotText { column, .. } => Some(column_place(column)),
            Self::NotUtf8 { column: Some(column), row, .. } => Some(format!("{}, row {row}", column_place(column))),
            Self::NotUtf8 { column: None, row, .. } => Some(format!("row {row}")),
            Self::SchemaMismatch { .. }
            | Self::Producer(_)
            | Self::TooManyValues { .. }
            | Self::TextOption { .. }
            | Self::EmptySample { .. }
            | Self::NanInSample { .. }
            | Self::InfiniteInSample { .. }
            | Self::DriftSetting { .. }
            | Self::Threads { .. } => None,
        }
    }

    /// The way out, if there is one.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::UnsupportedType { .. } => {
                Some("Cast the column to a plain type (a number, string, binary, date or time, list or struct) first.")
            }
            Self::SchemaMismatch { .. } => Some("Give every batch the same columns and types, in the same order."),
            Self::DamagedColumn { .. } => {
                Some("Write the frame anew from its source; whatever produced it broke Arrow's layout rules.")
            }
            Self::NotText { .. } => Some("Cast it to text first, or leave it out."),
            Self::NotUtf8 { .. } => Some("Say which encoding the bytes have, or how to treat those that do not fit."),
            Self::Producer(_) | Self::TextOption { .. } | Self::DriftSetting { .. } => None,
            Self::TooManyValues { .. } => Some("Transform the rows in parts."),
            Self::NoSuchColumn { .. } => Some("Check its spelling, or leave it out."),
            Self::EmptySample { .. } => Some("Compare where both sides have rows; missing values are no values."),
            Self::NanInSample { .. } => {
                Some("Leave them out with missing=\"omit\", and compare how many there are by themselves.")
            }
            Self::InfiniteInSample { .. } => {
                Some("Leave them out first, or use a statistic that only looks at the order, such as ks_2samp.")
            }
            Self::Threads { .. } => Some("Ask for fewer threads."),
        }
    }
}

/// What a setting of drift may be.
fn drift_range(name: &str) -> &'static str {
    match name {
        "alpha" => "more than 0 and at most 0.5",
        "power" => "at least 0.5 and less than 1",
        "draws" => "19 to 1,000,000",
        _ => "at least 0 and less than 1",
    }
}

/// A column as a place: `column 'age'`, on one line whatever the name holds.
#[must_use]
pub fn column_place(name: &str) -> String {
    format!("column '{}'", name.escape_debug())
}
