//! Binding of `headrace_serve`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headrace_core::plan::Plan;
use headrace_core::profile::Profile;
use headrace_serve::StartError;
use headrace_serve::alias::Alias;
use headrace_serve::catalogue::{Endpoint, Share};
use headrace_serve::engine::choice::Wanted;
use headrace_serve::feedback::{Answer, Desk};
use headrace_serve::golden::Golden;
use headrace_serve::http::Bounds;
use headrace_serve::model::{Column, Model, Package};
use headrace_serve::routes::{CALLS, ENTRIES};
use headrace_serve::scheduler::Limits;
use headrace_serve::segments::LogOptions;
use headrace_serve::server::{Options, Server, Source};
use headrace_serve::subject::References;
use headrace_serve::tap::{Tap, WatchOptions};
use headrace_serve::tensor::Data;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::error::{raise, raise_start, serving_error};

/// A server that answers in threads of its own.
#[pyclass(frozen, name = "Server", module = "headrace._core")]
pub(crate) struct PyServer {
    /// The process that has the server's threads; a child of `fork` has none of them.
    process: u32,
    /// `None` once it was stopped.
    server: Mutex<Option<Arc<Server>>>,
    /// Its windows can be fetched after its end as well.
    tap: Option<Arc<Tap>>,
    desk: Arc<Desk>,
    instance: String,
    port: u16,
    host: String,
}

/// A version that is ready to compute, as long as somebody has it or it is offered.
#[pyclass(frozen, name = "ServedVersion", module = "headrace._core")]
pub(crate) struct PyServedVersion {
    process: u32,
    /// `None` once it is dropped.
    model: Option<Arc<Model>>,
}

#[pymethods]
impl PyServer {
    #[new]
    #[pyo3(signature = (*, library, options))]
    fn new(py: Python<'_>, library: &Bound<'_, PyAny>, options: &Bound<'_, PyDict>) -> PyResult<Self> {
        let options = read_options(py, options)?;
        let library: PathBuf = library.extract()?;
        let server = py.detach(|| Server::start(&library, &options)).map_err(|error| raise_start(py, &error))?;
        let address = server.address();
        Ok(Self {
            process: std::process::id(),
            tap: server.tap().map(Arc::clone),
            desk: Arc::clone(server.desk()),
            instance: server.instance(),
            server: Mutex::new(Some(Arc::new(server))),
            port: address.port(),
            host: address.ip().to_string(),
        })
    }

    /// Every way in, as (method, path, permission); the method of a call is gRPC.
    #[staticmethod]
    fn permissions() -> Vec<(&'static str, &'static str, &'static str)> {
        let entries = ENTRIES.iter().map(|entry| (entry.method, entry.path, entry.permission.name()));
        entries.chain(CALLS.iter().map(|(path, _, permission)| ("gRPC", *path, permission.name()))).collect()
    }

    #[getter]
    fn port(&self) -> u16 {
        self.port
    }

    #[getter]
    fn host(&self) -> &str {
        &self.host
    }

