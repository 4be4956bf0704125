//! Which requests are computed together, and which are refused.
//!
//! There is no timer. Each worker is a thread with an event loop and an engine; requests of its connections join one queue
//! that all workers share. The first one wakes the worker's computing task, which the event loop reaches after every task
//! that was ready at the same time. So a request that is alone is computed at once, on the thread that read it; and under
//! load a batch is whatever arrived while the last one was computed. Nothing waits while an engine is idle.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use crate::engine::Engine;
use crate::error::Refusal;
use crate::metrics::Metrics;
use crate::tensor::{Data, Tensor, join, split};

/// A batch that will take longer than this is computed beside the event loop, which goes on answering health checks.
const LONG: Duration = Duration::from_micros(500);

/// What may wait, and what is computed together.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Rows of a batch, at most, unless one request has more. 1: nothing is batched.
    pub batch_rows: usize,
    /// Rows that may wait.
    pub queue_rows: usize,
    /// Bytes of inputs that may wait.
    pub queue_bytes: usize,
}

/// What became of a request: the outputs of its rows.
pub type Answer = Result<Vec<Tensor>, Refusal>;

#[derive(Debug)]
struct Job {
    inputs: Vec<Tensor>,
    rows: usize,
    bytes: usize,
    deadline: Instant,
    limit: Duration,
    queued: Instant,
    reply: oneshot::Sender<Answer>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Job>,
    rows: usize,
    bytes: usize,
    /// Rows that are being computed.
    running: usize,
    closed: bool,
}

/// The queue of one model.
#[derive(Debug)]
pub struct Scheduler {
    queue: Mutex<Queue>,
    wake: Vec<Notify>,
    limits: Limits,
    metrics: Arc<Metrics>,
    /// Workers whose engine computes beside their event loop.
    away: Vec<AtomicBool>,
    /// Nanoseconds that a row takes, a moving average.
    pace: AtomicU64,
}

impl Scheduler {
    /// For so many workers.
    #[must_use]
    pub fn new(workers: usize, limits: Limits, metrics: Arc<Metrics>) -> Self {
        Self {
            queue: Mutex::default(),
            wake: (0..workers).map(|_| Notify::new()).collect(),
            away: (0..workers).map(|_| AtomicBool::new(false)).collect(),
            limits,
            metrics,
            pace: AtomicU64::new(0),
        }
    }

    /// Queues a request of `worker`, whose inputs were checked. To drop the receiver is to cancel it.
    pub fn submit(
        &self,
        worker: usize,
        inputs: Vec<Tensor>,
        limit: Duration,
    ) -> Result<oneshot::Receiver<Answer>, Refusal> {
        let rows = inputs.first().map_or(0, Tensor::rows);
        let bytes = inputs.iter().map(|input| input.data.bytes()).sum();
        let (reply, receiver) = oneshot::channel();
        let queued = Instant::now();
        let mut queue = self.lock();
        self.check(&queue, rows, bytes, limit)?;
        queue.rows += rows;
        queue.bytes += bytes;
        queue.waiting.push_back(Job { inputs, rows, bytes, deadline: queued + limit, limit, queued, reply });
        let more = queue.rows > self.limits.batch_rows && queue.waiting.len() > 1;
        drop(queue);
        if more || self.away.get(worker).is_some_and(|away| away.load(Ordering::Relaxed)) {
            self.wake.iter().for_each(Notify::notify_one);
        } else if let Some(wake) = self.wake.get(worker) {
            wake.notify_one();
        }
        Ok(receiver)
    }

    /// Whether a request would be queued that has no rows yet: asked before it is parsed, so that it costs little to
    /// refuse.
    pub fn admit(&self, limit: Duration) -> Result<(), Refusal> {
        self.check(&self.lock(), 0, 0, limit)
    }

    fn check(&self, queue: &Queue, rows: usize, bytes: usize, limit: Duration) -> Result<(), Refusal> {
        if queue.closed {
            return Err(Refusal::Draining);
        }
        let full = queue.rows.saturating_add(rows) > self.limits.queue_rows
            || queue.bytes.saturating_add(bytes) > self.limits.queue_bytes;
        // What is larger than the whole queue may pass when nothing else waits: it is bounded by the size of a body.
        let full = full && queue.rows > 0;
        let ahead = self.time_of(queue.rows + queue.running) / u32::try_from(self.wake.len()).unwrap_or(1).max(1);
        // Half of the time is left to be computed in, and for the pace to be worse than it was. Who is let in as long as
        // the deadline could just be met comes too late, together with all behind it.
        let late = queue.rows > 0 && ahead > limit / 2;
        if full || late {
            return Err(Refusal::Overloaded { retry_after: ahead.as_secs().saturating_add(1) });
        }
        Ok(())
    }

