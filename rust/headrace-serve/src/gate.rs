//! How fast refusals leave.
//!
//! A refusal costs about as much as a short answer, and many clients that are refused ask again at once: without more, the
//! processor would be spent on refusals. So those that come too fast wait before they are told, their bodies unread; what
//! such clients send meanwhile waits in their own systems. Who comes back after `Retry-After` does not notice.
//!
//! Those that waited leave a few at a time, at the same moment. One by one, each would interrupt whoever computes, twice:
//! when it leaves, and when its client comes back.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time between refusals of a worker.
const STEP: Duration = Duration::from_millis(2);
/// Refusals that leave at once if there were none before.
const BURST: u32 = 64;
/// Those that would leave within as long leave together.
const TOGETHER: Duration = Duration::from_millis(16);
/// How long a refusal waits, at most.
const LONGEST: Duration = Duration::from_millis(500);

/// Where refusals of a worker wait.
#[derive(Debug)]
pub struct Gate {
    began: Instant,
    /// When the last that waits may leave.
    last: Mutex<Option<Instant>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { began: Instant::now(), last: Mutex::default() }
    }
}

impl Gate {
    /// How long a refusal that comes now has to wait, which must not be longer than `limit`.
    #[must_use]
    pub fn wait(&self, now: Instant, limit: Duration) -> Duration {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(STEP * BURST).unwrap_or(now);
        let leaves = last.map_or(earliest, |last| last.max(earliest)) + STEP;
        let leaves = leaves.min(now + limit.min(LONGEST));
        // One with a short limit goes before those that wait, and opens nothing for those that come after it.
        *last = (*last).max(Some(leaves));
        let together = self.moment(leaves);
        // One that may wait for less than that waits alone.
        let leaves = if together > now { together } else { leaves };
        leaves.saturating_duration_since(now)
    }

    /// The last moment up to `leaves` at which some leave.
    fn moment(&self, leaves: Instant) -> Instant {
        let past = leaves.saturating_duration_since(self.began).as_nanos() % TOGETHER.as_nanos();
        leaves.checked_sub(Duration::from_nanos(u64::try_from(past).unwrap_or(0))).unwrap_or(leaves)
    }

    /// Waits so long, and says how long it was.
    pub async fn hold(&self, limit: Duration) -> Duration {
        let wait = self.wait(Instant::now(), limit);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        wait
    }
}