    /// Loads and checks a version; it computes, and is not offered yet.
    #[pyo3(signature = (*, name, version, onnx, package))]
    fn load(
        &self,
        py: Python<'_>,
        name: &str,
        version: &str,
        onnx: &[u8],
        package: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyServedVersion> {
        let package = package.map(|package| read_package(py, package)).transpose()?;
        let server = self.running(py)?;
        let loaded = py.detach(|| {
            let package = package.map(Parts::package).transpose()?;
            server.load(Source { name, version, onnx, package })
        });
        let model = Some(loaded.map_err(|error| raise_start(py, &error))?);
        Ok(PyServedVersion { process: self.process, model })
    }

    /// Offers versions with their weights under a name, instead of what is offered there.
    #[pyo3(signature = (*, endpoint, versions, shadows, key))]
    fn offer(
        &self,
        py: Python<'_>,
        endpoint: &str,
        versions: Vec<(Bound<'_, PyServedVersion>, u32)>,
        shadows: Vec<Bound<'_, PyServedVersion>>,
        key: &str,
    ) -> PyResult<()> {
        let share = |(version, weight): (Bound<'_, PyServedVersion>, u32)| {
            let model = version.get().model.as_ref().map(Arc::clone)?;
            Some(Share { model, weight })
        };
        let shares = versions.into_iter().filter_map(share).collect();
        let tried = |shadow: Bound<'_, PyServedVersion>| shadow.get().model.as_ref().map(Arc::clone);
        let shadows = shadows.into_iter().filter_map(tried).collect();
        let endpoint = Endpoint::new(endpoint, shares, shadows, key).map_err(|error| raise_start(py, &error))?;
        let server = self.running(py)?;
        py.detach(|| server.offer(endpoint)).map_err(|error| raise_start(py, &error))
    }

    /// A version was refused.
    fn refused(&self) {
        if let Some(server) = self.held().as_ref() {
            server.control().failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether the registry that is followed can be read.
    fn follows(&self, reachable: bool) {
        if let Some(server) = self.held().as_ref() {
            *server.control().reachable.lock().unwrap_or_else(PoisonError::into_inner) = Some(reachable);
        }
    }

    /// Lets clients in.
    fn open(&self, py: Python<'_>) -> PyResult<()> {
        self.running(py)?.open();
        Ok(())
    }

    /// Requests answered, rows predicted, requests refused; None once it was stopped.
    fn totals(&self) -> Option<(u64, u64, u64)> {
        self.held().as_ref().map(|server| server.totals())
    }

    /// What this server is called among others: a new name at each start.
    #[getter]
    fn instance(&self) -> &str {
        &self.instance
    }

    /// Live windows that are over, or with `current` all that was counted; each is given once.
    fn windows<'py>(&self, py: Python<'py>, current: bool) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let Some(tap) = self.tap.as_ref().filter(|_| self.process == std::process::id()) else { return Ok(Vec::new()) };
        let windows = py.detach(|| tap.windows(current));
        let given = windows.into_iter().map(|window| {
            let made = PyDict::new(py);
            made.set_item("model", window.model)?;
            made.set_item("version", window.version)?;
            made.set_item("start", window.start)?;
            made.set_item("seconds", window.period)?;
            made.set_item("part", window.part)?;
            made.set_item("rows", window.rows)?;
            made.set_item("inputs", PyBytes::new(py, &window.inputs))?;
            made.set_item("scores", PyBytes::new(py, &window.scores))?;
            Ok(made)
        });
        given.collect()
    }

    /// From now on labels are taken by `labels`.
    fn keep_labels(&self) {
        self.desk.open();
    }

    /// Labels that clients sent, each request with a number and as JSON, as soon as there are some; None at the end.
    fn labels(&self, py: Python<'_>) -> Option<Vec<(u64, String)>> {
        if self.process != std::process::id() {
            return None;
        }
        py.detach(|| self.desk.take())
    }

    /// They are kept, which is what the client is told.
    fn labels_kept(&self, number: u64, document: String, kept: u64, unknown: u64) {
        self.desk.kept.fetch_add(kept, Ordering::Relaxed);
        self.desk.unknown.fetch_add(unknown, Ordering::Relaxed);
        self.desk.answer(number, Answer::Kept(document));
    }

    /// They are not: the client's fault, or ours.
    fn labels_refused(&self, number: u64, reason: String, wrong: bool) {
        self.desk.answer(number, if wrong { Answer::Wrong(reason) } else { Answer::Unkept(reason) });
    }

    /// Of rows, each by the name of its request and its number, whether it waits to be written to the log.
    fn waits_for_log(&self, py: Python<'_>, rows: Vec<(String, u32)>) -> Vec<bool> {
        match self.tap.as_ref().filter(|_| self.process == std::process::id()) {
            Some(tap) => py.detach(|| tap.waits(rows)),
            None => vec![false; rows.len()],
        }
    }

    /// What went wrong with watching since it was last asked.
    fn trouble(&self) -> Option<String> {
        self.tap.as_ref().and_then(|tap| tap.trouble())
    }

    /// More to say to Prometheus, instead of what was said here before.
    fn publish(&self, text: String) {
        if let Some(tap) = &self.tap {
            tap.publish(text);
        }
    }

    /// Answers what was asked within so many seconds, and ends. A second time does nothing.
    fn stop(&self, py: Python<'_>, patience: f64) -> PyResult<()> {
        let patience = seconds(py, "patience", patience)?;
        let server = self.held().take();
        if self.process != std::process::id() {
            std::mem::forget(server);
            return Ok(());
        }
        py.detach(|| {
            if let Some(server) = server {
                server.stop(patience);
            }
        });
        Ok(())
    }
}

impl Drop for PyServer {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            // To wait for threads that are not there would take for ever.
            std::mem::forget(self.held().take());
        }
    }
}

