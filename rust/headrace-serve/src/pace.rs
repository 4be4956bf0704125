//! How long so many rows take, as measured: at load for sizes that double, then by every batch.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Sizes that double, from one row.
const SIZES: usize = 32;
/// A batch is large enough when a row of it takes at most this many tenths of what it takes in the best.
const ENOUGH: u64 = 11;
/// Nanoseconds that a batch takes outside the engine: a turn of the event loop.
const TURN: u64 = 2_000;

/// Nanoseconds of a row, by the size of its batch: of 1, of 2 and 3, of 4 to 7, and so on.
#[derive(Debug, Default)]
pub struct Pace {
    /// 0: not measured.
    rows: [AtomicU64; SIZES],
}

impl Pace {
    /// So many rows took so long. Later batches count an eighth.
    pub fn learn(&self, rows: usize, took: Duration) {
        let (Some(slot), Some(sample)) = (self.rows.get(size(rows)), took.as_nanos().checked_div(rows as u128)) else {
            return;
        };
        let sample = u64::try_from(sample).unwrap_or(u64::MAX / 16).clamp(1, u64::MAX / 16);
        let before = slot.load(Ordering::Relaxed);
        let now = if before == 0 { sample } else { before - before / 8 + sample / 8 };
        slot.store(now.max(1), Ordering::Relaxed);
    }

    /// What so many rows take together: as the size nearest to it that was measured says, smaller ones first; zero if
    /// nothing is known.
    #[must_use]
    pub fn time_of(&self, rows: usize) -> Duration {
        if rows == 0 {
            return Duration::ZERO;
        }
        let at = size(rows);
        let known = |index: usize| Some(self.rows[index].load(Ordering::Relaxed)).filter(|time| *time > 0);
        // Of a larger batch a row takes at most as long; a smaller batch takes at most as long as a larger one.
        let time = (0..=at)
            .rev()
            .find_map(known)
            .map(|row| row.saturating_mul(rows as u64))
            .or_else(|| (at + 1..SIZES).find_map(|index| known(index).map(|row| row.saturating_mul(1 << index))));
        Duration::from_nanos(time.unwrap_or(0))
    }

    /// How many rows are best computed together, of at most `most`: a larger batch would take longer for each of them, or
    /// next to nothing less.
    #[must_use]
    pub fn best(&self, most: usize) -> usize {
        let known = || {
            let measured = self.rows.iter().take(size(most.max(1)) + 1).enumerate();
            measured.filter_map(|(index, time)| match time.load(Ordering::Relaxed) {
                0 => None,
                time => Some((index, time.saturating_add(TURN >> index))),
            })
        };
        let Some(least) = known().map(|(_, time)| time).min() else { return most };
        let enough = known().find(|(_, time)| time.saturating_mul(10) <= least.saturating_mul(ENOUGH));
        match (enough, known().last()) {
            (Some((enough, _)), Some((greatest, _))) if enough < greatest => (1 << enough).min(most),
            // Nobody knows yet whether more would be better.
            _ => most,
        }
    }

    /// What `rows` rows take that are computed in batches of `batch`.
    #[must_use]
    pub fn time_in_batches(&self, rows: usize, batch: usize) -> Duration {
        if rows <= batch || batch == 0 {
            return self.time_of(rows);
        }
        let batches = u32::try_from(rows / batch).unwrap_or(u32::MAX);
        self.time_of(batch).saturating_mul(batches).saturating_add(self.time_of(rows % batch))
    }
}

/// The place of a batch's size.
fn size(rows: usize) -> usize {
    rows.checked_ilog2().map_or(0, |log| log as usize).min(SIZES - 1)
}
