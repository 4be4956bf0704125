//! What a server has to offer: endpoints by name, the versions behind each, and who gets which.
//!
//! A request asks once, before its body is read, and holds the version that it was given until it is answered. So a change
//! is a change for those who ask afterwards: nobody waits for it, and no answer is of two versions. A version that is no
//! longer offered ends when the last request that holds it is answered.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

use crate::error::{Refusal, StartError};
use crate::metrics::{self, Metrics};
use crate::model::Model;
use crate::scheduler::Scheduler;
use crate::split::Split;

/// Versions whose counters are kept, at most, once they are retired.
const REMEMBERED: usize = 64;

/// A version behind an endpoint.
#[derive(Debug, Clone)]
pub struct Share {
    /// The version.
    pub model: Arc<Model>,
    /// How many of the requests it gets, against the others. 0: those only that name it.
    pub weight: u32,
}

/// A name that clients ask, and what answers.
#[derive(Debug)]
pub struct Endpoint {
    /// Its name in routes.
    pub name: String,
    shares: Vec<Share>,
    split: Split,
    shadows: Vec<Arc<Model>>,
    key: HeaderName,
}

impl Endpoint {
    /// At least one weight is not 0. `shadows` are tried on what the others are asked. The value of the header `key` decides who gets which version.
    pub fn new(name: &str, shares: Vec<Share>, shadows: Vec<Arc<Model>>, key: &str) -> Result<Self, StartError> {
        let weights: Vec<u32> = shares.iter().map(|share| share.weight).collect();
        let split = Split::new(&weights).ok_or_else(|| StartError::Option {
            option: "weight",
            found: format!("0 for every version of '{}'", name.escape_debug()),
            expected: "a version that gets requests",
        })?;
        let key = HeaderName::from_bytes(key.as_bytes()).map_err(|_| StartError::Option {
            option: "key",
            found: format!("'{}'", key.escape_debug()),
            expected: "the name of a header",
        })?;
        Ok(Self { name: name.to_owned(), split, shares, shadows, key })
    }

    /// The version for a request.
    pub fn choose(&self, version: Option<&str>, headers: &HeaderMap) -> Result<Arc<Model>, Refusal> {
        if version.is_some() || self.shares.len() == 1 {
            return self.main(version);
        }
        let index = match headers.get(&self.key) {
            Some(key) => self.split.of(&self.name, key.as_bytes()),
            None => self.split.next(),
        };
        self.shares.get(index).map(|share| Arc::clone(&share.model)).ok_or(Refusal::Draining)
    }

    /// The version that is named, or the one that gets most requests.
    pub fn main(&self, version: Option<&str>) -> Result<Arc<Model>, Refusal> {
        let found = match version {
            None => self.shares.get(self.split.main()),
            Some(version) => self.shares.iter().find(|share| share.model.version == version),
        };
        found.map(|share| Arc::clone(&share.model)).ok_or_else(|| {
            let (found, known) = (version.unwrap_or_default().escape_debug(), quoted(self.versions()));
            Refusal::NotFound(format!("there is no version '{found}' of the model; this server has {known}"))
        })
    }

    /// The versions behind it, in order.
    pub fn versions(&self) -> impl Iterator<Item = &str> {
        self.shares.iter().map(|share| share.model.version.as_str())
    }
}

/// What was counted for a version, which may be gone.
#[derive(Debug)]
struct Counted {
    metrics: Arc<Metrics>,
    /// Several if it was loaded again while it was served.
    schedulers: Vec<Weak<Scheduler>>,
}

impl Counted {
    fn waiting(&self) -> (usize, usize) {
        let waiting = self.schedulers.iter().filter_map(Weak::upgrade).map(|scheduler| scheduler.waiting());
        waiting.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }
}

/// What became of attempts to change what is served.
#[derive(Debug, Default)]
pub struct Control {
    /// Versions that could not be loaded.
    pub failed: AtomicU64,
    /// Whether the registry that is followed can be read; `None` where none is followed.
    pub reachable: Mutex<Option<bool>>,
}

impl Control {
    fn write(&self, out: &mut String) {
        let mut family = |name: &str, kind: &str, help: &str, value: u64| {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        };
        let failed = self.failed.load(Ordering::Relaxed);
        family("headrace_load_failures_total", "counter", "Versions that were refused when they were loaded.", failed);
        if let Some(reachable) = *self.reachable.lock().unwrap_or_else(PoisonError::into_inner) {
            let help = "Whether the registry that the server follows can be read.";
            family("headrace_registry_reachable", "gauge", help, u64::from(reachable));
        }
    }
}

/// The endpoints, and everything that was counted.
#[derive(Debug)]
pub struct Catalogue {
    /// `None` once it is closed.
    endpoints: RwLock<Option<Arc<[Arc<Endpoint>]>>>,
    counted: Mutex<Vec<Counted>>,
    /// What became of attempts to change it.
    pub control: Control,
    /// Of requests that reached no version.
    pub strangers: Metrics,
}

impl Default for Catalogue {
    fn default() -> Self {
        Self {
            endpoints: RwLock::new(Some(Arc::from([]))),
            counted: Mutex::default(),
            control: Control::default(),
            strangers: Metrics::new("", ""),
        }
    }
}

