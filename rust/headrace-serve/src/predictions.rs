//! A request for predictions: what it is written in, and what its answer is.

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use crate::accents::{self, csv, rows, v2};
use crate::body;
use crate::error::Refusal;
use crate::http::{JSON, Reply, Service};
use crate::model::Model;
use crate::routes::Route;

/// Says how long the JSON before binary tensors is.
pub const HEADER_LENGTH: &str = "inference-header-content-length";
const BINARY: &str = "application/octet-stream";
const CSV: &str = "text/csv";

/// What a body is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Media {
    Json,
    Csv,
}

impl Service {
    /// Answers a request for predictions of `model`.
    pub(crate) async fn predictions(
        &self,
        worker: usize,
        model: &Model,
        route: Route,
        request: Request<Incoming>,
    ) -> Result<Reply, Refusal> {
        let header = header_length(request.headers())?;
        let media = match route {
            Route::Invocations => media(request.headers().get(CONTENT_TYPE))?,
            _ => Media::Json,
        };
        let body = body::whole(request, self.bounds.body, self.bounds.arrival).await?;
        model.scheduler.admit(self.bounds.deadline)?;
        let inputs = match (route, media) {
            (Route::Infer, _) => return self.infer(worker, model, header, &body).await,
            (Route::Predict, _) => rows::v1(model, &accents::text(model, &body)?)?,
            (_, Media::Csv) => csv::columns(model, &body)?,
            (_, Media::Json) => rows::mlflow(model, &accents::text(model, &body)?)?,
        };
        let outputs = model.predict(worker, inputs.tensors, self.bounds.deadline).await?;
        Ok(Reply::json(rows::answer(&outputs)))
    }

    /// Protocol v2, where the JSON may end before the body does.
    async fn infer(&self, worker: usize, model: &Model, header: Option<usize>, body: &[u8]) -> Result<Reply, Refusal> {
        let mut infer = match header {
            Some(0) => v2::raw(model, body)?,
            None => v2::infer(model, &accents::text(model, body)?, &[])?,
            Some(length) => {
                let (json, tail) = body.split_at_checked(length).ok_or_else(|| {
                    let found = body.len();
                    Refusal::Bad(format!("{HEADER_LENGTH} is {length}, the body has {found} bytes"))
                })?;
                v2::infer(model, &accents::text(model, json)?, tail)?
            }
        };
        let limit = infer.timeout.map_or(self.bounds.deadline, |timeout| timeout.min(self.bounds.deadline));
        let inputs = std::mem::take(&mut infer.inputs).tensors;
        let outputs = model.predict(worker, inputs, limit).await?;
        let v2::Answer { body, header } = v2::answer(model, &infer, &outputs);
        let mut reply = Reply::json(body);
        if let Some(length) = header {
            reply.content_type = BINARY;
            reply.header = Some((HEADER_LENGTH, HeaderValue::from(length)));
        }
        Ok(reply)
    }
}

fn header_length(headers: &HeaderMap) -> Result<Option<usize>, Refusal> {
    let Some(value) = headers.get(HEADER_LENGTH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    // `parse` alone would take a sign.
    let length = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    length.map(Some).ok_or_else(|| {
        let found = String::from_utf8_lossy(value.as_bytes()).escape_debug().to_string();
        Refusal::Bad(format!("{HEADER_LENGTH} is '{found}', expected the number of bytes of the JSON"))
    })
}

/// `MLflow`'s rule: the type must say what the body is, and in UTF-8.
fn media(content_type: Option<&HeaderValue>) -> Result<Media, Refusal> {
    let found = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = found.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    let utf8 = parts.all(|parameter| {
        parameter.split_once('=').is_some_and(|(key, value)| {
            key.trim().eq_ignore_ascii_case("charset") && value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        })
    });
    if utf8 {
        for (name, media) in [(JSON, Media::Json), (CSV, Media::Csv)] {
            if kind.eq_ignore_ascii_case(name) {
                return Ok(media);
            }
        }
    }
    let found = found.escape_debug();
    Err(Refusal::MediaType(format!("the content type is '{found}', expected {JSON} or {CSV}, in UTF-8")))
}
