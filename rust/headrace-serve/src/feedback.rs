//! Labels that clients send back: read, checked, and handed to whoever keeps them, who says when they are kept.
//!
//! A client is told that its labels were taken once they are kept, and not before. What may wait is bounded, and what comes
//! on top is refused, so nothing is ever taken and lost.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use csv::{ReaderBuilder, StringRecord};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use crate::accents;
use crate::error::Refusal;
use crate::http::{Reply, Service};
use crate::json::{self, BareNan};
use crate::predictions::{Media, media};

/// Requests that may wait to be kept.
const WAITING: usize = 64;
/// Bytes of them.
const WAITING_BYTES: usize = 32 * 1024 * 1024;

/// A label, as a client writes it.
#[derive(Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Told {
    #[serde(alias = "request_id")]
    id: Value,
    label: Value,
    #[serde(default)]
    row: Value,
    #[serde(default)]
    time: Value,
}

/// The name of a request, a slash and the number of a row: what the store has an index of is bounded.
const LONGEST_ID: usize = crate::identity::LONGEST + 10;
/// Bytes of a label that is a text.
const LONGEST_LABEL: usize = 1024;

impl Told {
    /// Refused by its number, unless it is one. An id that is a number is its digits, as in a file.
    fn check(mut self, number: usize) -> Result<Self, Refusal> {
        let wrong = |name: &str, found: &Value, expected: &str| {
            // It is JSON, so its quotation marks are escaped already.
            let found: String = found.to_string().chars().take(60).filter(|one| !one.is_control()).collect();
            Err(Refusal::Bad(format!("label {number}, '{name}': found {found}, expected {expected}")))
        };
        if self.id.is_u64() || self.id.is_i64() {
            self.id = Value::String(self.id.to_string());
        }
        if !self.id.as_str().is_some_and(|id| (1..=LONGEST_ID).contains(&id.len()) && !id.contains('\0')) {
            return wrong("id", &self.id, "the name of a request");
        }
        match &self.label {
            Value::Array(_) | Value::Object(_) => return wrong("label", &self.label, "a text, a number or a boolean"),
            Value::String(text) if text.contains('\0') => return wrong("label", &self.label, "a text without NUL"),
            Value::String(text) if text.len() > LONGEST_LABEL => {
                return wrong("label", &self.label, "a text of at most 1024 bytes");
            }
            _ => {}
        }
        if !self.row.is_null() && self.row.as_u64().is_none_or(|row| i32::try_from(row).is_err()) {
            return wrong("row", &self.row, "the number of a row, counted from 0");
        }
        if !(self.time.is_null() || self.time.is_number() || self.time.is_string()) {
            return wrong("time", &self.time, "a time in ISO 8601, or seconds since 1970");
        }
        Ok(self)
    }
}

/// The labels of a body of JSON: one, or a list of them.
fn of_json(body: &[u8], most: usize) -> Result<Vec<Told>, Refusal> {
    let text = accents::utf8(body)?;
    let text: Cow<'_, str> = json::repaired(text, BareNan::Missing);
    let read = |json: &RawValue, number: usize| {
        // Its fields in order would be taken as well.
        if !json.get().starts_with('{') {
            return Err(Refusal::Bad(format!("label {number}: expected an object, found {}", accents::found(json))));
        }
        let label: Told = serde_json::from_str(json.get())
            .map_err(|error| Refusal::Bad(format!("label {number} cannot be read: {error}")))?;
        label.check(number)
    };
    let whole: &RawValue = accents::read(&text)?;
    match whole.get().as_bytes().first() {
        Some(b'{') => Ok(vec![read(whole, 0)?]),
        Some(b'[') => {
            let all: Vec<&RawValue> = accents::read(&text)?;
            if all.len() > most {
                return Err(many(most));
            }
            all.into_iter().enumerate().map(|(number, one)| read(one, number)).collect()
        }
        _ => Err(Refusal::Bad("expected a label, {\"id\": ..., \"label\": ...}, or an array of them".to_owned())),
    }
}

