//! The calendar and the clock: a column of dates, datetimes or times of day is taken apart once for all the steps that
//! ask for a field of it.

use std::ops::Range;

use chrono::NaiveDate;

use super::column::{Column, Counts, Trouble, Values};
use super::document::Part;
use super::number::{Finish, fill_nulls};
use super::zone::{Offsets, Zone};
use crate::value::Unit;

const DAY: i64 = 86_400;
/// Days that are remembered; a power of two.
const REMEMBERED: usize = 512;

/// Fields of one column in one zone.
#[derive(Debug)]
pub(super) struct Clock {
    pub(super) input: usize,
    pub(super) zone: Option<Zone>,
    /// Whether the column holds times of day.
    pub(super) time_of_day: bool,
    pub(super) parts: Vec<Part>,
}

/// What a thread keeps of a clock.
#[derive(Debug)]
pub(super) struct ClockScratch {
    offsets: Option<Offsets>,
    calendar: Vec<Calendar>,
    /// Whole days and seconds of the day, of each row.
    days: Vec<i32>,
    seconds: Vec<i32>,
    /// One value a row and part.
    found: Vec<i32>,
    rows: usize,
}

/// The fields of a day.
#[derive(Debug, Clone, Copy)]
struct Calendar {
    days: i32,
    year: i32,
    quarter: i32,
    month: i32,
    week: i32,
    day: i32,
    day_of_year: i32,
    day_of_week: i32,
}

impl Calendar {
    /// The proleptic Gregorian calendar; the arithmetic counts years from March, so that a leap day is the last.
    fn of(days: i32) -> Self {
        let shifted = i64::from(days) + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let day_of_year = if month <= 2 { of_year - 305 } else { of_year + 60 + i64::from(is_leap(year)) };
        let day_of_week = (i64::from(days) + 3).rem_euclid(7) + 1;
        // ISO 8601: a week belongs to the year in which its Thursday lies.
        let week = match (day_of_year - day_of_week + 10) / 7 {
            0 => weeks(year - 1),
            53 if weeks(year) == 52 => 1,
            week => week,
        };
        let small = |value: i64| i32::try_from(value).unwrap_or(i32::MAX);
        Self {
            days,
            year: small(year),
            quarter: small((month + 2) / 3),
            month: small(month),
            week: small(week),
            day: small(day),
            day_of_year: small(day_of_year),
            day_of_week: small(day_of_week),
        }
    }

    #[inline]
    fn get(&self, part: Part) -> i32 {
        match part {
            Part::Year => self.year,
            Part::Quarter => self.quarter,
            Part::Month => self.month,
            Part::Week => self.week,
            Part::Day => self.day,
            Part::DayOfYear => self.day_of_year,
            Part::DayOfWeek => self.day_of_week,
            Part::Days | Part::Hour | Part::Minute | Part::Second => self.days,
        }
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Weeks of a year: 53 if it begins on a Thursday, or on a Wednesday and is a leap year.
fn weeks(year: i64) -> i64 {
    // Days from 1970 to the first of January.
    let before = year - 1;
    let first = 365 * (year - 1970) + (before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400)) - 477;
    let day_of_week = (first + 3).rem_euclid(7) + 1;
    52 + i64::from(day_of_week == 4 || (day_of_week == 3 && is_leap(year)))
}

impl ClockScratch {
    pub(super) fn new(clock: &Clock) -> Self {
        Self {
            offsets: clock.zone.map(Offsets::new),
            calendar: vec![Calendar::of(0); REMEMBERED],
            days: Vec::new(),
            seconds: Vec::new(),
            found: Vec::new(),
            rows: 0,
        }
    }

    /// Values of the part at `index` of the clock's.
    pub(super) fn part(&self, index: usize) -> &[i32] {
        &self.found[index * self.rows..(index + 1) * self.rows]
    }

