//! Which requests are computed together, and which are refused.
//!
//! There is no timer. Each worker is a thread with an event loop and an engine; requests of its connections join one queue
//! that all workers share. The first one wakes the worker's computing task, which the event loop reaches after every task
//! that was ready at the same time. So a request that is alone is computed at once, on the thread that read it; and under
//! load a batch is whatever arrived while the last one was computed. Nothing waits while an engine is idle.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use crate::engine::Engine;
use crate::error::Refusal;
use crate::metrics::Metrics;
use crate::pace::Pace;
use crate::shares::{Credit, Member, Shares};
use crate::tensor::{Tensor, join, split};

/// A batch that will take longer than this is computed beside the event loop, which goes on answering health checks. Nor
/// does a model compute longer on the event loop while another one waits.
const LONG: Duration = Duration::from_micros(500);
/// Requests of another shape that a batch passes over, at most.
const PASSED: usize = 256;
/// How often it is looked who has left the queue, while somebody would be refused.
const SWEEP: Duration = Duration::from_millis(10);

/// What may wait, and what is computed together.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Rows of a batch, at most, unless one request has more. 1: nothing is batched.
    pub batch_rows: usize,
    /// Rows that may wait.
    pub queue_rows: usize,
    /// Bytes of inputs that may wait.
    pub queue_bytes: usize,
    /// How long what waits may take to be computed, before more is refused; a request for each worker may wait longer.
    pub queue_time: Duration,
    /// How long a request waits for others, while fewer wait than are best computed together. Zero: not at all.
    pub delay: Duration,
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
    /// Whether there is something to compute, as the other models know it.
    busy: bool,
    /// When those who have left were taken out.
    swept: Option<Instant>,
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
    pace: Pace,
    /// Rows that are best computed together, as the pace says.
    best: AtomicUsize,
    member: Member,
}

