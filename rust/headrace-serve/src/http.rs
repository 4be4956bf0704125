//! A request on a connection: who may ask, how much, how long; then the route.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ALLOW, CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Request, Response, StatusCode};

use crate::accents::{self, openapi, v2};
use crate::alias::Alias;
use crate::catalogue::{Catalogue, Endpoint};
use crate::error::Refusal;
use crate::feedback::Desk;
use crate::gate::Gate;
use crate::identity::{self, Identities, REQUEST_ID};
use crate::model::Model;
use crate::routes::{self, Accent, Found, Permission, Route};
use crate::shadow::Shadows;
use crate::tap::Tap;
use crate::tokens::Tokens;

/// What requests may be.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of a body.
    pub body: usize,
    /// Bytes of a body that is an Arrow stream.
    pub bulk: usize,
    /// Rows of such a body.
    pub bulk_rows: usize,
    /// How long a body may take to arrive.
    pub arrival: Duration,
    /// How long a request may wait for its answer.
    pub deadline: Duration,
}

/// What every connection shares.
#[derive(Debug)]
pub struct Service {
    /// What is served.
    pub catalogue: Catalogue,
    /// What is only tried.
    pub shadows: Shadows,
    /// Whether the server is about to stop.
    pub draining: AtomicBool,
    /// Who may ask what; none: whoever reaches the loopback, anything.
    pub tokens: Option<Tokens>,
    /// Where refusals wait that come too fast, one for each worker.
    pub gates: Vec<Gate>,
    /// Paths that a platform named.
    pub aliases: Vec<Alias>,
    /// What requests may be.
    pub bounds: Bounds,
    /// Who looks at what was predicted, if somebody does.
    pub tap: Option<Arc<Tap>>,
    /// Where labels wait to be kept.
    pub desk: Arc<Desk>,
    /// Labels of one request, at most.
    pub most_labels: usize,
    /// Names requests.
    pub identities: Identities,
    /// The version of the server.
    pub version: &'static str,
}

pub(crate) const JSON: &str = "application/json";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Says which version answered: `NAME@VERSION`.
pub(crate) const VERSION: HeaderName = HeaderName::from_static("headrace-version");

/// An endpoint, and the version of it that a request was given.
type Asked = (Arc<Endpoint>, Arc<Model>);