    /// Rows and bytes that wait.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize) {
        let queue = self.lock();
        (queue.rows, queue.bytes)
    }

    /// Takes nothing more; what waits is still computed.
    pub fn close(&self) {
        self.lock().closed = true;
        self.wake.iter().for_each(Notify::notify_one);
    }

    /// Computes what waits with `engine`, until the queue is closed and empty; gives it back unless it was lost.
    pub async fn work(&self, worker: usize, mut engine: Box<dyn Engine>) -> Option<Box<dyn Engine>> {
        let wake = self.wake.get(worker)?;
        loop {
            wake.notified().await;
            loop {
                let batch = self.take(Instant::now());
                if batch.is_empty() {
                    break;
                }
                let rows = batch.iter().map(|job| job.rows).sum();
                if self.time_of(rows) > LONG {
                    let metrics = Arc::clone(&self.metrics);
                    self.away[worker].store(true, Ordering::Relaxed);
                    let done = tokio::task::spawn_blocking(move || {
                        let took = compute(engine.as_mut(), batch, &metrics);
                        (engine, took)
                    });
                    let (back, took) = done.await.ok()?;
                    self.away[worker].store(false, Ordering::Relaxed);
                    engine = back;
                    self.done(rows, took);
                } else {
                    let took = compute(engine.as_mut(), batch, &self.metrics);
                    self.done(rows, took);
                    // Answers leave, and what has arrived meanwhile joins the next batch.
                    tokio::task::yield_now().await;
                }
            }
            if self.lock().closed {
                return Some(engine);
            }
        }
    }

    /// Whoever waits, up to a batch; without those who left or whose time is over.
    fn take(&self, now: Instant) -> Vec<Job> {
        let mut batch: Vec<Job> = Vec::new();
        let mut rows = 0;
        let mut queue = self.lock();
        while let Some(job) = queue.waiting.pop_front() {
            if job.reply.is_closed() || job.deadline <= now {
                queue.rows -= job.rows;
                queue.bytes -= job.bytes;
                let limit = job.limit;
                // Nobody listens to one who left.
                let _ = job.reply.send(Err(Refusal::Expired(limit)));
                continue;
            }
            if !batch.is_empty() && rows + job.rows > self.limits.batch_rows {
                queue.waiting.push_front(job);
                break;
            }
            queue.rows -= job.rows;
            queue.bytes -= job.bytes;
            rows += job.rows;
            batch.push(job);
        }
        queue.running += rows;
        batch
    }

    fn done(&self, rows: usize, took: Duration) {
        self.lock().running -= rows;
        self.learn(rows, took);
    }

    /// Tells the scheduler what `rows` rows took.
    pub fn learn(&self, rows: usize, took: Duration) {
        let Some(sample) = took.as_nanos().checked_div(rows as u128) else { return };
        let sample = u64::try_from(sample).unwrap_or(u64::MAX / 16).max(1);
        let before = self.pace.load(Ordering::Relaxed);
        let pace = if before == 0 { sample } else { before - before / 8 + sample / 8 };
        self.pace.store(pace, Ordering::Relaxed);
    }

    fn time_of(&self, rows: usize) -> Duration {
        Duration::from_nanos(self.pace.load(Ordering::Relaxed).saturating_mul(rows as u64))
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing that can panic is done while it is held.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Computes a batch and answers everybody in it.
fn compute(engine: &mut dyn Engine, batch: Vec<Job>, metrics: &Metrics) -> Duration {
    let began = Instant::now();
    let rows: Vec<usize> = batch.iter().map(|job| job.rows).collect();
    let inputs: Vec<&[Tensor]> = batch.iter().map(|job| job.inputs.as_slice()).collect();
    let answers = together(engine, &inputs, &rows);
    let took = began.elapsed();
    metrics.batch(rows.iter().sum(), took);
    for (job, answer) in batch.into_iter().zip(answers) {
        metrics.queued(began.duration_since(job.queued));
        // Who left does not want it.
        let _ = job.reply.send(answer);
    }
    took
}

/// In one run, or, where that fails, each request by itself: one that cannot be computed fails alone.
fn together(engine: &mut dyn Engine, inputs: &[&[Tensor]], rows: &[usize]) -> Vec<Answer> {
    let answers = match inputs {
        [one] => return vec![run(engine, one)],
        _ => join(inputs).and_then(|joined| run(engine, &joined).ok()).and_then(|outputs| split(&outputs, rows)),
    };
    match answers {
        Some(answers) => answers.into_iter().map(Ok).collect(),
        None => inputs.iter().map(|request| run(engine, request)).collect(),
    }
}

fn run(engine: &mut dyn Engine, inputs: &[Tensor]) -> Answer {
    match catch_unwind(AssertUnwindSafe(|| engine.run(inputs))) {
        Ok(Ok(outputs)) => Ok(outputs),
        Ok(Err(reason)) => Err(Refusal::Failed(format!("the model failed: {reason}"))),
        Err(_) => Err(Refusal::Failed("the engine failed".to_owned())),
    }
}

/// Whether rows give the same alone and together with others: made-up rows, or those that the caller has.
pub fn rows_are_independent(engine: &mut dyn Engine, probe: &[Tensor]) -> bool {
    let rows = probe.first().map_or(0, Tensor::rows);
    let Ok(together) = engine.run(probe) else { return false };
    let Some(expected) = split(&together, &vec![1; rows]) else { return false };
    expected.iter().enumerate().all(|(row, expected)| {
        let alone: Vec<Tensor> = probe.iter().map(|input| input.slice(row, row + 1)).collect();
        engine.run(&alone).is_ok_and(|found| {
            found.len() == expected.len()
                && found.iter().zip(expected).all(|(a, b)| a.shape == b.shape && near(&a.data, &b.data))
        })
    })
}

fn near(a: &Data, b: &Data) -> bool {
    let close = |a: f64, b: f64| {
        a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-4 * b.abs().max(1.0)
    };
    match (a, b) {
        (Data::F32(a), Data::F32(b)) => a.iter().zip(b).all(|(a, b)| close(f64::from(*a), f64::from(*b))),
        (Data::F64(a), Data::F64(b)) => a.iter().zip(b).all(|(a, b)| close(*a, *b)),
        _ => a == b,
    }
}
