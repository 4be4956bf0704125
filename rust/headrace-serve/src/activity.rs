//! What happens on a connection of HTTP/2: requests that are answered, and answers that nobody reads.
//!
//! An answer that a client does not take lies in the connection, without any write that would wait: its own flow control
//! says so. And a connection on which only pings are sent looks alive to everything below.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::patient::SLOWEST;

/// Answers that are remembered before those that have left are looked for.
const MANY: usize = 512;

/// Of one connection.
#[derive(Debug)]
pub(crate) struct Activity {
    running: Cell<usize>,
    last: Cell<Instant>,
    answers: RefCell<Vec<Weak<Instant>>>,
}

impl Activity {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self { running: Cell::new(0), last: Cell::new(Instant::now()), answers: RefCell::default() })
    }

    /// A request is answered as long as this is held.
    pub(crate) fn request(self: &Rc<Self>) -> Running {
        self.running.set(self.running.get() + 1);
        Running(Rc::clone(self))
    }

    /// An answer of so many bytes is there as long as this is held, by whoever has them. It begins to be waited for when
    /// the slowest client that is borne with would have read it.
    pub(crate) fn answer(&self, bytes: usize) -> Arc<Instant> {
        let read = Duration::from_secs(bytes as u64 / u64::from(SLOWEST));
        let sent = Arc::new(Instant::now() + read);
        let mut answers = self.answers.borrow_mut();
        if answers.len() >= MANY {
            answers.retain(|answer| answer.strong_count() > 0);
        }
        answers.push(Arc::downgrade(&sent));
        sent
    }

    /// Waits until nothing was asked for `idle`, or an answer is not taken for `patience`.
    pub(crate) async fn ended(&self, idle: Duration, patience: Duration) {
        let every = (idle.min(patience) / 4).max(Duration::from_millis(10));
        loop {
            tokio::time::sleep(every).await;
            let mut answers = self.answers.borrow_mut();
            answers.retain(|answer| answer.strong_count() > 0);
            if !answers.is_empty() {
                self.last.set(Instant::now());
            }
            let stuck = answers.iter().filter_map(Weak::upgrade).any(|sent| sent.elapsed() >= patience);
            if stuck || (self.running.get() == 0 && self.last.get().elapsed() >= idle) {
                return;
            }
        }
    }
}

/// A request that is not answered yet.
#[derive(Debug)]
pub(crate) struct Running(Rc<Activity>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.set(self.0.running.get() - 1);
        self.0.last.set(Instant::now());
    }
}
