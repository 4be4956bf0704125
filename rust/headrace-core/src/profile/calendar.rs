//! Weekday and hour of a moment, in UTC.

use super::nominal::NominalBins;
use super::words::Filter;

const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const DAY: f64 = 86_400.0;

pub(super) fn weekday_bins() -> NominalBins {
    NominalBins::new(WEEKDAYS.iter().map(|name| name.as_bytes()), Filter::for_texts(0))
}

pub(super) fn hour_bins() -> NominalBins {
    let names: Vec<_> = (0..24).map(|hour| format!("{hour:02}")).collect();
    NominalBins::new(names.iter().map(String::as_bytes), Filter::for_texts(0))
}

/// 0 is Monday; of days since 1970-01-01, a Thursday.
pub(super) fn weekday(days: f64) -> usize {
    whole((days.floor() + 3.0).rem_euclid(7.0)).min(6)
}

/// Of seconds since then.
pub(super) fn hour(seconds: f64) -> usize {
    whole((seconds.rem_euclid(DAY) / 3600.0).floor()).min(23)
}

pub(super) fn days(seconds: f64) -> f64 {
    seconds / DAY
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 23")]
fn whole(value: f64) -> usize {
    value as usize
}
