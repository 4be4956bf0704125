//! A request on a connection: who may ask, how much, how long; then the route.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{ALLOW, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};

use crate::accents::{self, rows, v2};
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

/// Says how long the JSON before binary tensors is.
const BINARY: &str = "inference-header-content-length";
const JSON: &str = "application/json";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

struct Reply {
    status: StatusCode,
    content_type: &'static str,
    body: Vec<u8>,
}

impl Reply {
    fn json(body: Vec<u8>) -> Self {
        Self { status: StatusCode::OK, content_type: JSON, body }
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
            Reply { status, content_type: JSON, body }
        };
        Ok(match entry.route {
            Route::Server => Reply::json(v2::server(self.version)),
            Route::Live => Reply::json(v2::state(None, "live", true)),
            Route::Ready => health(v2::state(None, "ready", ready)),
            Route::Metadata => Reply::json(v2::metadata(model)),
            Route::ModelReady | Route::Model => health(v2::state(Some(&model.name), "ready", ready)),
            Route::Models => Reply::json(serde_json::json!({ "models": [model.name] }).to_string().into_bytes()),
            Route::Ping => health(Vec::new()),
            Route::Version => Reply { status: StatusCode::OK, content_type: "text/plain", body: self.version.into() },
            Route::Metrics => {
                let text = model.metrics.text(model.scheduler.waiting());
                Reply { status: StatusCode::OK, content_type: PROMETHEUS, body: text.into_bytes() }
            }
            Route::Infer => {
                if request.headers().contains_key(BINARY) {
                    return Err(Refusal::Bad(v2::NO_BINARY.to_owned()));
                }
                let body = self.body(request).await?;
                model.scheduler.admit(self.bounds.deadline)?;
                let infer = v2::infer(model, &accents::text(model, &body)?)?;
                self.predict_v2(worker, infer).await?
            }
            Route::Predict => {
                let body = self.body(request).await?;
                model.scheduler.admit(self.bounds.deadline)?;
                let inputs = rows::v1(model, &accents::text(model, &body)?)?;
                let outputs = model.predict(worker, inputs.tensors, self.bounds.deadline).await?;
                Reply::json(rows::answer(&outputs))
            }
            Route::Invocations => {
                is_json(request.headers().get(CONTENT_TYPE))?;
                let body = self.body(request).await?;
                model.scheduler.admit(self.bounds.deadline)?;
                let inputs = rows::mlflow(model, &accents::text(model, &body)?)?;
                let outputs = model.predict(worker, inputs.tensors, self.bounds.deadline).await?;
                Reply::json(rows::answer(&outputs))
            }
        })
    }

    async fn predict_v2(&self, worker: usize, mut infer: v2::Infer) -> Result<Reply, Refusal> {
        let limit = infer.timeout.map_or(self.bounds.deadline, |timeout| timeout.min(self.bounds.deadline));
        let inputs = std::mem::take(&mut infer.inputs).tensors;
        let outputs = self.model.predict(worker, inputs, limit).await?;
        Ok(Reply::json(v2::answer(&self.model, &infer, &outputs)))
    }

    /// The whole body, if it is not too large and arrives in time.
    async fn body(&self, request: Request<Incoming>) -> Result<Bytes, Refusal> {
        let most = self.bounds.body;
        let large =
            || Refusal::TooLarge(format!("the body is larger than {most} bytes, which is the most that is read"));
        if let Some(encoding) = request.headers().get(CONTENT_ENCODING).filter(|value| *value != "identity") {
            let found = String::from_utf8_lossy(encoding.as_bytes()).escape_debug().to_string();
            return Err(Refusal::MediaType(format!("the content encoding '{found}' is not understood; send it plain")));
        }
        if request.body().size_hint().lower() > most as u64 {
            return Err(large());
        }
        let read = Limited::new(request.into_body(), most).collect();
        match tokio::time::timeout(self.bounds.arrival, read).await {
            Err(_) => Err(Refusal::Slow),
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(large()),
            Ok(Err(error)) => Err(Refusal::Bad(format!("the body cannot be read: {error}"))),
        }
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

/// `MLflow`'s rule: the type must say what the body is.
fn is_json(content_type: Option<&HeaderValue>) -> Result<(), Refusal> {
    let found = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = found.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    let utf8 = parts.all(|parameter| {
        parameter.split_once('=').is_some_and(|(key, value)| {
            key.trim().eq_ignore_ascii_case("charset") && value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        })
    });
    if kind.eq_ignore_ascii_case(JSON) && utf8 {
        return Ok(());
    }
    let found = found.escape_debug();
    Err(Refusal::MediaType(format!("the content type is '{found}', expected application/json in UTF-8")))
}
