//! gRPC: a call is a request of HTTP/2 with one message, answered with one message or a status.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http_body_util::combinators::WithTrailers;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response};
use prost::Message as _;

use crate::accents::grpc;
use crate::accents::grpc::messages::{HealthRequest, HealthResponse, InferRequest, Named, Nothing, Yes};
use crate::activity::Activity;
use crate::body::{Body as Held, Packing};
use crate::error::Refusal;
use crate::http::{Reply, Service, VERSION};
use crate::identity::{self, REQUEST_ID};
use crate::model::Model;
use crate::routes::{CALLS, Call};

const GRPC: &str = "application/grpc";
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// Whether it is compressed, and its length.
const PREFIX: usize = 5;

type Trailers = Ready<Option<Result<HeaderMap, Infallible>>>;
/// The body of an answer: plain, or with a status behind it.
pub(crate) type Body = Either<Full<Bytes>, WithTrailers<Full<Bytes>, Trailers>>;

impl Service {
    /// Answers what comes over HTTP/2: a call, or else a request as any other.
    pub(crate) async fn call(
        &self,
        worker: usize,
        mut request: Request<Incoming>,
        activity: &Activity,
    ) -> Response<Body> {
        // Where HTTP/1 has a header, HTTP/2 has a part of the address.
        if let Some(authority) = request.uri().authority().and_then(|name| HeaderValue::from_str(name.as_str()).ok()) {
            request.headers_mut().insert(HOST, authority);
        }
        let kind = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        if !kind.starts_with(GRPC.as_bytes()) {
            let Ok(response) = self.answer(worker, request, Some(activity)).await;
            return response.map(Either::Left);
        }
        let mut model = None;
        let answer = match self.called(worker, request, &mut model).await {
            Ok(reply) => reply,
            Err(refusal) => {
                let model: Option<&Arc<Model>> = model.as_ref();
                model.map_or(&self.catalogue.strangers, |model| &*model.metrics).refused(&refusal);
                return signed(refused(&refusal), model);
            }
        };
        let Ok(length) = u32::try_from(answer.body.len()) else {
            return refused(&Refusal::Failed("the answer is longer than 4 GiB".to_owned()));
        };
        let mut framed = Vec::with_capacity(PREFIX + answer.body.len());
        framed.push(0);
        framed.extend_from_slice(&length.to_be_bytes());
        framed.extend_from_slice(&answer.body);
        let framed = match self.counted(framed, Some(activity)) {
            Ok(framed) => framed,
            Err(refusal) => return refused(&refusal),
        };
        let mut trailers = HeaderMap::new();
        trailers.insert(STATUS, HeaderValue::from_static("0"));
        let body = Full::new(framed).with_trailers(ready(Some(Ok(trailers))));
        let mut response = Response::new(Either::Right(body));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(GRPC));
        if let Some(id) = answer.id.as_deref().and_then(identity::header) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        signed(response, model.as_ref())
    }

    /// The answer; `asked` becomes the version that was asked, if one was.
    async fn called(
        &self,
        worker: usize,
        request: Request<Incoming>,
        asked: &mut Option<Arc<Model>>,
    ) -> Result<Reply, Refusal> {
        let began = Instant::now();
        let path = request.uri().path();
        let (_, call, permission) = CALLS.iter().find(|(known, ..)| *known == path).ok_or(Refusal::Method("POST"))?;
        self.let_in(*permission, request.uri(), request.headers())?;
        let limit = self.deadline(request.headers())?;
        let limit = timeout(request.headers())?.map_or(limit, |asked| asked.min(limit));
        let (Parts { headers, .. }, mut body) = request.into_parts();
        let message = self.message(&headers, &mut body).await?;
        let (message, _lease) = (message.bytes, message.lease);
        let ready = !self.draining.load(Ordering::Relaxed);
        let yes = |yes: bool| Yes { yes }.encode_to_vec();
        let message = match call {
            Call::Live => grpc::read::<Nothing>(message).map(|_| yes(true))?,
            Call::Ready => grpc::read::<Nothing>(message).map(|_| yes(ready))?,
            Call::Server => grpc::read::<Nothing>(message).map(|_| grpc::server(self.version))?,
            Call::ModelReady => {
                let Named { name, version } = grpc::read(message)?;
                self.catalogue.endpoint(Some(&name))?.main(named(&version))?;
                yes(ready)
            }
            Call::Metadata => {
                let Named { name, version } = grpc::read(message)?;
                let endpoint = self.catalogue.endpoint(Some(&name))?;
                let model = endpoint.main(named(&version))?;
                grpc::metadata(&endpoint.name, endpoint.versions().map(str::to_owned).collect(), &model)
            }
            Call::Health => {
                let HealthRequest { service } = grpc::read(message)?;
                let known =
                    service.is_empty() || CALLS.iter().any(|(path, ..)| path.split('/').nth(1) == Some(&service));
                if !known {
                    let found = service.escape_debug();
                    return Err(Refusal::NotFound(format!("there is no service '{found}'")));
                }
                HealthResponse { status: if ready { 1 } else { 2 } }.encode_to_vec()
            }
            Call::Infer => {
                let request: InferRequest = grpc::read(message)?;
                let endpoint = self.catalogue.endpoint(Some(&request.model_name))?;
                let model = &*asked.insert(endpoint.choose(named(&request.model_version), &headers)?);
                let entered = self.enter(worker, &model.scheduler, limit).await;
                let answer = self.inferred(worker, model, &headers, &request, (began, limit)).await;
                return self.leave(worker, entered, answer).await;
            }
        };
        Ok(Reply::json(message))
    }

    /// The answer to a request for predictions, which has so long since it came.
    async fn inferred(
        &self,
        worker: usize,
        model: &Model,
        headers: &HeaderMap,
        request: &InferRequest,
        (began, limit): (Instant, Duration),
    ) -> Result<Reply, Refusal> {
        model.scheduler.admit(limit)?;
        let mut infer = grpc::infer(model, request)?;
        let limit = infer.timeout.map_or(limit, |timeout| timeout.min(limit));
        let Some(left) = limit.checked_sub(began.elapsed()) else { return Err(Refusal::Expired(limit)) };
        let inputs = std::mem::take(&mut infer.inputs);
        let predicted = self.predict(worker, model, inputs, left).await;
        let predicted = predicted.map_err(|refusal| refusal.within(limit))?;
        let id = identity::usable(&infer.id).unwrap_or_else(|| self.identities.of(headers));
        let reply = Reply::json(grpc::answer(model, infer, &predicted.outputs));
        Ok(self.watched(reply, model, id, predicted))
    }

    /// The only message of a call, unpacked.
    async fn message(&self, headers: &HeaderMap, body: &mut Incoming) -> Result<Held, Refusal> {
        let packing = Packing::of(headers.get("grpc-encoding"))?;
        let most = self.bounds.body;
        let mut framed = self.body(headers, body, most.saturating_add(PREFIX)).await?;
        let cut = || Refusal::Bad("the body is not one message of gRPC".to_owned());
        let (prefix, _) = framed.bytes.split_first_chunk::<PREFIX>().ok_or_else(cut)?;
        let [packed, length @ ..] = *prefix;
        if usize::try_from(u32::from_be_bytes(length)) != Ok(framed.bytes.len() - PREFIX) {
            return Err(cut());
        }
        match (packed, packing) {
            (0, _) => {
                framed.bytes = framed.bytes.slice(PREFIX..);
                Ok(framed)
            }
            (1, Some(packing)) => framed.unpacked(packing, PREFIX, most).await,
            _ => Err(Refusal::Bad("the message is compressed, and does not say how".to_owned())),
        }
    }
}

