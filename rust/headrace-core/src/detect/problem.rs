//! What can go wrong with detectors.

use arrow_schema::DataType;

/// What is wrong with what a detector was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// An option is outside what it can be.
    #[error("{option} is {found}, expected {expected}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// What it is.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A detector cannot read values of this type.
    #[error("values of the Arrow type {data_type} are no numbers that a detector reads")]
    Type {
        /// Their type.
        data_type: DataType,
    },
    /// A value that the detector cannot take. Nothing was read.
    #[error("the value is {found}, expected {}", if *binary { "0 or 1" } else { "a number between -1e100 and 1e100" })]
    Value {
        /// Its row in what was given, from 0.
        row: usize,
        /// What it is.
        found: String,
        /// Whether the detector reads zeros and ones only.
        binary: bool,
    },
    /// Bytes are not the state of a detector, or not one that this version can read.
    #[error("the bytes are not the state of a detector: {reason}")]
    State {
        /// What does not fit.
        reason: String,
    },
}

impl Problem {
    /// Where it is, if that is known.
    #[must_use]
    pub fn place(&self) -> Option<String> {
        match self {
            Self::Value { row, .. } => Some(format!("row {row}")),
            Self::Option { .. } | Self::Type { .. } | Self::State { .. } => None,
        }
    }

    /// The way out, if there is one.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Option { .. } => None,
            Self::Type { .. } => Some("Give floats, integers or booleans."),
            Self::Value { binary: true, .. } => {
                Some("Give 1 for a wrong answer and 0 for a right one; missing=\"skip\" passes over null and NaN.")
            }
            Self::Value { .. } => Some("Clip or drop what is infinite; missing=\"skip\" passes over null and NaN."),
            Self::State { .. } => Some("Read them as to_bytes() wrote them, or start a new detector."),
        }
    }
}