impl PyServer {
    fn held(&self) -> MutexGuard<'_, Option<Arc<Server>>> {
        // It is taken out whole.
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self, py: Python<'_>) -> PyResult<Arc<Server>> {
        let server = self.held().as_ref().map(Arc::clone);
        server.filter(|_| self.process == std::process::id()).ok_or_else(|| raise_start(py, &StartError::Stopped))
    }
}

#[pymethods]
impl PyServedVersion {
    #[getter]
    fn engine(&self) -> &'static str {
        self.model.as_ref().map_or("", |model| model.engine)
    }

    #[getter]
    fn batched(&self) -> bool {
        self.model.as_ref().is_some_and(|model| model.batched)
    }

    /// Name, type and shape of what it takes.
    #[getter]
    fn inputs(&self) -> Vec<(String, String, Vec<i64>)> {
        let columns = self.model.as_ref().map_or(&[][..], |model| &model.inputs);
        columns.iter().map(|column| (column.name.clone(), column.datatype.clone(), column.shape.clone())).collect()
    }

    /// Whether it takes rows of raw columns, and not tensors.
    #[getter]
    fn takes_rows(&self) -> bool {
        self.model.as_ref().is_some_and(|model| model.takes_rows())
    }
}

impl Drop for PyServedVersion {
    fn drop(&mut self) {
        // In a child of `fork` nobody can be told that a version has ended.
        if self.process != std::process::id() {
            std::mem::forget(self.model.take());
        }
    }
}

/// What a package has beside its graph, as it comes from Python.
struct Parts {
    plan: String,
    inputs: Vec<(String, String)>,
    classes: Option<Data>,
    class_names: Vec<String>,
    features: Vec<f32>,
    scores: Vec<f64>,
    rows: usize,
    tolerance: f64,
    score_names: Vec<String>,
    references: Option<References>,
}

impl Parts {
    fn package(self) -> Result<Package, StartError> {
        let column = |(name, datatype)| Column { name, datatype, shape: vec![-1] };
        Ok(Package {
            plan: Plan::parse(&self.plan).map_err(StartError::Plan)?,
            inputs: self.inputs.into_iter().map(column).collect(),
            classes: self.classes,
            class_names: self.class_names,
            golden: Golden {
                features: self.features,
                scores: self.scores,
                rows: self.rows,
                tolerance: self.tolerance,
                names: self.score_names,
            },
            references: self.references,
        })
    }
}

fn item<'py, T>(dict: &Bound<'py, PyDict>, key: &str) -> PyResult<T>
where
    T: for<'a> FromPyObject<'a, 'py>,
    for<'a> <T as FromPyObject<'a, 'py>>::Error: Into<PyErr>,
{
    dict.as_any().get_item(key)?.extract().map_err(Into::into)
}

fn read_package(py: Python<'_>, package: &Bound<'_, PyDict>) -> PyResult<Parts> {
    Ok(Parts {
        plan: item(package, "plan")?,
        inputs: item(package, "inputs")?,
        classes: read_classes(package)?,
        class_names: item(package, "class_names")?,
        features: item(package, "features")?,
        scores: item(package, "scores")?,
        rows: item(package, "rows")?,
        tolerance: item(package, "tolerance")?,
        score_names: item(package, "score_names")?,
        references: read_references(py, package)?,
    })
}

fn read_references(py: Python<'_>, package: &Bound<'_, PyDict>) -> PyResult<Option<References>> {
    let profile = |bytes: Vec<u8>| Profile::from_bytes(&bytes).map_err(|error| raise(py, &error));
    let inputs: Option<Vec<u8>> = item(package, "profile")?;
    let scores: Option<Vec<u8>> = item(package, "scores_profile")?;
    let Some(inputs) = inputs else { return Ok(None) };
    Ok(Some(References {
        inputs: profile(inputs)?,
        scores: scores.map(profile).transpose()?,
        score_columns: item(package, "score_columns")?,
    }))
}

fn read_watch(py: Python<'_>, options: &Bound<'_, PyDict>) -> PyResult<Option<WatchOptions>> {
    let period: Option<f64> = item(options, "window")?;
    let folder: Option<PathBuf> = item(options, "log")?;
    if period.is_none() && folder.is_none() {
        return Ok(None);
    }
    let log = folder.map(|folder| {
        PyResult::Ok(LogOptions {
            folder,
            sample: item(options, "log_sample")?,
            segment_bytes: item(options, "log_segment_bytes")?,
            segment_time: seconds(py, "log_segment_time", item(options, "log_segment_time")?)?,
            total_bytes: item(options, "log_total_bytes")?,
        })
    });
    let period = period.map(|period| seconds(py, "window", period)).transpose()?;
    if let Some(short) = period.filter(|period| *period < Duration::from_secs(1)) {
        let found = format!("window is {} s, expected 1 to 86400", short.as_secs_f64());
        return Err(serving_error(py, &found, Some("window"), None));
    }
    Ok(Some(WatchOptions { period, log: log.transpose()? }))
}

