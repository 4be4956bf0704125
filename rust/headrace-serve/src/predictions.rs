//! A request for predictions: what it is written in, and what its answer is.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};

use crate::accents::arrow::{self, Table};
use crate::accents::{self, csv, rows, v2};
use crate::body::Body;
use crate::bulk;
use crate::error::Refusal;
use crate::http::{JSON, Reply, Service};
use crate::identity;
use crate::model::Model;
use crate::routes::Route;
use crate::watched::Predicted;

/// Says how long the JSON before binary tensors is.
pub const HEADER_LENGTH: &str = "inference-header-content-length";
const BINARY: &str = "application/octet-stream";
const CSV: &str = "text/csv";

/// What a body is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    Json,
    Csv,
    Arrow,
}

impl Service {
    /// Answers a request for predictions of `model`.
    pub(crate) async fn predictions(
        &self,
        worker: usize,
        model: &Arc<Model>,
        route: Route,
        headers: &HeaderMap,
        body: &mut Incoming,
    ) -> Result<Reply, Refusal> {
        let limit = self.deadline(headers)?;
        let entered = self.enter(worker, &model.scheduler, limit).await;
        let answer = self.predicted(worker, model, route, headers, body, entered.left).await;
        let late = Refusal::Expired(entered.left);
        self.leave(worker, entered, answer)
            .await
            .map_err(|refusal| if refusal == late { late.within(limit) } else { refusal })
    }

    async fn predicted(
        &self,
        worker: usize,
        model: &Arc<Model>,
        route: Route,
        headers: &HeaderMap,
        body: &mut Incoming,
        limit: Duration,
    ) -> Result<Reply, Refusal> {
        let header = header_length(headers)?;
        let id = self.identities.of(headers);
        let media = match route {
            Route::Invocations => media(headers.get(CONTENT_TYPE))?,
            Route::Infer if is_arrow(headers) => Media::Arrow,
            Route::Predict if is_arrow(headers) => {
                let what =
                    format!("this route takes {JSON}; send an Arrow stream to /invocations, or to protocol v2's infer");
                return Err(Refusal::MediaType(what));
            }
            _ => Media::Json,
        };
        if media == Media::Arrow {
            return self.table(worker, model, id, headers, body, limit).await;
        }
        let held = self.body(headers, body, self.bounds.body).await?;
        let body = &held.bytes;
        model.scheduler.admit(limit)?;
        let inputs = match (route, media) {
            (Route::Infer, _) => return self.infer(worker, model, id, header, body, limit).await,
            (Route::Predict, _) => rows::v1(model, &accents::text(model, body)?)?,
            (_, Media::Csv) => csv::columns(model, body)?,
            (_, Media::Json | Media::Arrow) => rows::mlflow(model, &accents::text(model, body)?)?,
        };
        let predicted = self.predict(worker, model, inputs, limit).await?;
        Ok(self.watched(Reply::json(rows::answer(&predicted.outputs)), model, id, predicted))
    }

    /// A table of many rows, answered as one, or as JSON where only that is wanted.
    async fn table(
        &self,
        worker: usize,
        model: &Arc<Model>,
        id: Arc<str>,
        headers: &HeaderMap,
        body: &mut Incoming,
        limit: Duration,
    ) -> Result<Reply, Refusal> {
        let json = accepts_json_only(headers);
        let bounds = self.bounds;
        // Counted until the answer is there; the table's columns lie in its bytes.
        let Body { bytes, lease: _lease } = self.body(headers, body, bounds.bulk).await?;
        model.scheduler.admit(limit)?;
        let rows = if model.batched { bounds.bulk_rows } else { model.request_rows.min(bounds.bulk_rows) };
        // What a wrong stream does to its reader ends there.
        let table = tokio::task::spawn_blocking(move || Table::read(bytes, rows)).await;
        let table = table.map_err(|_| Refusal::Bad("the body cannot be read as an Arrow IPC stream".to_owned()))??;
        // Batches are shared, not copied.
        let kept = if model.is_watched() { table.batches.clone() } else { Vec::new() };
        let outputs = bulk::predict(model, worker, table, bounds.bulk, limit, &self.shadows).await?;
        let reply = if json {
            Reply::json(rows::answer(&outputs))
        } else {
            Reply { content_type: arrow::STREAM, ..Reply::json(arrow::answer(model, &outputs)?) }
        };
        Ok(self.watched(reply, model, id, Predicted { outputs, raw: None, table: kept, tensors: Vec::new() }))
    }

    /// Protocol v2, where the JSON may end before the body does.
    async fn infer(
        &self,
        worker: usize,
        model: &Model,
        id: Arc<str>,
        header: Option<usize>,
        body: &[u8],
        limit: Duration,
    ) -> Result<Reply, Refusal> {
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
        let limit = infer.timeout.map_or(limit, |timeout| timeout.min(limit));
        let inputs = std::mem::take(&mut infer.inputs);
        let predicted = self.predict(worker, model, inputs, limit).await.map_err(|refusal| refusal.within(limit))?;
        let id = infer.id.as_deref().and_then(identity::usable).unwrap_or(id);
        let v2::Answer { body, header } = v2::answer(model, &infer, &predicted.outputs);
        let mut reply = Reply::json(body);
        if let Some(length) = header {
            reply.content_type = BINARY;
            reply.header = Some((HEADER_LENGTH, HeaderValue::from(length)));
        }
        Ok(self.watched(reply, model, id, predicted))
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

fn is_arrow(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().eq_ignore_ascii_case(arrow::STREAM.as_bytes()))
}

/// Whether an Accept header names JSON, and not Arrow.
fn accepts_json_only(headers: &HeaderMap) -> bool {
    let mut names = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let (json, stream) = names.by_ref().fold((false, false), |(json, stream), value| {
        (json || value.contains(JSON), stream || value.contains(arrow::STREAM))
    });
    json && !stream
}

/// `MLflow`'s rule: the type must say what the body is, and in UTF-8.
pub(crate) fn media(content_type: Option<&HeaderValue>) -> Result<Media, Refusal> {
    let found = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = found.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    let utf8 = parts.all(|parameter| {
        parameter.split_once('=').is_some_and(|(key, value)| {
            key.trim().eq_ignore_ascii_case("charset") && value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        })
    });
    if utf8 {
        for (name, media) in [(JSON, Media::Json), (CSV, Media::Csv), (arrow::STREAM, Media::Arrow)] {
            if kind.eq_ignore_ascii_case(name) {
                return Ok(media);
            }
        }
    }
    let found = found.escape_debug();
    let stream = arrow::STREAM;
    Err(Refusal::MediaType(format!("the content type is '{found}', expected {JSON}, {CSV} (in UTF-8) or {stream}")))
}
