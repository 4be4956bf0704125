//! How models share what computes: deficit round robin over the time that their batches were measured to take.
//!
//! Short batches are computed on the event loop, where models with work follow each other in turn: each may use so much
//! time, and what it used too much is missing from its next turn. Long ones are computed beside it, on threads that the
//! system shares out fairly; there a model may always have one batch, and a second only while there are processors, and
//! before it who has used less.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

/// What the models of a server have in common.
#[derive(Debug)]
pub struct Shares {
    /// Batches that are computed beside the event loops at once, unless there are more models.
    most: usize,
    /// Models that have something to compute.
    busy: AtomicUsize,
    long: Mutex<Long>,
}

#[derive(Debug, Default)]
struct Long {
    running: usize,
    next: u64,
    models: Vec<Account>,
}

#[derive(Debug)]
struct Account {
    number: u64,
    running: usize,
    /// Time that its long batches took; who was idle is put where the others are.
    used: Duration,
    waiting: VecDeque<oneshot::Sender<()>>,
}

/// A model's part in it.
#[derive(Debug)]
pub struct Member {
    shares: Arc<Shares>,
    number: u64,
}

/// The right to compute a long batch, until it is given back.
#[derive(Debug)]
pub struct Turn {
    shares: Arc<Shares>,
    number: u64,
    used: Duration,
}

/// What a model may use of the event loop before it is another one's turn: what it used too much is missing next time.
#[derive(Debug)]
pub struct Credit {
    quantum: i128,
    left: i128,
}

impl Credit {
    /// So much time each turn.
    #[must_use]
    pub fn new(quantum: Duration) -> Self {
        let quantum = nanoseconds(quantum).max(1);
        Self { quantum, left: quantum }
    }

    /// A batch took so long.
    pub fn spend(&mut self, time: Duration) {
        self.left -= nanoseconds(time);
    }

    /// Whether something is left of the turn.
    #[must_use]
    pub fn is_left(&self) -> bool {
        self.left > 0
    }

    /// The next turn; nothing is owed to nobody, and nothing is saved.
    pub fn renew(&mut self, alone: bool) {
        self.left = if alone { self.quantum } else { self.quantum.min(self.left + self.quantum) };
    }
}

fn nanoseconds(time: Duration) -> i128 {
    i128::try_from(time.as_nanos()).unwrap_or(i128::MAX / 4)
}

impl Shares {
    /// For so many workers.
    #[must_use]
    pub fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self { most: workers.max(1), busy: AtomicUsize::new(0), long: Mutex::default() })
    }

    /// One more model.
    #[must_use]
    pub fn join(self: &Arc<Self>) -> Member {
        let mut long = self.lock();
        let number = long.next;
        long.next += 1;
        long.models.push(Account { number, running: 0, used: Duration::ZERO, waiting: VecDeque::new() });
        Member { shares: Arc::clone(self), number }
    }

    /// How many models have something to compute.
    #[must_use]
    pub fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Long> {
        // Nothing that can panic is done while it is held.
        self.long.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Long {
    /// Lets in who may go on.
    fn admit(&mut self, most: usize) {
        loop {
            let free = self.running < most;
            let next = self
                .models
                .iter_mut()
                .filter(|model| !model.waiting.is_empty() && (free || model.running == 0))
                .min_by_key(|model| (model.running > 0, model.used));
            let Some(model) = next else { return };
            let Some(tell) = model.waiting.pop_front() else { return };
            // Who does not wait any more is passed over.
            if tell.send(()).is_ok() {
                model.running += 1;
                self.running += 1;
            }
        }
    }
}

impl Member {
    /// The model has something to compute now.
    pub fn begin(&self) {
        self.shares.busy.fetch_add(1, Ordering::Relaxed);
    }

    /// It has nothing more.
    pub fn end(&self) {
        self.shares.busy.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many models have something to compute.
    #[must_use]
    pub fn busy(&self) -> usize {
        self.shares.busy()
    }

    /// Waits until the model may compute a long batch.
    pub async fn turn(&self) -> Turn {
        let told = {
            let mut long = self.shares.lock();
            let others = long.models.iter().filter(|model| model.running > 0 || !model.waiting.is_empty());
            let least = others.map(|model| model.used).min();
            let (tell, told) = oneshot::channel();
            if let Some(model) = long.models.iter_mut().find(|model| model.number == self.number) {
                if model.running == 0 && model.waiting.is_empty() {
                    model.used = model.used.max(least.unwrap_or_default());
                }
                model.waiting.push_back(tell);
            }
            long.admit(self.shares.most);
            told
        };
        // The sender is kept until it has told, or the model is gone, and then nobody waits.
        let _ = told.await;
        Turn { shares: Arc::clone(&self.shares), number: self.number, used: Duration::ZERO }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut long = self.shares.lock();
        if let Some(index) = long.models.iter().position(|model| model.number == self.number) {
            let gone = long.models.swap_remove(index);
            long.running -= gone.running;
        }
        long.admit(self.shares.most);
    }
}

impl Turn {
    /// The batch took so long.
    pub fn took(&mut self, time: Duration) {
        self.used = time;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut long = self.shares.lock();
        let used = self.used;
        if let Some(model) = long.models.iter_mut().find(|model| model.number == self.number) {
            model.running -= 1;
            model.used += used;
            long.running -= 1;
        }
        long.admit(self.shares.most);
    }
}