fn read_classes(package: &Bound<'_, PyDict>) -> PyResult<Option<Data>> {
    let kind: Option<String> = item(package, "class_kind")?;
    Ok(match kind.as_deref() {
        None => None,
        Some("bool") => Some(Data::Bool(item(package, "classes")?)),
        Some("int") => Some(Data::I64(item(package, "classes")?)),
        Some("float") => Some(Data::F64(item(package, "classes")?)),
        Some(_) => Some(Data::Text(item(package, "classes")?)),
    })
}

fn read_options(py: Python<'_>, options: &Bound<'_, PyDict>) -> PyResult<Options> {
    let positive = |key: &str| -> PyResult<NonZeroUsize> {
        let found = options.as_any().get_item(key)?;
        let number = found.extract::<u32>().ok().and_then(|number| NonZeroUsize::new(usize::try_from(number).ok()?));
        number
            .ok_or_else(|| serving_error(py, &format!("{key} is {found}, expected 1 to {}", u32::MAX), Some(key), None))
    };
    Ok(Options {
        host: item(options, "host")?,
        port: item(options, "port")?,
        workers: positive("workers")?,
        limits: Limits {
            batch_rows: positive("max_batch_rows")?.get(),
            queue_rows: positive("max_queue_rows")?.get(),
            queue_bytes: positive("max_queue_bytes")?.get(),
            queue_time: seconds(py, "max_queue_time", item(options, "max_queue_time")?)?,
            delay: seconds(py, "max_batch_delay", item(options, "max_batch_delay")?)?,
        },
        bounds: Bounds {
            body: positive("max_body_bytes")?.get(),
            bulk: positive("max_bulk_bytes")?.get(),
            bulk_rows: positive("max_bulk_rows")?.get(),
            head: some_time(py, "head_timeout", item(options, "head_timeout")?)?,
            answer: some_time(py, "answer_timeout", item(options, "answer_timeout")?)?,
            arrival: some_time(py, "body_timeout", item(options, "body_timeout")?)?,
            deadline: some_time(py, "deadline", item(options, "deadline")?)?,
        },
        held_bytes: positive("max_held_bytes")?.get(),
        engine: wanted(py, &item::<String>(options, "engine")?)?,
        tokens: item(options, "tokens")?,
        aliases: read_aliases(py, options)?,
        request_rows: positive("max_rows")?.get(),
        connections: positive("max_connections")?,
        watch: read_watch(py, options)?,
    })
}

fn wanted(py: Python<'_>, engine: &str) -> PyResult<Wanted> {
    match engine {
        "auto" => Ok(Wanted::Quicker),
        "onnxruntime" => Ok(Wanted::Onnx),
        "trees" => Ok(Wanted::Trees),
        _ => {
            let found = format!("engine is '{}', expected auto, onnxruntime or trees", engine.escape_debug());
            Err(serving_error(py, &found, Some("engine"), None))
        }
    }
}

fn read_aliases(py: Python<'_>, options: &Bound<'_, PyDict>) -> PyResult<Vec<Alias>> {
    let routes: Vec<(String, String)> = item(options, "paths")?;
    let aliases = routes.iter().map(|(path, kind)| Alias::new(path, kind));
    aliases.collect::<Result<_, _>>().map_err(|error| raise_start(py, &error))
}

/// A time in which nothing can be done is none.
fn some_time(py: Python<'_>, option: &str, value: f64) -> PyResult<Duration> {
    let time = seconds(py, option, value)?;
    if time < Duration::from_millis(1) {
        let found = format!("{option} is {value} s, expected 0.001 to 86400");
        return Err(serving_error(py, &found, Some(option), None));
    }
    Ok(time)
}

fn seconds(py: Python<'_>, option: &str, value: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(value)
        .ok()
        .filter(|time| *time <= Duration::from_hours(24))
        .ok_or_else(|| serving_error(py, &format!("{option} is {value} s, expected 0 to 86400"), Some(option), None))
}
