//! How a value is written wherever values are compared as text: one formatter, so that `1`, `1.0` and `"1"` cannot
//! differ between training and serving.
//!
//! Numbers are written as ECMAScript's `Number::toString` does (which RFC 8785, canonical JSON, adopts): the fewest
//! digits that read back as the same float, no point behind whole numbers, an exponent from 1e21 and below 1e-6. Minus
//! zero is `0`. Integers are written in decimal, booleans as `true` and `false`, decimals without trailing zeros, and
//! what has a calendar as ISO 8601.

use std::fmt::Write as _;

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveDateTime, Timelike as _};

/// Days from 0001-01-01 to 1970-01-01, plus one: what chrono counts from.
const UNIX_EPOCH_FROM_CE: i64 = 719_163;

/// Units of a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Second,
    /// Thousandths.
    Millisecond,
    /// Millionths.
    Microsecond,
    /// Billionths.
    Nanosecond,
}

impl Unit {
    /// How many make a second.
    #[must_use]
    pub const fn per_second(self) -> i64 {
        match self {
            Self::Second => 1,
            Self::Millisecond => 1_000,
            Self::Microsecond => 1_000_000,
            Self::Nanosecond => 1_000_000_000,
        }
    }
}

/// Appends `true` or `false`.
pub fn write_bool(out: &mut String, value: bool) {
    out.push_str(if value { "true" } else { "false" });
}

/// Appends an integer in decimal.
pub fn write_integer<I: itoa::Integer>(out: &mut String, value: I) {
    out.push_str(itoa::Buffer::new().format(value));
}

/// Appends a float64: `1`, `0.1`, `1e-7`, `NaN`, `Infinity`, `-Infinity`.
pub fn write_f64(out: &mut String, value: f64) {
    out.push_str(ryu_js::Buffer::new().format(value));
}

/// Appends a float32 by the fewest digits that read back as the same float32.
pub fn write_f32(out: &mut String, value: f32) {
    out.push_str(ryu_js::Buffer::new().format(value));
}

/// Appends a decimal: `value` times 10^-`scale`, without trailing zeros behind the point.
pub fn write_decimal(out: &mut String, value: i128, scale: u8) {
    if value < 0 {
        out.push('-');
    }
    let digits = value.unsigned_abs().to_string();
    let scale = usize::from(scale);
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    out.push_str(whole);
    let fraction = fraction.trim_end_matches('0');
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
}

/// Appends a date, `2013-01-31`, from days since 1970-01-01; false, and nothing appended, beyond the calendar.
#[must_use]
pub fn write_date(out: &mut String, days: i64) -> bool {
    let date = i32::try_from(days + UNIX_EPOCH_FROM_CE).ok().and_then(NaiveDate::from_num_days_from_ce_opt);
    date.is_some_and(|date| {
        put_date(out, date);
        true
    })
}

/// Appends a point in time, `2013-01-31T05:00:00` or with a fraction of the digits that it needs; `zoned` (a count from
/// the epoch in UTC): with a `Z`. False, and nothing appended, beyond the calendar.
#[must_use]
pub fn write_datetime(out: &mut String, count: i64, unit: Unit, zoned: bool) -> bool {
    datetime(count, unit).is_some_and(|moment| {
        put_date(out, moment.date());
        out.push('T');
        put_time(out, moment.num_seconds_from_midnight(), moment.nanosecond());
        if zoned {
            out.push('Z');
        }
        true
    })
}

/// Appends a time of day, `05:00:00` or with a fraction; false, and nothing appended, for a count that is no time of day.
#[must_use]
pub fn write_time(out: &mut String, count: i64, unit: Unit) -> bool {
    let per_second = unit.per_second();
    match u32::try_from(count.div_euclid(per_second)) {
        Ok(seconds) if seconds < 86_400 => {
            let nanoseconds = count.rem_euclid(per_second) * (1_000_000_000 / per_second);
            put_time(out, seconds, u32::try_from(nanoseconds).unwrap_or(0));
            true
        }
        _ => false,
    }
}