/// An answer that is no refusal.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    /// One more header.
    pub(crate) header: Option<(&'static str, HeaderValue)>,
    /// What the request is called, where predictions were made.
    pub(crate) id: Option<Arc<str>>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(body: Vec<u8>) -> Self {
        Self { status: StatusCode::OK, content_type: JSON, header: None, id: None, body }
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
        let uri = request.uri().clone();
        let found = match self.find(request.method().as_str(), uri.path()) {
            Ok(found) => found,
            Err((accent, refusal)) => return self.refuse(accent, &refusal, None),
        };
        let accent = found.entry.accent;
        if let Err(refusal) = self.let_in(found.entry.permission, request.headers()) {
            return self.refuse(accent, &refusal, None);
        }
        let asked = match self.asked(&found, &request) {
            Ok(asked) => asked,
            Err(refusal) => return self.refuse(accent, &refusal, None),
        };
        // It is held until the answer is there, so that whatever happens meanwhile the answer is that version's.
        let model = asked.as_ref().map(|(_, model)| &**model);
        match self.reply(worker, found.entry.route, asked.as_ref(), request).await {
            Ok(reply) => {
                let mut response = Response::new(Full::new(Bytes::from(reply.body)));
                *response.status_mut() = reply.status;
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
                if let Some((name, value)) = reply.header {
                    response.headers_mut().insert(name, value);
                }
                if let Some(id) = reply.id.as_deref().and_then(identity::header) {
                    response.headers_mut().insert(REQUEST_ID, id);
                }
                signed(response, model)
            }
            Err(refusal) => self.refuse(accent, &refusal, model),
        }
    }

    /// Whether a request may come in. Without tokens only this machine's clients can reach the server, and a page in a
    /// browser that was led here must not; with tokens it has none, and the server may be known by any name.
    pub(crate) fn let_in(&self, permission: Permission, headers: &HeaderMap) -> Result<(), Refusal> {
        match &self.tokens {
            Some(tokens) => tokens.check(permission, headers),
            None if names_this_machine(headers.get(HOST)) => Ok(()),
            None => Err(Refusal::Host),
        }
    }

    /// The way in, by a path that a platform named, or by one of ours.
    fn find<'a>(&self, method: &str, path: &'a str) -> Result<Found<'a>, (Accent, Refusal)> {
        Alias::find(&self.aliases, method, path).unwrap_or_else(|| routes::find(method, path))
    }

    /// The endpoint and the version that a request is for, if it is for one.
    fn asked(&self, found: &Found<'_>, request: &Request<Incoming>) -> Result<Option<Asked>, Refusal> {
        let version = found.version.as_deref();
        match found.entry.route {
            Route::Infer | Route::Predict | Route::Invocations => {
                let endpoint = self.catalogue.endpoint(found.model.as_deref())?;
                let model = endpoint.choose(version, request.headers())?;
                Ok(Some((endpoint, model)))
            }
            Route::Metadata | Route::ModelReady | Route::Model => {
                let endpoint = self.catalogue.endpoint(found.model.as_deref())?;
                let model = endpoint.main(version)?;
                Ok(Some((endpoint, model)))
            }
            Route::Server
            | Route::Alive
            | Route::Live
            | Route::Ready
            | Route::Models
            | Route::Ping
            | Route::Version
            | Route::Document
            | Route::Feedback
            | Route::Metrics => Ok(None),
        }
    }

    async fn reply(
        &self,
        worker: usize,
        route: Route,
        asked: Option<&Asked>,
        request: Request<Incoming>,
    ) -> Result<Reply, Refusal> {
        let ready = !self.draining.load(Ordering::Relaxed);
        let health = |body: Vec<u8>| {
            let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            Reply { status, ..Reply::json(body) }
        };
        if let Some((endpoint, model)) = asked {
            return match route {
                Route::Metadata => {
                    let versions: Vec<&str> = endpoint.versions().collect();
                    Ok(Reply::json(v2::metadata(&endpoint.name, &versions, model)))
                }
                Route::ModelReady | Route::Model => Ok(health(v2::state(Some(&endpoint.name), "ready", ready))),
                _ => self.predictions(worker, model, route, request).await,
            };
        }
        if route == Route::Feedback {
            return self.feedback(request).await;
        }
        Ok(match route {
            Route::Server => Reply::json(v2::server(self.version)),
            Route::Live => Reply::json(v2::state(None, "live", true)),
            Route::Alive => Reply::json(br#"{"status":"alive"}"#.to_vec()),
            Route::Models => {
                let endpoints = self.catalogue.endpoints();
                let names: Vec<&str> = endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
                Reply::json(serde_json::json!({ "models": names }).to_string().into_bytes())
            }
            Route::Document => Reply::json(self.document()),
            Route::Ping => health(Vec::new()),
            Route::Version => Reply { content_type: "text/plain", ..Reply::json(self.version.into()) },
            Route::Metrics => {
                let mut text = self.catalogue.text();
                if let Some(tap) = &self.tap {
                    tap.write(&mut text);
                }
                if let Some(tokens) = &self.tokens {
                    tokens.write(&mut text);
                }
                self.desk.write(&mut text);
                Reply { content_type: PROMETHEUS, ..Reply::json(text.into_bytes()) }
            }
            _ => health(v2::state(None, "ready", ready)),
        })
    }

    /// What there is to ask.
    fn document(&self) -> Vec<u8> {
        let endpoints = self.catalogue.endpoints();
        let models: Vec<Arc<Model>> = endpoints.iter().filter_map(|endpoint| endpoint.main(None).ok()).collect();
        let served: Vec<(&Endpoint, &Model)> =
            endpoints.iter().zip(&models).map(|(endpoint, model)| (&**endpoint, &**model)).collect();
        let labels = self.desk.is_open().then_some(self.most_labels);
        openapi::document(&served, self.version, self.tokens.is_some(), labels)
    }

    fn refuse(&self, accent: Accent, refusal: &Refusal, model: Option<&Model>) -> Response<Full<Bytes>> {
        model.map_or(&self.catalogue.strangers, |model| &model.metrics).refused(refusal);
        let mut response = Response::new(Full::new(Bytes::from(accents::refusal(accent, refusal))));
        *response.status_mut() = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        if let Some(seconds) = refusal.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = refusal.challenge().and_then(|text| HeaderValue::from_str(&text).ok()) {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if let Refusal::Method(allowed) = refusal {
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        signed(response, model)
    }
}

/// With the version that it is from.
fn signed(mut response: Response<Full<Bytes>>, model: Option<&Model>) -> Response<Full<Bytes>> {
    if let Some(label) = model.and_then(|model| model.label.as_ref()) {
        response.headers_mut().insert(VERSION, label.clone());
    }
    response
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