impl Scheduler {
    /// For so many workers, which other models share.
    #[must_use]
    pub fn new(workers: usize, limits: Limits, metrics: Arc<Metrics>, shares: &Arc<Shares>) -> Self {
        Self {
            queue: Mutex::default(),
            wake: (0..workers).map(|_| Notify::new()).collect(),
            away: (0..workers).map(|_| AtomicBool::new(false)).collect(),
            limits,
            metrics,
            pace: Pace::default(),
            best: AtomicUsize::new(limits.batch_rows),
            member: shares.join(),
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
        self.check(&mut self.lock(), rows, bytes, limit)?;
        self.submit_part(worker, inputs, limit)
    }

    /// Queues a part of a request that was let in: what was computed of it is not thrown away because others have come.
    pub fn submit_part(
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
        if queue.closed {
            return Err(Refusal::Draining);
        }
        queue.rows += rows;
        queue.bytes += bytes;
        queue.waiting.push_back(Job { inputs, rows, bytes, deadline: queued + limit, limit, queued, reply });
        self.note(&mut queue);
        let more = queue.waiting.len() > 1 && self.is_work_for_two(queue.rows);
        drop(queue);
        if more || self.away.get(worker).is_some_and(|away| away.load(Ordering::Relaxed)) {
            self.wake.iter().for_each(Notify::notify_one);
        } else if let Some(wake) = self.wake.get(worker) {
            wake.notify_one();
        }
        Ok(receiver)
    }

    /// Whether a request of one row would be queued: asked before it is parsed, so that it costs little to refuse.
    pub fn admit(&self, limit: Duration) -> Result<(), Refusal> {
        self.check(&mut self.lock(), 1, 0, limit)
    }

    fn check(&self, queue: &mut Queue, rows: usize, bytes: usize, limit: Duration) -> Result<(), Refusal> {
        if queue.closed {
            return Err(Refusal::Draining);
        }
        let Err(ahead) = self.room(queue, rows, bytes, limit) else { return Ok(()) };
        let now = Instant::now();
        if queue.swept.is_none_or(|swept| now.duration_since(swept) > SWEEP) {
            queue.swept = Some(now);
            // Nobody is refused for the sake of those who do not wait any more.
            self.sweep(queue);
            if self.room(queue, rows, bytes, limit).is_ok() {
                return Ok(());
            }
        }
        Err(Refusal::Overloaded { retry_after: ahead.as_secs().saturating_add(1) })
    }

    /// Whether so much more may wait, or how long what is there already will take.
    fn room(&self, queue: &Queue, rows: usize, bytes: usize, limit: Duration) -> Result<(), Duration> {
        if queue.rows == 0 {
            // What is larger than the whole queue may pass when nothing else waits: it is bounded by the size of a body.
            return Ok(());
        }
        let full = queue.rows.saturating_add(rows) > self.limits.queue_rows
            || queue.bytes.saturating_add(bytes) > self.limits.queue_bytes;
        let ahead = self.ahead(queue);
        // Half of the time is left to be computed in, and for the pace to be worse than it was. Who is let in as long as
        // the deadline could just be met comes too late, together with all behind it.
        let late = ahead > limit / 2;
        let long = ahead > self.limits.queue_time && queue.waiting.len() >= self.wake.len();
        if full || late || long { Err(ahead) } else { Ok(()) }
    }

    /// How long it takes to compute what waits and what is being computed.
    fn ahead(&self, queue: &Queue) -> Duration {
        let rows = queue.rows + queue.running;
        let of_one = queue.rows / queue.waiting.len().max(1);
        let time = self.pace.time_in_batches(rows, self.best().max(of_one));
        let workers = u32::try_from(self.wake.len()).unwrap_or(1).max(1);
        // Other models that compute take their part of the workers.
        let models = u32::try_from(self.member.busy()).unwrap_or(1).max(1);
        time.saturating_mul(models) / workers
    }

    /// Takes those out who have left.
    fn sweep(&self, queue: &mut Queue) {
        let (mut rows, mut bytes) = (0, 0);
        queue.waiting.retain(|job| {
            let stays = !job.reply.is_closed();
            if !stays {
                rows += job.rows;
                bytes += job.bytes;
            }
            stays
        });
        queue.rows -= rows;
        queue.bytes -= bytes;
        self.note(queue);
    }

    /// Lets the other models know whether there is something to compute.
    fn note(&self, queue: &mut Queue) {
        let busy = !queue.waiting.is_empty() || queue.running > 0;
        if busy != queue.busy {
            queue.busy = busy;
            if busy { self.member.begin() } else { self.member.end() }
        }
    }

    /// Whether so many rows are more than a batch, and take long enough for another worker to be woken.
    fn is_work_for_two(&self, rows: usize) -> bool {
        let best = self.best();
        rows > best && self.pace.time_in_batches(rows, best) > LONG / 2
    }

    /// Rows that are best computed together.
    fn best(&self) -> usize {
        self.best.load(Ordering::Relaxed)
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
        let mut credit = Credit::new(LONG);
        loop {
            wake.notified().await;
            loop {
                while let Some(delay) = self.delay(Instant::now()) {
                    // The next request may be the last that is waited for.
                    let _ = tokio::time::timeout(delay, wake.notified()).await;
                }
                let Some(rows) = self.next_batch() else { break };
                if self.pace.time_of(rows) > LONG {
                    self.away[worker].store(true, Ordering::Relaxed);
                    let mut turn = self.member.turn().await;
                    let batch = self.take(Instant::now());
                    if !batch.is_empty() {
                        let rows = batch.iter().map(|job| job.rows).sum();
                        let metrics = Arc::clone(&self.metrics);
                        let done = tokio::task::spawn_blocking(move || {
                            let took = compute(engine.as_mut(), batch, &metrics);
                            (engine, took)
                        });
                        let (back, took) = done.await.ok()?;
                        engine = back;
                        turn.took(took.all);
                        self.done(rows, took);
                    }
                    self.away[worker].store(false, Ordering::Relaxed);
                    continue;
                }
                let batch = self.take(Instant::now());
                if batch.is_empty() {
                    break;
                }
                let rows = batch.iter().map(|job| job.rows).sum();
                let took = compute(engine.as_mut(), batch, &self.metrics);
                self.done(rows, took);
                credit.spend(took.all);
                if self.member.busy() > 1 && credit.is_left() {
                    continue;
                }
                loop {
                    // Answers leave, what has arrived meanwhile joins the next batch, and other models have their turn.
                    tokio::task::yield_now().await;
                    credit.renew(self.member.busy() <= 1);
                    if credit.is_left() {
                        break;
                    }
                }
            }
            if self.lock().closed {
                return Some(engine);
            }
        }
    }

    /// How long to wait for more, if that may be.
    fn delay(&self, now: Instant) -> Option<Duration> {
        if self.limits.delay.is_zero() {
            return None;
        }
        let best = self.best();
        let queue = self.lock();
        let first = queue.waiting.front()?;
        if queue.closed || queue.rows >= best {
            return None;
        }
        // Whoever has little time is not made to wait until it is over.
        let until = first.queued + self.limits.delay.min(first.limit / 4);
        until.checked_duration_since(now).filter(|delay| !delay.is_zero())
    }

    /// How many rows the next batch may have; `None` if nothing waits.
    fn next_batch(&self) -> Option<usize> {
        let best = self.best();
        let queue = self.lock();
        queue.waiting.front().map(|first| queue.rows.min(best.max(first.rows)))
    }

    /// Whoever waits and has the same shape as the first, up to a batch; without those who left or whose time is over.
    fn take(&self, now: Instant) -> Vec<Job> {
        let mut batch: Vec<Job> = Vec::new();
        let mut passed: Vec<Job> = Vec::new();
        let (mut rows, mut most) = (0, self.best());
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
            if let Some(first) = batch.first() {
                if rows + job.rows > most {
                    queue.waiting.push_front(job);
                    break;
                }
                if !alike(first, &job) {
                    passed.push(job);
                    if passed.len() >= PASSED {
                        break;
                    }
                    continue;
                }
            } else {
                // The first has waited longest, and is not made late by those who join it.
                while most > 1 && self.pace.time_of(most) > job.deadline.duration_since(now) {
                    most /= 2;
                }
            }
            queue.rows -= job.rows;
            queue.bytes -= job.bytes;
            rows += job.rows;
            batch.push(job);
        }
        // They came before whoever waits behind them.
        passed.into_iter().rev().for_each(|job| queue.waiting.push_front(job));
        queue.running += rows;
        self.note(&mut queue);
        batch
    }

