//! What can be wrong with what is to be compared.

/// A sample or a setting that nothing can be said from.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A sample has no values.
    #[error("the {side} sample has no values to compare, expected at least one")]
    EmptySample {
        /// `reference` or `live`.
        side: &'static str,
    },

    /// A sample has values that are in no order.
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

    /// A setting that cannot be meant.
    #[error("{name} is {value}, expected {}", range(name))]
    Setting {
        /// Its name.
        name: &'static str,
        /// What was given.
        value: f64,
    },
}

impl Problem {
    /// Where, if that is known.
    #[must_use]
    pub fn place(&self) -> Option<String> {
        match self {
            Self::NoSuchColumn { column, .. } => Some(crate::error::column_place(column)),
            _ => None,
        }
    }

    /// The way out, if there is one.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::EmptySample { .. } => Some("Compare where both sides have rows; missing values are no values."),
            Self::NanInSample { .. } => {
                Some("Leave them out with missing=\"omit\", and compare how many there are by themselves.")
            }
            Self::InfiniteInSample { .. } => {
                Some("Leave them out first, or use a statistic that only looks at the order, such as ks_2samp.")
            }
            Self::NoSuchColumn { .. } => Some("Check its spelling, or leave it out."),
            Self::Setting { .. } => None,
        }
    }
}

/// What a setting may be.
fn range(name: &str) -> &'static str {
    match name {
        "alpha" => "more than 0 and at most 0.5",
        "power" => "at least 0.5 and less than 1",
        "draws" => "19 to 1,000,000",
        _ => "at least 0 and less than 1",
    }
}