/// With the version that it is from.
fn signed(mut response: Response<Body>, model: Option<&Arc<Model>>) -> Response<Body> {
    if let Some(label) = model.and_then(|model| model.label.as_ref()) {
        response.headers_mut().insert(VERSION, label.clone());
    }
    response
}

/// An empty version is none.
fn named(version: &str) -> Option<&str> {
    Some(version).filter(|version| !version.is_empty())
}

/// What the header grpc-timeout says.
fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Refusal> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(None) };
    let wrong = || {
        let found = String::from_utf8_lossy(value.as_bytes()).escape_debug().to_string();
        Refusal::Bad(format!("grpc-timeout is '{found}', expected up to eight digits and one of H, M, S, m, u, n"))
    };
    let (digits, unit) =
        value.to_str().ok().and_then(|text| text.split_at_checked(text.len().saturating_sub(1))).ok_or_else(wrong)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let amount: u64 = digits.parse().map_err(|_| wrong())?;
    Ok(Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return Err(wrong()),
    }))
}

/// gRPC's code of a refusal.
fn code(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Bad(_) => "3",
        Refusal::Expired(_) | Refusal::Slow => "4",
        Refusal::NotFound(_) => "5",
        Refusal::Host | Refusal::Forbidden(_) => "7",
        Refusal::TooLarge(_) => "8",
        Refusal::Method(_) | Refusal::MediaType(_) => "12",
        Refusal::Failed(_) => "13",
        Refusal::Unauthenticated { .. } => "16",
        Refusal::Overloaded { .. } | Refusal::Full { .. } | Refusal::Draining | Refusal::Unkept(_) => "14",
    }
}

fn refused(refusal: &Refusal) -> Response<Body> {
    let message = match refusal {
        Refusal::Method(_) => "there is no such call".to_owned(),
        other => other.message(),
    };
    let mut escaped = String::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b' '..=b'$' | b'&'..=b'~' => escaped.push(char::from(byte)),
            _ => {
                // Writing to memory cannot fail.
                let _ = write!(escaped, "%{byte:02X}");
            }
        }
    }
    let mut response = Response::new(Either::Left(Full::default()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(GRPC));
    headers.insert(STATUS, HeaderValue::from_static(code(refusal)));
    headers.insert(MESSAGE, HeaderValue::from_str(&escaped).unwrap_or(HeaderValue::from_static("")));
    response
}
