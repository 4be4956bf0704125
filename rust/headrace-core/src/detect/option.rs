//! Options of the detectors, checked.

use super::Problem;
use crate::Result;

/// Whose definition is followed where a paper and river differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Semantics {
    /// The paper's.
    Paper,
    /// River's, as of 0.26.1.
    River,
}

impl Semantics {
    /// By its name, `paper` or `river`.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "paper" => Ok(Self::Paper),
            "river" => Ok(Self::River),
            _ => refuse("semantics", format!("'{}'", name.escape_debug()), "'paper' or 'river'"),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Paper => "paper",
            Self::River => "river",
        }
    }

    pub(super) fn code(self) -> u8 {
        u8::from(self == Self::River)
    }

    pub(super) fn of_code(river: bool) -> Self {
        if river { Self::River } else { Self::Paper }
    }
}

/// Which changes count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The mean rises.
    Up,
    /// The mean falls.
    Down,
    /// Either.
    Both,
}

impl Direction {
    /// By its name: `up`, `down` or `both`.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "up" => Ok(Self::Up),
            "down" => Ok(Self::Down),
            "both" => Ok(Self::Both),
            _ => refuse("direction", format!("'{}'", name.escape_debug()), "'up', 'down' or 'both'"),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Both => "both",
        }
    }

    pub(super) fn up(self) -> bool {
        self != Self::Down
    }

    pub(super) fn down(self) -> bool {
        self != Self::Up
    }

    pub(super) fn code(self) -> u8 {
        match self {
            Self::Up => 0,
            Self::Down => 1,
            Self::Both => 2,
        }
    }

    pub(super) fn of_code(code: u8) -> Result<Self> {
        match code {
            0 => Ok(Self::Up),
            1 => Ok(Self::Down),
            2 => Ok(Self::Both),
            other => super::state::refuse(format!("a direction in them is {other}")),
        }
    }
}

fn refuse<T>(option: &'static str, found: String, expected: &'static str) -> Result<T> {
    Err(Problem::Option { option, found, expected }.into())
}

/// `value`, if it is inside (`low`, `high`) or, where `closed`, on its ends.
pub(super) fn between(
    option: &'static str,
    value: f64,
    (low, high): (f64, f64),
    closed: bool,
    expected: &'static str,
) -> Result<f64> {
    let inside = if closed { value >= low && value <= high } else { value > low && value < high };
    if inside { Ok(value) } else { refuse(option, value.to_string(), expected) }
}

/// `value`, if it is finite and not negative.
pub(super) fn not_negative(option: &'static str, value: f64) -> Result<f64> {
    if value.is_finite() && value >= 0.0 {
        Ok(value)
    } else {
        refuse(option, value.to_string(), "a finite number of at least 0")
    }
}

/// `value`, if it is finite and above 0.
pub(super) fn positive(option: &'static str, value: f64) -> Result<f64> {
    if value.is_finite() && value > 0.0 {
        Ok(value)
    } else {
        refuse(option, value.to_string(), "a finite number above 0")
    }
}

/// `value`, if it is from `low` to `high`.
pub(super) fn count(option: &'static str, value: u64, (low, high): (u64, u64), expected: &'static str) -> Result<u64> {
    if (low..=high).contains(&value) { Ok(value) } else { refuse(option, value.to_string(), expected) }
}
