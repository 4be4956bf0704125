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
            Self::UnsupportedType { column, .. } | Self::DamagedColumn { column, .. } => Some(column_place(column)),
            Self::SchemaMismatch { .. } | Self::Producer(_) | Self::TooManyValues { .. } | Self::Threads { .. } => None,
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
            Self::Producer(_) => None,
            Self::TooManyValues { .. } => Some("Transform the rows in parts."),
            Self::Threads { .. } => Some("Ask for fewer threads."),
        }
    }
}

/// A column as a place: `column 'age'`, on one line whatever the name holds.
#[must_use]
pub fn column_place(name: &str) -> String {
    format!("column '{}'", name.escape_debug())
}
