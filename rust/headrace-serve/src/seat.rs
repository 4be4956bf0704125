//! An engine at work for a version, until nobody can ask the version any more.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::engine::Engine;
use crate::scheduler::Scheduler;

/// An engine and what it computes for.
pub struct Seat {
    scheduler: Arc<Scheduler>,
    engine: Box<dyn Engine>,
    /// What is large, and must not be freed on a thread that answers.
    heavy: Arc<dyn Any + Send + Sync>,
}

impl fmt::Debug for Seat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Seat")
    }
}

impl Seat {
    /// Not at work yet.
    pub fn new(scheduler: Arc<Scheduler>, engine: Box<dyn Engine>, heavy: Arc<dyn Any + Send + Sync>) -> Self {
        Self { scheduler, engine, heavy }
    }

    /// Computes on `worker` until the version's queue is closed and empty; then the engine is dropped beside the event loop.
    pub async fn work(self, worker: usize) {
        let Self { scheduler, engine, heavy } = self;
        let engine = scheduler.work(worker, engine).await;
        // To free a model of many trees takes longer than to answer a request.
        let _ = tokio::task::spawn_blocking(move || drop((engine, heavy))).await;
    }
}
