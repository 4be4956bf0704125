//! Dates, times and decimals of JSON rows, from their ISO 8601 text.

use chrono::NaiveDate;

use crate::value::Unit;

/// `2013-01-31`, in days since 1970-01-01. A year has four digits, or a sign and at least four.
pub(super) fn date(text: &str) -> Option<i32> {
    let (rest, month_day) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let [b'-', m1, m2, b'-', d1, d2] = *month_day.as_bytes() else { return None };
    let year = match rest.as_bytes() {
        [b'+' | b'-', digits @ ..] if (4..=6).contains(&digits.len()) => {
            let year = number(digits)?;
            if rest.starts_with('-') { -year } else { year }
        }
        digits if digits.len() == 4 => number(digits)?,
        _ => return None,
    };
    let (month, day) = (number(&[m1, m2])?, number(&[d1, d2])?);
    let date =
        NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, u32::try_from(month).ok()?, u32::try_from(day).ok()?)?;
    Some(date.to_epoch_days())
}

/// `2013-01-31T05:00:00.5` (also with a space), in the coarsest unit that holds it; with an offset (`Z`, `+01:00`) if and
/// only if it is `zoned`, and then counted in UTC.
pub(super) fn datetime(text: &str, zoned: bool) -> Option<(i64, Unit)> {
    let middle = text.find(['T', 't', ' '])?;
    let days = date(text.get(..middle)?)?;
    let mut clock = text.get(middle + 1..)?;
    let mut offset = 0;
    if zoned {
        if let Some(rest) = clock.strip_suffix(['Z', 'z']) {
            clock = rest;
        } else {
            let (rest, zone) = clock.split_at_checked(clock.len().checked_sub(6)?)?;
            let [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] = *zone.as_bytes() else { return None };
            let (hours, minutes) = (number(&[h1, h2])?, number(&[m1, m2])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            offset = (hours * 3600 + minutes * 60) * if sign == b'-' { -1 } else { 1 };
            clock = rest;
        }
    }
    let (seconds, nanoseconds, digits) = of_clock(clock)?;
    let seconds = i64::from(days) * 86_400 + seconds - offset;
    let (unit, divisor) = match digits {
        0..=3 => (Unit::Millisecond, 1_000_000),
        4..=6 => (Unit::Microsecond, 1_000),
        _ => (Unit::Nanosecond, 1),
    };
    let count = seconds.checked_mul(unit.per_second())?.checked_add(nanoseconds / divisor)?;
    Some((count, unit))
}

/// `05:00:00.5`, in nanoseconds.
pub(super) fn time(text: &str) -> Option<i64> {
    let (seconds, nanoseconds, _) = of_clock(text)?;
    Some(seconds * 1_000_000_000 + nanoseconds)
}

/// `-12.50`: 1250 and two digits behind the point.
pub(super) fn decimal(text: &str) -> Option<(i128, i8)> {
    let (whole, fraction) = text.split_once('.').map_or((text, ""), |(whole, fraction)| (whole, fraction));
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let all = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if digits.is_empty() || !all(digits) || !all(fraction) || (text.contains('.') && fraction.is_empty()) {
        return None;
    }
    if digits.len() + fraction.len() > 38 {
        return None;
    }
    let value: i128 = format!("{whole}{fraction}").parse().ok()?;
    Some((value, i8::try_from(fraction.len()).ok()?))
}

/// Seconds, nanoseconds, and how many digits the fraction has up to its last that is not zero.
fn of_clock(text: &str) -> Option<(i64, i64, usize)> {
    let (clock, fraction) = text.split_once('.').map_or((text, None), |(clock, fraction)| (clock, Some(fraction)));
    let [h1, h2, b':', m1, m2, b':', s1, s2] = *clock.as_bytes() else { return None };
    let (hours, minutes, seconds) = (number(&[h1, h2])?, number(&[m1, m2])?, number(&[s1, s2])?);
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let (mut nanoseconds, mut digits) = (0, 0);
    if let Some(fraction) = fraction {
        if fraction.is_empty() || fraction.len() > 9 {
            return None;
        }
        nanoseconds = number(fraction.as_bytes())?;
        for _ in fraction.len()..9 {
            nanoseconds *= 10;
        }
        digits = fraction.trim_end_matches('0').len();
    }
    Some((hours * 3600 + minutes * 60 + seconds, nanoseconds, digits))
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0_i64, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::{write_date, write_datetime, write_decimal, write_time};

    #[test]
    fn what_is_no_date() {
        for text in ["", "2013-1-31", "2013-02-30", "13-01-31", "2013/01/31", "2013-01-31 ", "é013-01-31", "+2013-01"]
        {
            assert_eq!(date(text), None, "{text}");
        }
        for text in
            ["2013-01-31", "2013-01-31T05:00", "2013-01-31T24:00:00", "2013-01-31T05:00:60", "2013-01-31T05:00:00."]
        {
            assert_eq!(datetime(text, false), None, "{text}");
        }
        assert_eq!(datetime("2013-01-31T05:00:00", true), None);
        assert_eq!(datetime("2013-01-31T05:00:00Z", false), None);
        assert_eq!(datetime("1970-01-01T01:00:00+01:00", true), Some((0, Unit::Millisecond)));
        assert_eq!(datetime("1970-01-01 00:00:00.000001", false), Some((1, Unit::Microsecond)));
        assert_eq!(decimal("-12.50"), Some((-1250, 2)));
        for text in ["", "-", ".5", "5.", "1e3", "+1", "1.2.3", "0x1", "1 "] {
            assert_eq!(decimal(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            days in -90_000_000_i64..90_000_000, count: i64, time_of_day in 0..86_400_000_000_000_i64, value: i64, scale in 0_u8..19,
        ) {
            let mut text = String::new();
            prop_assert!(write_date(&mut text, days));
            prop_assert_eq!(date(&text).map(i64::from), Some(days));
            for (unit, zoned) in [(Unit::Nanosecond, true), (Unit::Microsecond, false), (Unit::Millisecond, true)] {
                text.clear();
                if write_datetime(&mut text, count, unit, zoned) {
                    let (read, read_unit) = datetime(&text, zoned).unwrap();
                    let nanoseconds = |count: i64, unit: Unit| i128::from(count) * i128::from(1_000_000_000 / unit.per_second());
                    prop_assert_eq!(nanoseconds(read, read_unit), nanoseconds(count, unit));
                }
            }
            text.clear();
            prop_assert!(write_time(&mut text, time_of_day, Unit::Nanosecond));
            prop_assert_eq!(time(&text), Some(time_of_day));
            text.clear();
            write_decimal(&mut text, value.into(), scale);
            let (read, read_scale) = decimal(&text).unwrap();
            let scale = i8::try_from(scale).unwrap();
            let bits = |value, scale| crate::plan::number::decimal(value, scale).to_bits();
            prop_assert_eq!(bits(read, read_scale), bits(value.into(), scale));
        }

        #[test]
        fn any_text_is_something_or_nothing(text: String, shaped in "[0-9TZ:. +-]{0,24}") {
            for text in [text, shaped] {
                let _ = (date(&text), datetime(&text, true), datetime(&text, false), time(&text), decimal(&text));
            }
        }
    }
}