impl Catalogue {
    /// The endpoints as they are now; the first is what routes without a name lead to.
    #[must_use]
    pub fn endpoints(&self) -> Arc<[Arc<Endpoint>]> {
        let endpoints = self.endpoints.read().unwrap_or_else(PoisonError::into_inner);
        endpoints.as_ref().map_or_else(|| Arc::from([]), Arc::clone)
    }

    /// The endpoint of that name, or the first.
    pub fn endpoint(&self, name: Option<&str>) -> Result<Arc<Endpoint>, Refusal> {
        let endpoints = self.endpoints();
        let Some(first) = endpoints.first() else { return Err(Refusal::Draining) };
        let Some(name) = name else { return Ok(Arc::clone(first)) };
        endpoints.iter().find(|endpoint| endpoint.name == name).map(Arc::clone).ok_or_else(|| {
            let (found, known) = (name.escape_debug(), quoted(endpoints.iter().map(|endpoint| endpoint.name.as_str())));
            Refusal::NotFound(format!("there is no model '{found}'; this server has {known}"))
        })
    }

    /// Offers an endpoint, instead of the one of the same name if there is one; whether the catalogue is open.
    pub fn offer(&self, endpoint: Endpoint) -> bool {
        let endpoint = Arc::new(endpoint);
        let mut endpoints = self.endpoints.write().unwrap_or_else(PoisonError::into_inner);
        let Some(before) = endpoints.take() else { return false };
        let mut after = before.to_vec();
        match after.iter_mut().find(|other| other.name == endpoint.name) {
            Some(other) => {
                // Else two versions that shadow each other in turn would hold each other for ever.
                other.shares.iter().for_each(|share| share.model.shade(&[]));
                *other = Arc::clone(&endpoint);
            }
            None => after.push(Arc::clone(&endpoint)),
        }
        endpoint.shadows.iter().for_each(|shadow| shadow.metrics.shadow.begin());
        endpoint.shares.iter().for_each(|share| share.model.shade(&endpoint.shadows));
        *endpoints = Some(Arc::from(after));
        drop(endpoints);
        // It may be the last to hold a version, and is let go of when nobody waits for the lock any more.
        drop(before);
        true
    }

    /// Offers nothing more, for ever; what waits is still computed.
    pub fn close(&self) {
        let before = self.endpoints.write().unwrap_or_else(PoisonError::into_inner).take();
        let all = before.iter().flat_map(|endpoints| endpoints.iter()).flat_map(|endpoint| &endpoint.shares);
        all.for_each(|share| share.model.shade(&[]));
        drop(before);
        // Also of versions that are not offered, which somebody may hold.
        for scheduler in self.counted().iter().flat_map(|one| &one.schedulers).filter_map(Weak::upgrade) {
            scheduler.close();
        }
    }

    /// Whether a request waits for an engine.
    #[must_use]
    pub fn somebody_waits(&self) -> bool {
        self.counted().iter().any(|one| one.waiting().0 > 0)
    }

    /// Where a version is counted: where it was before, if it comes back.
    #[must_use]
    pub fn metrics(&self, model: &str, version: &str) -> Arc<Metrics> {
        let found =
            self.counted().iter().find(|one| one.metrics.are_of(model, version)).map(|one| Arc::clone(&one.metrics));
        found.unwrap_or_else(|| Arc::new(Metrics::new(model, version)))
    }

    /// Counts a version that is about to compute.
    pub fn count(&self, model: &Model) {
        let mut counted = self.counted();
        for one in counted.iter_mut() {
            one.schedulers.retain(|scheduler| scheduler.strong_count() > 0);
        }
        let scheduler = Arc::downgrade(&model.scheduler);
        match counted.iter_mut().find(|one| Arc::ptr_eq(&one.metrics, &model.metrics)) {
            Some(one) => one.schedulers.push(scheduler),
            None => counted.push(Counted { metrics: Arc::clone(&model.metrics), schedulers: vec![scheduler] }),
        }
        while counted.len() > REMEMBERED {
            let Some(oldest) = counted.iter().position(|one| one.schedulers.is_empty()) else { break };
            counted.remove(oldest);
        }
    }

    /// What Prometheus reads.
    #[must_use]
    pub fn text(&self) -> String {
        let counted = self.counted();
        let versions: Vec<(Arc<Metrics>, (usize, usize))> =
            counted.iter().map(|one| (Arc::clone(&one.metrics), one.waiting())).collect();
        drop(counted);
        let versions: Vec<(&Metrics, (usize, usize))> =
            versions.iter().map(|(metrics, waiting)| (&**metrics, *waiting)).collect();
        let mut text = metrics::text(&versions, Some(&self.strangers));
        self.control.write(&mut text);
        text
    }

    /// Requests answered, rows predicted, requests refused.
    #[must_use]
    pub fn totals(&self) -> (u64, u64, u64) {
        let counted = self.counted();
        let all = counted.iter().map(|one| one.metrics.totals()).chain([self.strangers.totals()]);
        all.fold((0, 0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1, sum.2 + one.2))
    }

    fn counted(&self) -> MutexGuard<'_, Vec<Counted>> {
        // A list is pushed to and removed from whole.
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `name@version` as a header has it; `None` where a header cannot.
#[must_use]
pub fn label(model: &str, version: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("{model}@{version}")).ok()
}

fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("'{}'", name.escape_debug())).collect();
    names.join(", ")
}