    /// Takes rows apart. What lies under a null is anything; `fault` is told of a row that no calendar has.
    pub(super) fn read(
        &mut self,
        clock: &Clock,
        column: &Column<'_>,
        rows: &Range<usize>,
        mut fault: impl FnMut(usize, Trouble),
    ) {
        self.rows = rows.len();
        self.days.clear();
        self.seconds.clear();
        match &column.values {
            Values::Dates(days) => {
                self.days.extend_from_slice(&days[rows.clone()]);
                self.seconds.resize(rows.len(), 0);
            }
            Values::Counts(counts, unit) if clock.time_of_day => self.read_times(*counts, *unit, rows),
            Values::Counts(Counts::I64(counts), unit) => {
                let counts = &counts[rows.clone()];
                // Divisions by a constant are multiplications.
                match unit {
                    Unit::Second => self.read_moments::<1>(counts),
                    Unit::Millisecond => self.read_moments::<1_000>(counts),
                    Unit::Microsecond => self.read_moments::<1_000_000>(counts),
                    Unit::Nanosecond => self.read_moments::<1_000_000_000>(counts),
                }
            }
            _ => {
                self.days.resize(rows.len(), 0);
                self.seconds.resize(rows.len(), 0);
            }
        }
        let (first, last) = if clock.time_of_day { (0, 0) } else { calendar_ends() };
        for (row, days) in self.days.iter_mut().enumerate() {
            if *days < first || *days > last {
                *days = 0;
                let at = rows.start + row;
                if !column.is_null(at) && !matches!(column.values, Values::Missing) {
                    fault(at, Trouble::BeyondCalendar(column.show(at)));
                }
            }
        }
        self.take_apart(&clock.parts);
    }

    fn read_moments<const PER_SECOND: i64>(&mut self, counts: &[i64]) {
        for count in counts {
            let mut seconds = count.div_euclid(PER_SECOND);
            if let Some(offsets) = &mut self.offsets {
                match offsets.at(seconds) {
                    Some(offset) => seconds = seconds.saturating_add(offset.into()),
                    None => seconds = i64::MAX,
                }
            }
            self.days.push(i32::try_from(seconds.div_euclid(DAY)).unwrap_or(i32::MAX));
            self.seconds.push(i32::try_from(seconds.rem_euclid(DAY)).unwrap_or(0));
        }
    }

    fn read_times(&mut self, counts: Counts<'_>, unit: Unit, rows: &Range<usize>) {
        for row in rows.clone() {
            let seconds = counts.at(row).div_euclid(unit.per_second());
            let inside = (0..DAY).contains(&seconds);
            self.days.push(if inside { 0 } else { i32::MAX });
            self.seconds.push(if inside { i32::try_from(seconds).unwrap_or(0) } else { 0 });
        }
    }