/// The labels of a table with a first line of names; other columns are not looked at.
fn of_csv(body: &[u8], most: usize) -> Result<Vec<Told>, Refusal> {
    accents::utf8(body)?;
    let wrong = |error: &csv::Error| Refusal::Bad(format!("the body cannot be read as a table: {error}"));
    let mut reader = ReaderBuilder::new().from_reader(body);
    let names = reader.headers().map_err(|error| wrong(&error))?.clone();
    let position = |wanted: &str| names.iter().position(|name| name == wanted);
    let needed = |found: Option<usize>, wanted: &str| {
        found.ok_or_else(|| {
            let found: Vec<String> = names.iter().take(10).map(|name| format!("'{}'", name.escape_debug())).collect();
            Refusal::Bad(format!("there is no column {wanted}; the table has {}", found.join(", ")))
        })
    };
    let id = needed(position("request_id").or_else(|| position("id")), "'request_id'")?;
    let label = needed(position("label"), "'label'")?;
    let (row, time) = (position("row"), position("time"));
    let (mut record, mut labels) = (StringRecord::new(), Vec::new());
    while reader.read_record(&mut record).map_err(|error| wrong(&error))? {
        if labels.len() == most {
            return Err(many(most));
        }
        let cell = |at: Option<usize>| at.and_then(|at| record.get(at)).map_or(Value::Null, cell);
        let id = Value::String(record.get(id).unwrap_or_default().to_owned());
        let read = Told { id, label: cell(Some(label)), row: cell(row), time: cell(time) };
        labels.push(read.check(labels.len())?);
    }
    Ok(labels)
}

/// A number or a boolean where it is one, and nothing where there is nothing.
fn cell(text: &str) -> Value {
    let trimmed = text.trim();
    match serde_json::from_str(trimmed) {
        Ok(number @ Value::Number(_)) => number,
        _ if text.is_empty() => Value::Null,
        _ if trimmed.eq_ignore_ascii_case("true") => Value::Bool(true),
        _ if trimmed.eq_ignore_ascii_case("false") => Value::Bool(false),
        _ => Value::String(text.to_owned()),
    }
}

fn many(most: usize) -> Refusal {
    Refusal::TooLarge(format!("there are more than {most} labels, which is the most that one request may have"))
}

/// What became of labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// They are kept: what the client is told.
    Kept(String),
    /// One is wrong, and none is kept.
    Wrong(String),
    /// They cannot be kept now, and none is.
    Unkept(String),
}

/// Labels on their way to whoever keeps them.
#[derive(Debug)]
struct Waiting {
    number: u64,
    document: String,
    tell: oneshot::Sender<Answer>,
}

#[derive(Debug, Default)]
struct Queue {
    /// Whether somebody keeps labels.
    open: bool,
    closed: bool,
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// Who was given to the keeper.
    taken: Vec<(u64, oneshot::Sender<Answer>)>,
    numbers: u64,
}

/// Where labels wait for whoever keeps them.
#[derive(Debug, Default)]
pub struct Desk {
    queue: Mutex<Queue>,
    awake: Condvar,
    /// Labels that were kept.
    pub kept: AtomicU64,
    /// Labels of requests that are not in the log.
    pub unknown: AtomicU64,
}

impl Desk {
    /// From now on somebody takes what comes.
    pub fn open(&self) {
        self.queue().open = true;
    }

