//! A request on a connection: who may ask, how much, how long; then the route.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{
    ALLOW, CONNECTION, CONTENT_TYPE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{Request, Response, StatusCode, Uri, Version};

use crate::accents::{self, openapi, v2};
use crate::activity::Activity;
use crate::alias::Alias;
use crate::body::{self, Body};
use crate::budget::{Budget, Lease};
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
    /// How long a request's head may take to arrive, and a connection be idle.
    pub head: Duration,
    /// How long a body may take to arrive.
    pub arrival: Duration,
    /// How long a client may let the server wait that writes an answer, beside the time for what it reads meanwhile.
    pub answer: Duration,
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
    /// Bytes of bodies and answers, over all connections.
    pub budget: Arc<Budget>,
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

/// Bytes of an answer that is not counted: connections are.
const SMALL: usize = 16 * 1024;
const HELD: &str = "headrace_held_bytes";
const HELP: &str = "Bytes of requests and of large answers that are held.";

/// An answer that is counted.
struct Counted {
    body: Vec<u8>,
    _lease: Option<Lease>,
    _sent: Option<Arc<Instant>>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

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
    pub(crate) async fn answer(
        &self,
        worker: usize,
        request: Request<Incoming>,
        activity: Option<&Activity>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let (parts, mut body) = request.into_parts();
        let said = body.size_hint().lower();
        let mut response = self.respond(worker, &parts, &mut body, activity).await;
        // HTTP/2 tells the client to stop. Before, one that is still sending does not read, and finds the connection closed
        // if nobody takes what it sends; but one that asked first whether it should, and was refused, sends nothing.
        // One without a length was begun where it was too large or too slow.
        let begun =
            said == 0 && matches!(response.status(), StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT);
        let asked_first = parts.headers.contains_key(EXPECT) && body.size_hint().lower() == said && !begun;
        if parts.version < Version::HTTP_2 && !body.is_end_stream() && !asked_first {
            tokio::task::spawn_local(body::drain(body));
        }
        if self.draining.load(Ordering::Relaxed) {
            // So that a client that would ask again at once goes elsewhere, and does not find the connection closed.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }

    async fn respond(
        &self,
        worker: usize,
        request: &Parts,
        body: &mut Incoming,
        activity: Option<&Activity>,
    ) -> Response<Full<Bytes>> {
        let found = match self.find(request.method.as_str(), request.uri.path()) {
            Ok(found) => found,
            Err((accent, refusal)) => return self.refuse(accent, &refusal, None),
        };
        let accent = found.entry.accent;
        if let Err(refusal) = self.let_in(found.entry.permission, &request.uri, &request.headers) {
            return self.refuse(accent, &refusal, None);
        }
        let asked = match self.asked(&found, &request.headers) {
            Ok(asked) => asked,
            Err(refusal) => return self.refuse(accent, &refusal, None),
        };
        // It is held until the answer is there, so that whatever happens meanwhile the answer is that version's.
        let model = asked.as_ref().map(|(_, model)| &**model);
        let reply = self.reply(worker, found.entry.route, asked.as_ref(), &request.headers, body).await;
        let counted = reply.and_then(|mut reply| {
            let body = self.counted(std::mem::take(&mut reply.body), activity)?;
            Ok((reply, body))
        });
        match counted {
            Ok((reply, body)) => {
                let mut response = Response::new(Full::new(body));
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
    /// A name in the request's first line wins over the header, of which there is one at most (RFC 9112, 3.2).
    pub(crate) fn let_in(&self, permission: Permission, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        if headers.get_all(HOST).iter().nth(1).is_some() {
            return Err(Refusal::Bad("the request has more than one Host header".to_owned()));
        }
        let host = uri.authority().map(Authority::as_str);
        match &self.tokens {
            Some(tokens) => tokens.check(permission, headers),
            None if host.map_or_else(|| names_this_machine(headers.get(HOST)), is_of_this_machine) => Ok(()),
            None => Err(Refusal::Host),
        }
    }

    /// The body of a request.
    pub(crate) async fn body(&self, headers: &HeaderMap, body: &mut Incoming, most: usize) -> Result<Body, Refusal> {
        body::whole(headers, body, most, self.bounds.arrival, self.budget.lease()).await
    }

    /// The body of an answer, which is counted until it has left, or nobody wants it any more.
    pub(crate) fn counted(&self, body: Vec<u8>, activity: Option<&Activity>) -> Result<Bytes, Refusal> {
        let mut lease = None;
        if body.len() > SMALL {
            lease.insert(self.budget.lease()).grow(body.len())?;
        } else if activity.is_none() {
            return Ok(Bytes::from(body));
        }
        let sent = activity.map(|activity| activity.answer(body.len()));
        Ok(Bytes::from_owner(Counted { body, _lease: lease, _sent: sent }))
    }

    /// The way in, by a path that a platform named, or by one of ours.
    fn find<'a>(&self, method: &str, path: &'a str) -> Result<Found<'a>, (Accent, Refusal)> {
        Alias::find(&self.aliases, method, path).unwrap_or_else(|| routes::find(method, path))
    }

    /// The endpoint and the version that a request is for, if it is for one.
    fn asked(&self, found: &Found<'_>, headers: &HeaderMap) -> Result<Option<Asked>, Refusal> {
        let version = found.version.as_deref();
        match found.entry.route {
            Route::Infer | Route::Predict | Route::Invocations => {
                let endpoint = self.catalogue.endpoint(found.model.as_deref())?;
                let model = endpoint.choose(version, headers)?;
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
        headers: &HeaderMap,
        body: &mut Incoming,
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
                _ => self.predictions(worker, model, route, headers, body).await,
            };
        }
        if route == Route::Feedback {
            return self.feedback(headers, body).await;
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
                let _ = writeln!(text, "# HELP {HELD} {HELP}\n# TYPE {HELD} gauge\n{HELD} {}", self.budget.used());
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
    host.to_str().is_ok_and(is_of_this_machine)
}

fn is_of_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}
