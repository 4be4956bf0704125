//! A request on a connection: who may ask, how much, how long; then the route.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};

use crate::accents::{self, v2};
use crate::error::Refusal;
use crate::model::Model;
use crate::routes::{self, Accent, Entry, Route};

/// What requests may be.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of a body.
    pub body: usize,
    /// How long a body may take to arrive.
    pub arrival: Duration,
    /// How long a request may wait for its answer.
    pub deadline: Duration,
}

/// What every connection shares.
#[derive(Debug)]
pub struct Service {
    /// What is served.
    pub model: Arc<Model>,
    /// Whether the server is about to stop.
    pub draining: AtomicBool,
    /// What requests may be.
    pub bounds: Bounds,
    /// The version of the server.
    pub version: &'static str,
}

pub(crate) const JSON: &str = "application/json";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// An answer that is no refusal.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    /// One more header.
    pub(crate) header: Option<(&'static str, HeaderValue)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(body: Vec<u8>) -> Self {
        Self { status: StatusCode::OK, content_type: JSON, header: None, body }
    }
}

impl Service {
    /// Answers a request that came in on `worker`.
    pub async fn answer(&self, worker: usize, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let mut response = self.respond(worker, request).await;
        if self.draining.load(Ordering::Relaxed) {
            // So that a client that would ask again at once goes elsewhere, and does not find the connection closed.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }

    async fn respond(&self, worker: usize, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        let entry = match routes::find(request.method().as_str(), path, &self.model) {
            Ok(entry) => entry,
            Err((accent, refusal)) => return self.refuse(accent, &refusal),
        };
        if !names_this_machine(request.headers().get(HOST)) {
            return self.refuse(entry.accent, &Refusal::Host);
        }
        match self.reply(worker, entry, request).await {
            Ok(reply) => {
                let mut response = Response::new(Full::new(Bytes::from(reply.body)));
                *response.status_mut() = reply.status;
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
                if let Some((name, value)) = reply.header {
                    response.headers_mut().insert(name, value);
                }
                response
            }
            Err(refusal) => self.refuse(entry.accent, &refusal),
        }
    }

    async fn reply(&self, worker: usize, entry: &Entry, request: Request<Incoming>) -> Result<Reply, Refusal> {
        let model = &*self.model;
        let ready = !self.draining.load(Ordering::Relaxed);
        let health = |body: Vec<u8>| {
            let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            Reply { status, ..Reply::json(body) }
        };
        Ok(match entry.route {
            Route::Server => Reply::json(v2::server(self.version)),
            Route::Live => Reply::json(v2::state(None, "live", true)),
            Route::Ready => health(v2::state(None, "ready", ready)),
            Route::Metadata => Reply::json(v2::metadata(model)),
            Route::ModelReady | Route::Model => health(v2::state(Some(&model.name), "ready", ready)),
            Route::Models => Reply::json(serde_json::json!({ "models": [model.name] }).to_string().into_bytes()),
            Route::Ping => health(Vec::new()),
            Route::Version => Reply { content_type: "text/plain", ..Reply::json(self.version.into()) },
            Route::Metrics => {
                let text = model.metrics.text(model.scheduler.waiting());
                Reply { content_type: PROMETHEUS, ..Reply::json(text.into_bytes()) }
            }
            Route::Infer | Route::Predict | Route::Invocations => {
                self.predictions(worker, model, entry.route, request).await?
            }
        })
    }

    fn refuse(&self, accent: Accent, refusal: &Refusal) -> Response<Full<Bytes>> {
        self.model.metrics.refused(refusal);
        let mut response = Response::new(Full::new(Bytes::from(accents::refusal(accent, refusal))));
        *response.status_mut() = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        if let Some(seconds) = refusal.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Refusal::Method(allowed) = refusal {
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        response
    }
}

/// Whether the Host header is one that a client on this machine sends. A page in a browser that was led here by a name of
/// its own (DNS rebinding) sends that name.
fn names_this_machine(host: Option<&HeaderValue>) -> bool {
    let Some(host) = host else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}