    /// Whether somebody does.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.queue().open
    }

    /// Nothing more comes.
    pub fn close(&self) {
        let mut queue = self.queue();
        queue.closed = true;
        queue.waiting.clear();
        queue.taken.clear();
        drop(queue);
        self.awake.notify_all();
    }

    /// All that waits, as soon as there is something, each by a number; none once nothing more comes.
    pub fn take(&self) -> Option<Vec<(u64, String)>> {
        let mut queue = self.queue();
        while queue.waiting.is_empty() && !queue.closed {
            queue = self.awake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        if queue.closed {
            return None;
        }
        queue.bytes = 0;
        let all = std::mem::take(&mut queue.waiting);
        let mut given = Vec::with_capacity(all.len());
        for Waiting { number, document, tell } in all {
            // Who has gone away meanwhile was told nothing, and nothing is kept.
            if !tell.is_closed() {
                queue.taken.push((number, tell));
                given.push((number, document));
            }
        }
        Some(given)
    }

    /// Says what became of one.
    pub fn answer(&self, number: u64, answer: Answer) {
        let mut queue = self.queue();
        let Some(position) = queue.taken.iter().position(|(other, _)| *other == number) else { return };
        let (_, tell) = queue.taken.swap_remove(position);
        drop(queue);
        // Who asked may have given up.
        let _ = tell.send(answer);
    }

    /// Hands labels over, and waits until they are kept.
    async fn hand_over(&self, document: String, patience: Duration) -> Result<Reply, Refusal> {
        let (tell, told) = oneshot::channel();
        {
            let mut queue = self.queue();
            if queue.closed {
                return Err(Refusal::Draining);
            }
            let bytes = queue.bytes + document.len();
            // A large one is taken if nothing else waits: it would never find more room than that.
            if queue.waiting.len() >= WAITING || (bytes > WAITING_BYTES && !queue.waiting.is_empty()) {
                return Err(Refusal::Overloaded { retry_after: 1 });
            }
            queue.numbers += 1;
            queue.bytes = bytes;
            let number = queue.numbers;
            queue.waiting.push_back(Waiting { number, document, tell });
        }
        self.awake.notify_one();
        match tokio::time::timeout(patience, told).await {
            Err(_) => Err(Refusal::Expired(patience)),
            Ok(Err(_)) => Err(Refusal::Draining),
            Ok(Ok(Answer::Wrong(what))) => Err(Refusal::Bad(what)),
            Ok(Ok(Answer::Unkept(what))) => Err(Refusal::Unkept(what)),
            Ok(Ok(Answer::Kept(document))) => Ok(Reply::json(document.into_bytes())),
        }
    }

    /// In Prometheus' text format 0.0.4; nothing where nobody keeps labels.
    pub fn write(&self, out: &mut String) {
        if !self.is_open() {
            return;
        }
        let counters = [
            ("headrace_feedback_labels_total", "Labels that came in and were stored.", &self.kept),
            ("headrace_feedback_unknown_labels_total", "Those for rows that are not in the log.", &self.unknown),
        ];
        for (name, help, counter) in counters {
            let value = counter.load(Ordering::Relaxed);
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}");
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing that can panic is done while it is held.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service {
    /// Takes labels.
    pub(crate) async fn feedback(&self, headers: &HeaderMap, body: &mut Incoming) -> Result<Reply, Refusal> {
        if !self.desk.is_open() {
            let what = "this server keeps no labels: it serves files, and not the models of a project";
            return Err(Refusal::NotFound(what.to_owned()));
        }
        let found = headers.get(CONTENT_TYPE);
        let media = media(found).ok().filter(|media| matches!(media, Media::Json | Media::Csv));
        let Some(media) = media else {
            let found = found.map(|found| String::from_utf8_lossy(found.as_bytes())).unwrap_or_default();
            let found = found.escape_debug();
            let what = format!("the content type is '{found}', expected application/json or text/csv, in UTF-8");
            return Err(Refusal::MediaType(what));
        };
        let body = self.body(headers, body, self.bounds.body).await?;
        let labels = match media {
            Media::Csv => of_csv(&body.bytes, self.most_labels)?,
            _ => of_json(&body.bytes, self.most_labels)?,
        };
        let document = serde_json::to_string(&labels)
            .map_err(|error| Refusal::Bad(format!("the labels cannot be handed on: {error}")))?;
        self.desk.hand_over(document, self.bounds.deadline).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(labels: &[Told]) -> String {
        serde_json::to_string(labels).unwrap_or_default()
    }

    #[test]
    fn json_and_csv_are_the_same_labels() {
        let json = br#"[{"id":"a","label":"yes"},{"request_id":7,"label":1.5,"row":2,"time":"2024-01-31"},
            {"id":"b","label":NaN},{"id":"c","label":true,"time":12}]"#;
        let csv = b"time,request_id,label,row,more\n,a,yes,,x\n2024-01-31,7,1.5,2,\n,b,,,\n12,c,True,,\n";
        let (json, csv) = (of_json(json, 9).unwrap_or_default(), of_csv(csv, 9).unwrap_or_default());
        assert_eq!(json.len(), 4);
        assert_eq!(texts(&json), texts(&csv));
        assert_eq!(texts(&of_json(br#"{"id":"a","label":"yes"}"#, 9).unwrap_or_default()), texts(&json[..1]));
    }

    #[test]
    fn what_is_no_label_is_refused_by_its_number() {
        for (body, said) in [
            (r#"[{"id":"a","label":1},{"id":"","label":1}]"#, "label 1, 'id': found"),
            (r#"{"id":["a"],"label":1}"#, "label 0, 'id': found"),
            (r#"{"id":"a\u0000","label":1}"#, "label 0, 'id'"),
            (r#"{"id":"a","label":[1]}"#, "label 0, 'label': found [1], expected a text, a number or a boolean"),
            (r#"{"id":"a","label":1,"row":-1}"#, "label 0, 'row': found -1"),
            (r#"{"id":"a","label":1,"row":4294967296}"#, "label 0, 'row'"),
            (r#"{"id":"a","label":1,"time":true}"#, "label 0, 'time'"),
            (r#"{"id":"a"}"#, "missing field `label`"),
            (r#"{"label":1}"#, "missing field `id`"),
            (r#"{"id":"a","label":1,"tiem":2}"#, "unknown field `tiem`"),
            (r#"{"id":"a","label":1e999}"#, "number out of range"),
            ("[1]", "label 0: expected an object, found a number"),
            (r#"[["a",1]]"#, "label 0: expected an object, found an array"),
            ("3", "expected a label"),
            ("", "the body cannot be read"),
        ] {
            let refused = of_json(body.as_bytes(), 9).map(|labels| texts(&labels));
            assert!(matches!(&refused, Err(Refusal::Bad(what)) if what.contains(said)), "{body}: {refused:?}");
        }
        assert!(matches!(of_json(br#"[{"id":"a","label":1},{"id":"a","label":1}]"#, 1), Err(Refusal::TooLarge(_))));
        for (body, said) in [
            ("a,label\n1,2\n", "there is no column 'request_id'; the table has 'a', 'label'"),
            ("id\n1\n", "there is no column 'label'"),
            ("id,label\n,2\n", "label 0, 'id'"),
            ("id,label\n1,2,3\n", "the body cannot be read as a table"),
        ] {
            let refused = of_csv(body.as_bytes(), 9).map(|labels| texts(&labels));
            assert!(matches!(&refused, Err(Refusal::Bad(what)) if what.contains(said)), "{body}: {refused:?}");
        }
        assert!(matches!(of_csv(b"id,label\n1,2\n1,2\n", 1), Err(Refusal::TooLarge(_))));
    }

    #[test]
    fn what_waits_is_bounded_and_the_end_is_said() -> Result<(), Box<dyn std::error::Error>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let desk = Desk::default();
        desk.open();
        runtime.block_on(async {
            let ask = || desk.hand_over("[]".to_owned(), Duration::from_secs(9));
            let all: Vec<_> = (0..WAITING).map(|_| Box::pin(ask())).collect();
            let mut all = all.into_iter();
            let mut kept = all.next();
            let mut rest: Vec<_> = all.collect();
            // Each is asked once, so that it stands in the queue.
            for one in kept.iter_mut().chain(&mut rest) {
                assert!(tokio::time::timeout(Duration::ZERO, one).await.is_err());
            }
            assert!(matches!(ask().await, Err(Refusal::Overloaded { .. })));
            rest.truncate(1);
            let taken = desk.take().unwrap_or_default();
            assert_eq!(taken.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2]);
            desk.answer(1, Answer::Kept("{}".to_owned()));
            if let Some(kept) = kept {
                assert!(kept.await.is_ok_and(|reply| reply.body == b"{}"));
            }
            desk.close();
            for one in rest {
                assert!(matches!(one.await, Err(Refusal::Draining)));
            }
            assert!(matches!(ask().await, Err(Refusal::Draining)));
            assert!(desk.take().is_none());
        });
        Ok(())
    }
}
