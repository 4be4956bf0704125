//! Binding of `headrace_serve`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headrace_core::plan::Plan;
use headrace_serve::StartError;
use headrace_serve::golden::Golden;
use headrace_serve::http::Bounds;
use headrace_serve::model::{Column, Package};
use headrace_serve::scheduler::Limits;
use headrace_serve::server::{Options, Server, Source};
use headrace_serve::tensor::Data;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::{raise_start, serving_error};

/// A server that answers in threads of its own.
#[pyclass(frozen, name = "Server", module = "headrace._core")]
pub(crate) struct PyServer {
    /// The process that has the server's threads; a child of `fork` has none of them.
    process: u32,
    /// `None` once it was stopped.
    server: Mutex<Option<Server>>,
    port: u16,
    host: String,
    batched: bool,
}

#[pymethods]
impl PyServer {
    #[new]
    #[pyo3(signature = (*, name, version, onnx, library, package, options))]
    fn new(
        py: Python<'_>,
        name: &str,
        version: &str,
        onnx: &[u8],
        library: &Bound<'_, PyAny>,
        package: Option<&Bound<'_, PyDict>>,
        options: &Bound<'_, PyDict>,
    ) -> PyResult<Self> {
        let options = read_options(py, options)?;
        let package = package.map(read_package).transpose()?;
        let library: PathBuf = library.extract()?;
        let started = py.detach(|| {
            let package = package.map(Parts::package).transpose()?;
            Server::start(Source { name, version, onnx, library: &library, package }, &options)
        });
        let server = started.map_err(|error| raise_start(py, &error))?;
        let (address, batched) = (server.address(), server.model().batched);
        let process = std::process::id();
        Ok(Self {
            process,
            server: Mutex::new(Some(server)),
            port: address.port(),
            host: address.ip().to_string(),
            batched,
        })
    }

    #[getter]
    fn port(&self) -> u16 {
        self.port
    }

    #[getter]
    fn host(&self) -> &str {
        &self.host
    }

    #[getter]
    fn batched(&self) -> bool {
        self.batched
    }

    /// Requests answered, rows predicted, requests refused; None once it was stopped.
    fn totals(&self) -> Option<(u64, u64, u64)> {
        self.held().as_ref().map(|server| server.model().metrics.totals())
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
            if let Some(mut server) = server {
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
    fn held(&self) -> MutexGuard<'_, Option<Server>> {
        // It is taken out whole.
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
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

fn read_package(package: &Bound<'_, PyDict>) -> PyResult<Parts> {
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
    })
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
        },
        bounds: Bounds {
            body: positive("max_body_bytes")?.get(),
            arrival: seconds(py, "body_timeout", item(options, "body_timeout")?)?,
            deadline: seconds(py, "deadline", item(options, "deadline")?)?,
        },
        request_rows: positive("max_rows")?.get(),
        connections: positive("max_connections")?,
    })
}

fn seconds(py: Python<'_>, option: &str, value: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(value)
        .ok()
        .filter(|time| *time <= Duration::from_hours(24))
        .ok_or_else(|| serving_error(py, &format!("{option} is {value} s, expected 0 to 86400"), Some(option), None))
}
