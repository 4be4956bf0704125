//! What can be wrong with what is hashed.

use arrow_schema::DataType;

use crate::error::column_place;

/// What is wrong, where, and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A column of a type that has no meaning as a feature.
    #[error("the column has the Arrow type {data_type}, which the feature hasher does not take here")]
    Type {
        /// Name of the column.
        column: String,
        /// Its type.
        data_type: DataType,
    },

    /// A date that no calendar, or a time of day that no clock has.
    #[error("the value is beyond the calendar")]
    BeyondCalendar {
        /// Name of the column.
        column: String,
        /// Number of the row, from 0.
        row: usize,
    },

    /// A null where there must be a value.
    #[error("the value is null, and no number was given that stands for null")]
    Null {
        /// Name of the column.
        column: String,
        /// Number of the row, from 0.
        row: usize,
    },

    /// A null among the items of a list.
    #[error("the list has an item that is null")]
    NullItem {
        /// Name of the column.
        column: String,
        /// Number of the row, from 0.
        row: usize,
    },

    /// A frame without columns.
    #[error("the frame is empty: it has no columns")]
    NoColumns,

    /// Two columns of one name.
    #[error("the frame has two columns of this name")]
    Repeated {
        /// Name of the column.
        column: String,
    },

    /// A column that is to be a category is not there.
    #[error("the frame has no such column, and it is named as categorical")]
    Missing {
        /// Name of the column.
        column: String,
    },

    /// A number of columns that cannot be.
    #[error("n_features is {found}, expected 1 to {}", i32::MAX)]
    Columns {
        /// What was given.
        found: i32,
    },
}

impl Problem {
    /// Where it is.
    #[must_use]
    pub fn place(&self) -> Option<String> {
        match self {
            Self::Type { column, .. } | Self::Repeated { column } | Self::Missing { column } => {
                Some(column_place(column))
            }
            Self::BeyondCalendar { column, row } | Self::Null { column, row } | Self::NullItem { column, row } => {
                Some(format!("{}, row {row}", column_place(column)))
            }
            Self::NoColumns | Self::Columns { .. } => None,
        }
    }

    /// The way out.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Type { .. } => Some(
                "Cast the column to a number, a string, a date or a list of these, or leave it out; tokens are strings.",
            ),
            Self::BeyondCalendar { .. } => Some("Fix the value, or make it null."),
            Self::Null { .. } => Some("Fill the nulls first, or say which number a null gets."),
            Self::NullItem { .. } => Some(
                "Drop the nulls of the lists (polars: `list.drop_nulls()`), or name what they stand for; a list that is \
                 null as a whole is as if it were not there.",
            ),
            Self::NoColumns => Some("Select the columns to hash; a dict without entries is a row of zeros."),
            Self::Repeated { .. } => Some("Rename or drop one of them."),
            Self::Missing { .. } => Some("Name columns that the frame has."),
            Self::Columns { .. } => None,
        }
    }
}
