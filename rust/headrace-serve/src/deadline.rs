//! How long a request waits: as long as the server lets it, or as its client says, if that is less.

use std::time::Duration;

use hyper::header::{HeaderMap, HeaderName};

use crate::error::Refusal;
use crate::gate::Gate;
use crate::http::Service;
use crate::scheduler::Scheduler;

/// Seconds that a client waits for its answer.
const DEADLINE: HeaderName = HeaderName::from_static("headrace-deadline");

/// What is left of a request's time once it was let in, and whether it had to wait for that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entered {
    pub(crate) left: Duration,
    held: bool,
}

impl Service {
    /// How long a request may wait.
    pub(crate) fn deadline(&self, headers: &HeaderMap) -> Result<Duration, Refusal> {
        Ok(asked(headers)?.map_or(self.bounds.deadline, |asked| asked.min(self.bounds.deadline)))
    }

    /// Before its body is read: who would be refused waits, if many were before, and may find room then.
    pub(crate) async fn enter(&self, worker: usize, scheduler: &Scheduler, limit: Duration) -> Entered {
        if !matches!(scheduler.admit(limit), Err(Refusal::Overloaded { .. })) {
            return Entered { left: limit, held: false };
        }
        let waited = self.hold(worker, limit).await;
        Entered { left: limit.saturating_sub(waited), held: true }
    }

    /// A request is answered; if it is refused because too much waits, not faster than it may.
    pub(crate) async fn leave<T>(
        &self,
        worker: usize,
        entered: Entered,
        answer: Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        if !entered.held && matches!(answer, Err(Refusal::Overloaded { .. })) {
            self.hold(worker, entered.left).await;
        }
        answer
    }

    async fn hold(&self, worker: usize, limit: Duration) -> Duration {
        match self.gates.get(worker) {
            // A quarter is left to be told in, or, where there is room by then, to be answered in.
            Some(gate) => Gate::hold(gate, limit * 3 / 4).await,
            None => Duration::ZERO,
        }
    }
}

/// What the header says, in seconds.
fn asked(headers: &HeaderMap) -> Result<Option<Duration>, Refusal> {
    let Some(value) = headers.get(DEADLINE) else { return Ok(None) };
    let seconds = value.to_str().ok().and_then(|text| text.trim().parse::<f64>().ok());
    let limit = seconds.filter(|seconds| *seconds > 0.0).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    limit.map(Some).ok_or_else(|| {
        let found = String::from_utf8_lossy(value.as_bytes()).escape_debug().to_string();
        Refusal::Bad(format!("{DEADLINE} is '{found}', expected seconds, such as 0.25"))
    })
}
