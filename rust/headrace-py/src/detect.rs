//! Binding of `headrace_core::detect`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use headrace_core::detect::{
    AdwinOptions, CusumOptions, DdmOptions, Detector as Core, Direction, KswinOptions, Missing, Options,
    PageHinkleyOptions, Semantics, Values,
};
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::array::vector;
use crate::error::raise;
use crate::frame;

/// A change detector.
#[pyclass(frozen, module = "headrace._core")]
#[derive(Debug)]
pub(crate) struct Detector {
    core: Mutex<Core>,
}

type Found<'py> = Bound<'py, PyArray1<i64>>;

impl Detector {
    fn make(py: Python<'_>, options: headrace_core::Result<Options>) -> PyResult<Self> {
        let core = options.and_then(Core::new).map_err(|error| raise(py, &error))?;
        Ok(Self { core: Mutex::new(core) })
    }

    /// Waits for other threads without the interpreter, which they may need.
    fn feed<'py>(&self, py: Python<'py>, parts: &[Values<'_>], skip: bool) -> PyResult<Found<'py>> {
        let missing = if skip { Missing::Skip } else { Missing::Refuse };
        let found = py.detach(|| self.lock().update(parts, missing)).map_err(|error| raise(py, &error))?;
        vector(py, found)
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look<T: Send>(&self, py: Python<'_>, at: impl FnOnce(&Core) -> T + Send) -> T {
        py.detach(|| at(&self.lock()))
    }
}

#[pymethods]
#[allow(clippy::too_many_arguments, reason = "an argument an option")]
impl Detector {
    #[staticmethod]
    #[pyo3(signature = (semantics, delta, clock, max_buckets, min_window, grace_period))]
    fn adwin(
        py: Python<'_>,
        semantics: &str,
        delta: f64,
        clock: Option<u64>,
        max_buckets: u64,
        min_window: Option<u64>,
        grace_period: Option<u64>,
    ) -> PyResult<Self> {
        let options = Semantics::parse(semantics).map(|semantics| {
            let default = AdwinOptions::of(semantics);
            Options::Adwin(AdwinOptions {
                delta,
                clock: clock.unwrap_or(default.clock),
                max_buckets,
                min_window: min_window.unwrap_or(default.min_window),
                grace_period: grace_period.unwrap_or(default.grace_period),
                ..default
            })
        });
        Self::make(py, options)
    }

    #[staticmethod]
    #[pyo3(signature = (semantics, delta, threshold, forgetting, min_instances, direction))]
    fn page_hinkley(
        py: Python<'_>,
        semantics: &str,
        delta: f64,
        threshold: f64,
        forgetting: Option<f64>,
        min_instances: Option<u64>,
        direction: &str,
    ) -> PyResult<Self> {
        let options = Semantics::parse(semantics).and_then(|semantics| {
            let default = PageHinkleyOptions::of(semantics);
            Ok(Options::PageHinkley(PageHinkleyOptions {
                delta,
                threshold,
                forgetting: forgetting.unwrap_or(default.forgetting),
                min_instances: min_instances.unwrap_or(default.min_instances),
                direction: Direction::parse(direction)?,
                ..default
            }))
        });
        Self::make(py, options)
    }

    #[staticmethod]
    #[pyo3(signature = (target, scale, slack, threshold, warm_up, direction))]
    fn cusum(
        py: Python<'_>,
        target: Option<f64>,
        scale: Option<f64>,
        slack: f64,
        threshold: f64,
        warm_up: u64,
        direction: &str,
    ) -> PyResult<Self> {
        let options = Direction::parse(direction)
            .map(|direction| Options::Cusum(CusumOptions { target, scale, slack, threshold, warm_up, direction }));
        Self::make(py, options)
    }

    #[staticmethod]
    #[pyo3(signature = (semantics, warm_up, warning_threshold, drift_threshold))]
    fn ddm(
        py: Python<'_>,
        semantics: &str,
        warm_up: u64,
        warning_threshold: f64,
        drift_threshold: f64,
    ) -> PyResult<Self> {
        let options = Semantics::parse(semantics)
            .map(|semantics| Options::Ddm(DdmOptions { semantics, warm_up, warning_threshold, drift_threshold }));
        Self::make(py, options)
    }

    #[staticmethod]
    #[pyo3(signature = (semantics, alpha, window_size, stat_size, seed))]
    fn kswin(
        py: Python<'_>,
        semantics: &str,
        alpha: f64,
        window_size: u64,
        stat_size: u64,
        seed: u64,
    ) -> PyResult<Self> {
        let options = Semantics::parse(semantics)
            .map(|semantics| Options::Kswin(KswinOptions { semantics, alpha, window_size, stat_size, seed }));
        Self::make(py, options)
    }

    #[staticmethod]
    fn from_bytes(py: Python<'_>, data: &[u8]) -> PyResult<Self> {
        let core = Core::from_bytes(data).map_err(|error| raise(py, &error))?;
        Ok(Self { core: Mutex::new(core) })
    }

    /// Another at the start of a stream, with the same options.
    fn fresh(&self, py: Python<'_>) -> PyResult<Self> {
        Self::make(py, Ok(self.look(py, Core::options)))
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.look(py, Core::to_bytes))
    }

    /// One value.
    fn update_one<'py>(&self, py: Python<'py>, value: f64, skip: bool) -> PyResult<Found<'py>> {
        self.feed(py, &[Values::from([value].as_slice())], skip)
    }

    /// A contiguous, aligned numpy array of one dimension, or an Arrow column.
    fn update<'py>(&self, values: &Bound<'py, PyAny>, skip: bool) -> PyResult<Found<'py>> {
        let py = values.py();
        macro_rules! numpy {
            ($($native:ty)*) => {$(
                if let Ok(array) = values.extract::<PyReadonlyArray1<'_, $native>>() {
                    return self.feed(py, &[Values::from(array.as_slice()?)], skip);
                }
            )*};
        }
        numpy!(f64 f32 i64 i32 bool i16 i8 u64 u32 u16 u8);
        let mut parts = Vec::new();
        for batch in frame::open_column(values)? {
            let batch = batch.map_err(|error| raise(py, &headrace_core::Error::Producer(error)))?;
            let [column] = batch.columns() else {
                let found = format!("{} columns", batch.num_columns());
                let error = headrace_core::Error::SchemaMismatch { found, expected: "one column".to_owned() };
                return Err(raise(py, &error));
            };
            parts.push(Values::of(column).map_err(|error| raise(py, &error))?);
        }
        self.feed(py, &parts, skip)
    }

    #[getter]
    fn seen(&self, py: Python<'_>) -> u64 {
        self.look(py, Core::seen)
    }

    #[getter]
    fn found(&self, py: Python<'_>) -> u64 {
        self.look(py, Core::found)
    }

    #[getter]
    fn last<'py>(&self, py: Python<'py>) -> PyResult<Found<'py>> {
        vector(py, self.look(py, Core::last))
    }

    #[getter]
    fn estimation(&self, py: Python<'_>) -> f64 {
        self.look(py, Core::estimation)
    }

    #[getter]
    fn width(&self, py: Python<'_>) -> f64 {
        self.look(py, Core::width)
    }

    /// Variance and buckets of ADWIN's window.
    #[getter]
    fn window(&self, py: Python<'_>) -> Option<(f64, usize)> {
        self.look(py, Core::window)
    }

    /// Values that DDM's warning lasts.
    #[getter]
    fn warning(&self, py: Python<'_>) -> Option<u64> {
        self.look(py, Core::warning)
    }

    /// The method's name, and its options by name.
    fn options<'py>(&self, py: Python<'py>) -> PyResult<(&'static str, Bound<'py, PyDict>)> {
        let named = PyDict::new(py);
        let method = match self.look(py, Core::options) {
            Options::Adwin(options) => {
                named.set_item("semantics", options.semantics.name())?;
                named.set_item("delta", options.delta)?;
                named.set_item("clock", options.clock)?;
                named.set_item("max_buckets", options.max_buckets)?;
                named.set_item("min_window", options.min_window)?;
                named.set_item("grace_period", options.grace_period)?;
                "ADWIN"
            }
            Options::PageHinkley(options) => {
                named.set_item("semantics", options.semantics.name())?;
                named.set_item("delta", options.delta)?;
                named.set_item("threshold", options.threshold)?;
                named.set_item("forgetting", options.forgetting)?;
                named.set_item("min_instances", options.min_instances)?;
                named.set_item("direction", options.direction.name())?;
                "PageHinkley"
            }
            Options::Cusum(options) => {
                named.set_item("target", options.target)?;
                named.set_item("scale", options.scale)?;
                named.set_item("slack", options.slack)?;
                named.set_item("threshold", options.threshold)?;
                named.set_item("warm_up", options.warm_up)?;
                named.set_item("direction", options.direction.name())?;
                "CUSUM"
            }
            Options::Ddm(options) => {
                named.set_item("semantics", options.semantics.name())?;
                named.set_item("warm_up", options.warm_up)?;
                named.set_item("warning_threshold", options.warning_threshold)?;
                named.set_item("drift_threshold", options.drift_threshold)?;
                "DDM"
            }
            Options::Kswin(options) => {
                named.set_item("semantics", options.semantics.name())?;
                named.set_item("alpha", options.alpha)?;
                named.set_item("window_size", options.window_size)?;
                named.set_item("stat_size", options.stat_size)?;
                named.set_item("seed", options.seed)?;
                "KSWIN"
            }
        };
        Ok((method, named))
    }
}
