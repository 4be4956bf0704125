//! What a request is called: what its client says, or a name of ours.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

/// Says what a request is called, in every answer that has predictions.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("headrace-request-id");

/// Bytes of an identity that a client gives.
pub(crate) const LONGEST: usize = 256;
/// Headers in which clients give one, the first that is there counts.
const GIVEN: [HeaderName; 3] =
    [REQUEST_ID, HeaderName::from_static("x-amzn-sagemaker-inference-id"), HeaderName::from_static("x-request-id")];

/// Names requests, each once among all servers.
#[derive(Debug)]
pub struct Identities {
    instance: u64,
    next: AtomicU64,
}

impl Default for Identities {
    fn default() -> Self {
        // The keys of a hash map's state are the system's randomness; the time makes a new number of them each time.
        let instance = RandomState::new().hash_one((SystemTime::now(), std::process::id()));
        Self { instance, next: AtomicU64::new(0) }
    }
}

impl Identities {
    /// What the server calls itself: sixteen hexadecimal digits, others after each start.
    #[must_use]
    pub fn instance(&self) -> String {
        format!("{:016x}", self.instance)
    }

    /// What a request is called: by its headers, else by us. A name that could not stand in a header or a file is not
    /// taken.
    pub fn of(&self, headers: &HeaderMap) -> Arc<str> {
        let given = GIVEN.iter().find_map(|name| headers.get(name));
        given.and_then(|value| value.to_str().ok()).and_then(usable).unwrap_or_else(|| self.new_one())
    }

    fn new_one(&self) -> Arc<str> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Arc::from(format!("{:016x}-{number:x}", self.instance))
    }
}

/// An identity that a client gave, if it may be one: up to 256 visible characters of ASCII.
#[must_use]
pub fn usable(text: &str) -> Option<Arc<str>> {
    let fits = (1..=LONGEST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| Arc::from(text))
}

/// As the header of an answer.
#[must_use]
pub fn header(id: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(id).ok()
}