/// The point in time that lies `count` units from 1970-01-01T00:00:00, if the calendar has it.
#[must_use]
pub fn datetime(count: i64, unit: Unit) -> Option<NaiveDateTime> {
    let per_second = unit.per_second();
    let nanoseconds = count.rem_euclid(per_second) * (1_000_000_000 / per_second);
    DateTime::from_timestamp(count.div_euclid(per_second), u32::try_from(nanoseconds).ok()?)
        .map(|moment| moment.naive_utc())
}

// Writing to a String cannot fail.
fn put_date(out: &mut String, date: NaiveDate) {
    let year = date.year();
    let _ = match year {
        0..=9999 => write!(out, "{year:04}"),
        _ => write!(out, "{year:+05}"),
    };
    let _ = write!(out, "-{:02}-{:02}", date.month(), date.day());
}

fn put_time(out: &mut String, seconds: u32, nanoseconds: u32) {
    let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if nanoseconds > 0 {
        let digits = format!("{nanoseconds:09}");
        let _ = write!(out, ".{}", digits.trim_end_matches('0'));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::float_cmp, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut String)) -> String {
        let mut out = String::new();
        write(&mut out);
        out
    }

    #[test]
    fn one_number_one_text() {
        for (value, text) in [
            (1.0, "1"),
            (-0.0, "0"),
            (0.1, "0.1"),
            (1e-5, "0.00001"),
            (1e-7, "1e-7"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(written(|out| write_f64(out, value)), text);
        }
        assert_eq!(written(|out| write_f32(out, 0.1)), "0.1");
        assert_eq!(written(|out| write_integer(out, 1)), written(|out| write_f64(out, 1.0)));
    }

    #[test]
    fn decimals() {
        for (value, scale, text) in [(150, 2, "1.5"), (100, 2, "1"), (-5, 3, "-0.005"), (0, 4, "0"), (7, 0, "7")] {
            assert_eq!(written(|out| write_decimal(out, value, scale)), text);
        }
    }

    #[test]
    fn calendar() {
        assert_eq!(written(|out| assert!(write_date(out, 15_706))), "2013-01-01");
        assert_eq!(written(|out| assert!(write_date(out, -719_529))), "-0001-12-31");
        assert_eq!(
            written(|out| assert!(write_datetime(out, -1, Unit::Millisecond, true))),
            "1969-12-31T23:59:59.999Z"
        );
        assert_eq!(written(|out| assert!(write_datetime(out, 0, Unit::Nanosecond, false))), "1970-01-01T00:00:00");
        assert_eq!(written(|out| assert!(write_time(out, 18_000_500_000, Unit::Microsecond))), "05:00:00.5");
        assert_eq!(written(|out| assert!(!write_time(out, 86_400, Unit::Second))), "");
        assert_eq!(written(|out| assert!(!write_date(out, i64::from(i32::MAX)))), "");
    }

    proptest! {
        #[test]
        fn floats_read_back(value: f64) {
            prop_assume!(!value.is_nan());
            let text = written(|out| write_f64(out, value));
            prop_assert_eq!(text.replace("Infinity", "inf").parse::<f64>().unwrap(), value);
        }

        #[test]
        fn whole_floats_and_integers_are_written_alike(value in -(1_i64 << 53)..(1_i64 << 53)) {
            #[expect(clippy::cast_precision_loss, reason = "whole numbers up to 2^53 are floats")]
            let float = value as f64;
            prop_assert_eq!(written(|out| write_f64(out, float)), written(|out| write_integer(out, value)));
        }

        #[test]
        fn any_count_is_a_text_or_none(count: i64) {
            for unit in [Unit::Second, Unit::Millisecond, Unit::Microsecond, Unit::Nanosecond] {
                let mut out = String::new();
                prop_assert_eq!(write_datetime(&mut out, count, unit, false), !out.is_empty());
                out.clear();
                prop_assert_eq!(write_time(&mut out, count, unit), !out.is_empty());
            }
        }
    }
}
