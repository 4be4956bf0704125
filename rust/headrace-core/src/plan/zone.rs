//! How far a time zone is from UTC. The tz database is compiled in (the `chrono-tz` crate, as in polars), so that two
//! machines cannot disagree; it knows the rules up to the year 2099.

use chrono::{DateTime, Offset as _, TimeZone as _};
use chrono_tz::Tz;

const DAY: i64 = 86_400;
/// Days that are remembered; a power of two.
const REMEMBERED: usize = 1024;
/// The offset changes within the day.
const CHANGES: i32 = i32::MIN;

/// A zone of the tz database, or a fixed distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zone {
    Named(Tz),
    /// Seconds east.
    Fixed(i32),
}

impl Zone {
    /// `Europe/Berlin`, `UTC`, `+01:00`.
    pub(super) fn parse(name: &str) -> Option<Self> {
        if let Ok(zone) = name.parse::<Tz>() {
            return Some(if zone == Tz::UTC { Self::Fixed(0) } else { Self::Named(zone) });
        }
        let sign = match name.as_bytes().first()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let (hours, minutes) = name.get(1..)?.split_once(':')?;
        let number = |text: &str, most: i32| {
            let two_digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<i32>().ok().filter(|value| two_digits && *value <= most)
        };
        Some(Self::Fixed(sign * (number(hours, 23)? * 3600 + number(minutes, 59)? * 60)))
    }

    /// Seconds to add to a count from the epoch in UTC; none beyond the calendar.
    fn offset(self, seconds: i64) -> Option<i32> {
        match self {
            Self::Fixed(offset) => Some(offset),
            Self::Named(zone) => {
                let moment = DateTime::from_timestamp(seconds, 0)?.naive_utc();
                Some(zone.offset_from_utc_datetime(&moment).fix().local_minus_utc())
            }
        }
    }
}

/// Offsets of a zone, remembered by day. No zone changes its offset to and fro within a day, so a day that begins and
/// ends with the same offset has it throughout (the tests look at all the zones).
#[derive(Debug)]
pub(super) struct Offsets {
    zone: Zone,
    days: Vec<(i64, i32)>,
}

impl Offsets {
    pub(super) fn new(zone: Zone) -> Self {
        let size = if matches!(zone, Zone::Named(_)) { REMEMBERED } else { 0 };
        Self { zone, days: vec![(i64::MAX, 0); size] }
    }

    /// Seconds to add to a count from the epoch in UTC; none beyond the calendar.
    #[inline]
    pub(super) fn at(&mut self, seconds: i64) -> Option<i32> {
        if let Zone::Fixed(offset) = self.zone {
            return Some(offset);
        }
        let day = seconds.div_euclid(DAY);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the low bits choose the slot")]
        let slot = day as usize & (REMEMBERED - 1);
        let (known, offset) = *self.days.get(slot)?;
        if known == day && offset != CHANGES {
            return Some(offset);
        }
        self.look_up(seconds, day, slot, known)
    }

    #[cold]
    fn look_up(&mut self, seconds: i64, day: i64, slot: usize, known: i64) -> Option<i32> {
        if known != day {
            let first = self.zone.offset(day.checked_mul(DAY)?)?;
            let last = self.zone.offset(day.checked_mul(DAY)?.checked_add(DAY - 1)?)?;
            if let Some(entry) = self.days.get_mut(slot) {
                *entry = (day, if first == last { first } else { CHANGES });
            }
        }
        self.zone.offset(seconds)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names() {
        assert_eq!(Zone::parse("UTC"), Some(Zone::Fixed(0)));
        assert_eq!(Zone::parse("-05:30"), Some(Zone::Fixed(-19_800)));
        assert_eq!(Zone::parse("Europe/Berlin"), Some(Zone::Named(Tz::Europe__Berlin)));
        for name in ["", "+1:00", "+01:60", "+24:00", "Europe/Berlinn", "+01:00:00", "+-1:00"] {
            assert_eq!(Zone::parse(name), None, "{name}");
        }
    }

    /// Weeks that begin and end alike are taken for quiet; the others, and a few of those, are looked at every half hour.
    #[test]
    fn no_zone_goes_to_and_fro_within_a_day() {
        for zone in chrono_tz::TZ_VARIANTS {
            let at = |second: i64| Zone::Named(zone).offset(second).unwrap();
            let mut offsets = Offsets::new(Zone::Named(zone));
            for week in (-25_000..30_000).step_by(7).map(|day: i64| day * DAY) {
                if at(week) != at(week + 7 * DAY) || week % (499 * DAY) == 0 {
                    for second in (week..week + 7 * DAY).step_by(1801) {
                        assert_eq!(offsets.at(second).unwrap(), at(second), "{zone} at {second}");
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn remembered_offsets_are_those_of_the_database(
            moments in proptest::collection::vec(-4_000_000_000_i64..8_000_000_000, 1..200),
            zone in proptest::sample::select(chrono_tz::TZ_VARIANTS.as_slice()),
        ) {
            let mut offsets = Offsets::new(Zone::Named(zone));
            for moment in moments {
                prop_assert_eq!(offsets.at(moment), Zone::Named(zone).offset(moment));
            }
        }

        #[test]
        fn any_count_is_an_offset_or_none(moment: i64) {
            for name in ["Europe/Berlin", "+01:00"] {
                let _ = Offsets::new(Zone::parse(name).unwrap()).at(moment);
            }
        }
    }
}