    fn done(&self, rows: usize, took: Took) {
        let mut queue = self.lock();
        queue.running -= rows;
        self.note(&mut queue);
        drop(queue);
        if took.together {
            self.learn(rows, took.all);
        }
    }

    /// Tells the scheduler what `rows` rows took.
    pub fn learn(&self, rows: usize, took: Duration) {
        self.pace.learn(rows, took);
        self.best.store(self.pace.best(self.limits.batch_rows), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing that can panic is done while it is held.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Scheduler {
    /// The other models do not wait for one that is gone.
    fn drop(&mut self) {
        if self.lock().busy {
            self.member.end();
        }
    }
}

/// Whether requests may be joined.
fn alike(one: &Job, other: &Job) -> bool {
    let shapes = one.inputs.iter().zip(&other.inputs);
    one.inputs.len() == other.inputs.len() && shapes.into_iter().all(|(a, b)| a.shape.get(1..) == b.shape.get(1..))
}

/// What a batch took.
#[derive(Debug, Clone, Copy)]
struct Took {
    all: Duration,
    /// Whether it was one run that gave something, and not one for each request: then it says what such a run takes.
    together: bool,
}

/// Computes a batch and answers everybody in it.
fn compute(engine: &mut dyn Engine, batch: Vec<Job>, metrics: &Metrics) -> Took {
    let began = Instant::now();
    let rows: Vec<usize> = batch.iter().map(|job| job.rows).collect();
    let inputs: Vec<&[Tensor]> = batch.iter().map(|job| job.inputs.as_slice()).collect();
    let (answers, together) = together(engine, &inputs, &rows);
    let took = began.elapsed();
    metrics.batch(rows.iter().sum(), took);
    for (job, answer) in batch.into_iter().zip(answers) {
        metrics.queued(began.duration_since(job.queued));
        // Who left does not want it.
        let _ = job.reply.send(answer);
    }
    Took { all: took, together }
}

/// In one run, or, where that fails, each request by itself: one that cannot be computed fails alone. And
/// whether it was one run, which went well.
fn together(engine: &mut dyn Engine, inputs: &[&[Tensor]], rows: &[usize]) -> (Vec<Answer>, bool) {
    let answers = match inputs {
        [one] => {
            let answer = run(engine, one);
            let counts = answer.is_ok();
            return (vec![answer], counts);
        }
        _ => join(inputs).and_then(|joined| run(engine, &joined).ok()).and_then(|outputs| split(&outputs, rows)),
    };
    match answers {
        Some(answers) => (answers.into_iter().map(Ok).collect(), true),
        None => (inputs.iter().map(|request| run(engine, request)).collect(), false),
    }
}

fn run(engine: &mut dyn Engine, inputs: &[Tensor]) -> Answer {
    match catch_unwind(AssertUnwindSafe(|| engine.run(inputs))) {
        Ok(Ok(outputs)) => Ok(outputs),
        Ok(Err(reason)) => Err(Refusal::Failed(format!("the model failed: {reason}"))),
        Err(_) => Err(Refusal::Failed("the engine failed".to_owned())),
    }
}
