//! What can go wrong with profiles.

use arrow_schema::DataType;

use super::Family;
use crate::error::column_place;

/// What went wrong with a profile or a window.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The reference has a column that the frame does not have.
    #[error("the reference has this column, the frame does not")]
    MissingColumn {
        /// Its name.
        column: String,
    },
    /// The frame has a column that the reference does not have.
    #[error("the frame has this column, the reference does not")]
    NewColumn {
        /// Its name.
        column: String,
    },
    /// The frame has a column twice.
    #[error("the frame has {count} columns of this name")]
    DuplicateColumn {
        /// Its name.
        column: String,
        /// How often.
        count: usize,
    },
    /// A column has another type than in the reference.
    #[error("the column has the Arrow type {found}, and the reference has it as {expected}")]
    ColumnType {
        /// Its name.
        column: String,
        /// Its type.
        found: DataType,
        /// What it was.
        expected: Family,
    },
    /// There is no profile of columns of such a type.
    #[error("the column has the Arrow type {found}, of which there is no profile")]
    NoProfile {
        /// Its name.
        column: String,
        /// Its type.
        found: DataType,
    },
    /// A column is to be something that it cannot be.
    #[error("{reason}")]
    Role {
        /// Its name.
        column: String,
        /// What it is to be, and why it cannot.
        reason: String,
    },
    /// A row's weight is not one.
    #[error("the weight is {found}, expected a number from 0 to {}", super::MAX_WEIGHT)]
    Weight {
        /// The column of weights.
        column: String,
        /// Number of the row, from 0.
        row: u64,
        /// Its weight, or `null`.
        found: String,
    },
    /// More rows, or more weight, than counts hold.
    #[error("the counts have no room for more")]
    NoRoom {
        /// Where, if it is one column.
        column: Option<String>,
    },
    /// More would be subtracted than is there.
    #[error("what is subtracted was never added: a count would be negative")]
    NeverAdded {
        /// The first column where that shows.
        column: Option<String>,
    },
    /// Windows of different references were put together or compared.
    #[error("the two were counted on the bins of different references")]
    OtherReference,
    /// The source gave other rows when it was read again.
    #[error("the source gave {first} rows, and {second} when it was read again")]
    RowsChanged {
        /// The first time.
        first: u64,
        /// The second time.
        second: u64,
    },
    /// Bytes are no profile, or damaged.
    #[error("the bytes are no {what}: {reason}")]
    Bytes {
        /// `profile` or `window`.
        what: &'static str,
        /// What does not fit, and where.
        reason: String,
    },
    /// Bytes were written by a newer headrace.
    #[error("the {what} has format {found}, and this headrace reads up to {known}")]
    Newer {
        /// `profile` or `window`.
        what: &'static str,
        /// Its format.
        found: u16,
        /// The newest known one.
        known: u16,
    },
}

impl Problem {
    pub(crate) fn place(&self) -> Option<String> {
        match self {
            Self::Weight { column, row, .. } => Some(format!("{}, row {row}", column_place(column))),
            Self::MissingColumn { column }
            | Self::NewColumn { column }
            | Self::DuplicateColumn { column, .. }
            | Self::ColumnType { column, .. }
            | Self::NoProfile { column, .. }
            | Self::Role { column, .. }
            | Self::NoRoom { column: Some(column) }
            | Self::NeverAdded { column: Some(column) } => Some(column_place(column)),
            _ => None,
        }
    }

    pub(crate) fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::MissingColumn { .. } => {
                "Give the frame the reference's columns, or fit a reference without this one."
            }
            Self::NewColumn { .. } => "Drop it, tell the window to ignore new columns, or fit a reference that has it.",
            Self::DuplicateColumn { .. } => "Rename all but one.",
            Self::ColumnType { .. } => "Cast the column to the reference's type, or fit a new reference.",
            Self::NoProfile { .. } => "Cast it to a number, text, date, time or list of floats, or leave it out.",
            Self::Weight { .. } => "Replace or drop such rows; divide all weights by a number if they are too large.",
            Self::NoRoom { .. } => "Start a new window.",
            Self::NeverAdded { .. } => "Subtract only windows that were added to this one.",
            Self::OtherReference => "Count both on windows of the same reference.",
            Self::RowsChanged { .. } => "Give a source that reads the same rows each time it is opened.",
            Self::Bytes { .. } => "Write it anew: the file is damaged or something else.",
            Self::Newer { .. } => "Upgrade headrace, or fit the profile anew with this one.",
            Self::Role { .. } => return None,
        })
    }
}
