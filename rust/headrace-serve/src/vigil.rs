//! Whether a worker stays awake for a client that comes back at once.
//!
//! To wake a processor that has gone to sleep takes longer than most predictions. So after an answer to a client that has
//! come back quickly, time after time, its worker looks for the next request for a moment before it sleeps. A client that
//! thinks for longer has proved the opposite, and has to be quick for some time before it is stayed awake for again; so
//! who does not ask costs nothing, beyond that moment.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long is stayed awake after an answer, at most.
pub const AWAKE: Duration = Duration::from_micros(200);
/// Whoever comes back within this, while nobody is awake, is quick: until the request is seen the processor has to wake.
pub const QUICK: Duration = Duration::from_micros(400);
/// Quick requests in a row after which is stayed awake.
pub const PROVEN: u32 = 4;
/// The same, at most, for a client that was waited for in vain before.
pub const MOST: u32 = 1024;
/// How often in a row is waited in vain.
pub const VAIN: u32 = 2;
/// Connections of a worker with which it stays awake: among more there is nearly always one that has something to say.
const COMPANY: usize = 2;

/// What one client has shown.
#[derive(Debug)]
pub struct Client {
    /// When it was answered, if it has not come back since.
    answered: Option<Instant>,
    /// Quick requests in a row.
    quick: u32,
    /// So many are wanted before it is stayed awake for.
    wanted: u32,
    vain: u32,
}

impl Default for Client {
    fn default() -> Self {
        Self { answered: None, quick: 0, wanted: PROVEN, vain: 0 }
    }
}

impl Client {
    /// It is answered, or a part of the answer has left.
    pub fn answered(&mut self, now: Instant) {
        self.answered = Some(now);
    }

    /// It does not read what it is sent: it is the one who is waited for.
    pub fn does_not_read(&mut self) {
        self.answered = None;
    }

    /// Whether to stay awake for it.
    pub fn is_expected(&mut self, now: Instant) -> bool {
        let Some(answered) = self.answered.filter(|_| self.quick >= self.wanted) else { return false };
        if now.saturating_duration_since(answered) < AWAKE {
            return true;
        }
        self.answered = None;
        self.vain += 1;
        if self.vain >= VAIN {
            self.quick = 0;
            self.vain = 0;
            self.wanted = (2 * self.wanted).min(MOST);
        }
        false
    }

    /// It asked again.
    pub fn came(&mut self, now: Instant) {
        let Some(answered) = self.answered.take() else { return };
        let gap = now.saturating_duration_since(answered);
        if gap > QUICK {
            self.quick = 0;
            self.vain = 0;
        } else if self.quick < self.wanted {
            self.quick += 1;
        } else if gap < AWAKE {
            // It was worth it.
            self.vain = 0;
            self.wanted = PROVEN;
            self.quick = PROVEN;
        }
    }
}

/// How many workers may be awake at once: half of the processors, so that clients on this machine have the others.
#[derive(Debug)]
pub struct Watch {
    awake: AtomicUsize,
    most: usize,
}

impl Watch {
    /// On a machine with so many processors. With a single one nobody stays awake.
    #[must_use]
    pub fn new(processors: usize) -> Arc<Self> {
        Arc::new(Self { awake: AtomicUsize::new(0), most: processors / 2 })
    }

    /// One that stays awake while this is held, if there may be one more.
    #[must_use]
    pub fn stay(self: &Arc<Self>) -> Option<Awake> {
        let one_more = |awake| if awake < self.most { Some(awake + 1) } else { None };
        let stays = self.awake.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        stays.ok().map(|_| Awake(Arc::clone(self)))
    }
}

/// A worker that stays awake.
#[derive(Debug)]
pub struct Awake(Arc<Watch>);

impl Drop for Awake {
    fn drop(&mut self) {
        self.0.awake.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Of one connection: what its client has shown, and the others on the worker.
#[derive(Debug)]
pub(crate) struct Vigil {
    watch: Arc<Watch>,
    /// Each connection of the worker holds it, and so does the worker.
    company: Rc<()>,
    client: Client,
    awake: Option<Awake>,
}

impl Vigil {
    pub(crate) fn new(watch: Arc<Watch>, company: Rc<()>) -> Self {
        Self { watch, company, client: Client::default(), awake: None }
    }

    /// Something was written; or it could not be, since the client does not read.
    pub(crate) fn wrote(&mut self, reads: bool) {
        if reads { self.client.answered(Instant::now()) } else { self.client.does_not_read() }
    }

    /// Something was read, or the connection has ended.
    pub(crate) fn read(&mut self) {
        self.awake = None;
        if self.client.answered.is_some() {
            self.client.came(Instant::now());
        }
    }

    /// Nothing can be read; whether to look again at once.
    pub(crate) fn is_on(&mut self) -> bool {
        // Most clients are not known to be quick, and the time need not be asked for them.
        if self.client.quick < self.client.wanted || self.client.answered.is_none() {
            return false;
        }
        if !self.client.is_expected(Instant::now()) || Rc::strong_count(&self.company) > COMPANY + 1 {
            self.awake = None;
            return false;
        }
        if self.awake.is_none() {
            self.awake = self.watch.stay();
        }
        self.awake.is_some()
    }
}