    fn take_apart(&mut self, parts: &[Part]) {
        self.found.clear();
        self.found.resize(parts.len() * self.rows, 0);
        let dated = parts.iter().any(|part| !part.of_clock() && *part != Part::Days);
        if dated {
            let mut last = self.calendar[0];
            for (row, days) in self.days.iter().enumerate() {
                if last.days != *days {
                    #[expect(clippy::cast_sign_loss, reason = "the low bits choose the slot")]
                    let slot = *days as u32 as usize & (REMEMBERED - 1);
                    if self.calendar[slot].days != *days {
                        self.calendar[slot] = Calendar::of(*days);
                    }
                    last = self.calendar[slot];
                }
                for (index, part) in parts.iter().enumerate() {
                    if !part.of_clock() {
                        self.found[index * self.rows + row] = last.get(*part);
                    }
                }
            }
        }
        for (found, part) in self.found.chunks_exact_mut(self.rows.max(1)).zip(parts) {
            let seconds = found.iter_mut().zip(&self.seconds);
            match part {
                Part::Hour => seconds.for_each(|(found, seconds)| *found = seconds / 3600),
                Part::Minute => seconds.for_each(|(found, seconds)| *found = seconds / 60 % 60),
                Part::Second => seconds.for_each(|(found, seconds)| *found = seconds % 60),
                Part::Days if !dated => found.copy_from_slice(&self.days),
                _ => {}
            }
        }
    }
}

/// First and last day of the calendar, in days since 1970-01-01: the years -262143 to 262142.
fn calendar_ends() -> (i32, i32) {
    let days = |date: NaiveDate| date.to_epoch_days();
    (days(NaiveDate::MIN), days(NaiveDate::MAX))
}

/// A field as a number.
pub(super) fn time_part(column: &Column<'_>, rows: &Range<usize>, parts: &[i32], finish: Finish, out: &mut [f32]) {
    if matches!(column.values, Values::Missing) {
        out.fill(finish.missing);
        return;
    }
    if finish.is_plain() {
        #[expect(clippy::cast_precision_loss, reason = "rounding to the nearest float32 is what is asked for")]
        parts.iter().zip(out.iter_mut()).for_each(|(part, out)| *out = *part as f32);
    } else {
        parts.iter().zip(out.iter_mut()).for_each(|(part, out)| *out = finish.apply(f64::from(*part)));
    }
    fill_nulls(column.nulls, rows, out, finish.missing);
}

/// A field as a position of a table, whose first is for the value `first`.
pub(super) fn time_cycle(
    column: &Column<'_>,
    rows: &Range<usize>,
    parts: &[i32],
    (first, table, missing): (i32, &[f32], f32),
    out: &mut [f32],
) {
    if matches!(column.values, Values::Missing) {
        out.fill(missing);
        return;
    }
    for (part, out) in parts.iter().zip(out.iter_mut()) {
        let position = usize::try_from(part - first).unwrap_or(usize::MAX);
        *out = table.get(position).copied().unwrap_or(missing);
    }
    fill_nulls(column.nulls, rows, out, missing);
}

/// Durations in seconds.
pub(super) fn seconds(column: &Column<'_>, rows: &Range<usize>, finish: Finish, out: &mut [f32]) {
    let Values::Counts(counts, unit) = &column.values else {
        out.fill(finish.missing);
        return;
    };
    #[expect(clippy::cast_precision_loss, reason = "at most a billion")]
    let units = unit.per_second() as f64;
    for (row, out) in rows.clone().zip(out.iter_mut()) {
        #[expect(clippy::cast_precision_loss, reason = "rounding to the nearest float64 is what is asked for")]
        let value = counts.at(row) as f64 / units;
        *out = finish.apply(value);
    }
    fill_nulls(column.nulls, rows, out, finish.missing);
}

/// `a` minus `b` in seconds, exact in integers of the finer unit.
pub(super) fn difference(a: &Column<'_>, b: &Column<'_>, rows: &Range<usize>, finish: Finish, out: &mut [f32]) {
    let (Some((a_ticks, a_per)), Some((b_ticks, b_per))) = (ticks(a), ticks(b)) else {
        out.fill(finish.missing);
        return;
    };
    let per_day = a_per.max(b_per);
    let (a_factor, b_factor) = (i128::from(per_day / a_per), i128::from(per_day / b_per));
    // A day of days is no fraction of a second.
    #[expect(clippy::cast_precision_loss, reason = "at most a billion")]
    let units = (per_day / DAY).max(1) as f64;
    let days = if per_day == 1 { i128::from(DAY) } else { 1 };
    for (row, out) in rows.clone().zip(out.iter_mut()) {
        let exact = (i128::from(a_ticks.at(row)) * a_factor - i128::from(b_ticks.at(row)) * b_factor) * days;
        #[expect(clippy::cast_precision_loss, reason = "rounding to the nearest float64 is what is asked for")]
        let value = i64::try_from(exact).map_or_else(|_| exact as f64, |exact| exact as f64) / units;
        *out = finish.apply(value);
    }
    fill_nulls(a.nulls, rows, out, finish.missing);
    fill_nulls(b.nulls, rows, out, finish.missing);
}

/// Integers that count time from a beginning.
#[derive(Clone, Copy)]
enum Ticks<'a> {
    Days(&'a [i32]),
    Counts(Counts<'a>),
}

impl Ticks<'_> {
    #[inline]
    fn at(self, row: usize) -> i64 {
        match self {
            Self::Days(days) => days[row].into(),
            Self::Counts(counts) => counts.at(row),
        }
    }
}

/// The integers of a column, and how many of them make a day.
fn ticks<'a>(column: &Column<'a>) -> Option<(Ticks<'a>, i64)> {
    match &column.values {
        Values::Dates(days) => Some((Ticks::Days(days), 1)),
        Values::Counts(counts, unit) => Some((Ticks::Counts(*counts), unit.per_second() * DAY)),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::cast_possible_wrap, reason = "tests")]
mod tests {
    use chrono::Datelike as _;
    use proptest::prelude::*;

    use super::*;

    fn check(days: i32) {
        let date = NaiveDate::from_epoch_days(days).unwrap();
        let made = Calendar::of(days);
        let expected = [
            date.year(),
            date.quarter() as i32,
            date.month() as i32,
            date.iso_week().week() as i32,
            date.day() as i32,
            date.ordinal() as i32,
            date.weekday().number_from_monday() as i32,
        ];
        let found = [made.year, made.quarter, made.month, made.week, made.day, made.day_of_year, made.day_of_week];
        assert_eq!(found, expected, "{date}");
    }

    #[test]
    fn six_centuries_of_days() {
        (-160_000..80_000).for_each(check);
    }

    proptest! {
        #[test]
        fn any_day_of_the_calendar(days in calendar_ends().0..=calendar_ends().1) {
            check(days);
        }
    }
}
