//! Binding of `headrace_core::profile`.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use arrow_array::RecordBatch;
use headrace_core::Error;
use headrace_core::error::column_place;
use headrace_core::profile::{self as core, Bin, Family, Options, Survey, Threads};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::error::{data_error, raise};
use crate::frame::{self, Batches};
use crate::hash::count_threads;

/// A reference.
#[pyclass(frozen, module = "headrace._core")]
#[derive(Debug)]
pub(crate) struct Profile {
    pub(crate) profile: core::Profile,
}

/// Counts on a reference's bins.
#[pyclass(frozen, module = "headrace._core")]
#[derive(Debug)]
pub(crate) struct Window {
    /// Held only while counts are read or replaced, never while a frame is read: that may need the interpreter.
    window: Mutex<core::Window>,
}

#[pymethods]
impl Profile {
    #[staticmethod]
    #[pyo3(signature = (source, *, columns, families, weight, segments, pairs, threads))]
    #[allow(clippy::too_many_arguments, reason = "an argument an option")]
    fn fit(
        source: &Bound<'_, PyAny>,
        columns: Option<Vec<String>>,
        families: HashMap<String, String>,
        weight: Option<String>,
        segments: Option<String>,
        pairs: Vec<(String, String)>,
        threads: Option<i64>,
    ) -> PyResult<Self> {
        let py = source.py();
        let mut threads = Threads::new(count_threads(py, threads)?);
        let families = families.into_iter().map(|(column, name)| {
            let family = Family::from_name(&name).filter(|family| *family != Family::Null);
            family.map(|family| (column.clone(), family)).ok_or_else(|| {
                let hint = "It is one of number, boolean, category, text, date, datetime, time, duration, embedding.";
                data_error(py, &format!("there is no kind {name:?}"), Some(&column_place(&column)), Some(hint))
            })
        });
        let mut families = families.collect::<PyResult<Vec<_>>>()?;
        families.sort_by(|(a, _), (b, _)| a.cmp(b));
        let options = Options { columns, families, weight, segments, pairs };
        let profile = if is_frame(source)? {
            let batches = frame::open(source)?;
            py.detach(|| fit_kept(batches, options, &mut threads))
        } else if source.is_callable() {
            let first = frame::open(&source.call0()?)?;
            let survey = py.detach(|| survey(first, options, &mut threads)).map_err(|error| raise(py, &error))?;
            let second = frame::open(&source.call0()?)?;
            py.detach(|| recount(survey, second, &mut threads))
        } else {
            return Err(frame::open(source).err().unwrap_or_else(|| data_error(py, "no frame", None, None)));
        };
        Ok(Self { profile: profile.map_err(|error| raise(py, &error))? })
    }

    #[staticmethod]
    fn from_bytes(py: Python<'_>, data: &[u8]) -> PyResult<Self> {
        let profile = core::Profile::from_bytes(data).map_err(|error| raise(py, &error))?;
        Ok(Self { profile })
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.profile.to_bytes())
    }

    fn window(&self) -> Window {
        Window::new(self.profile.window())
    }

    fn as_window(&self) -> Window {
        Window::new(self.profile.as_window())
    }

    #[getter]
    fn rows(&self) -> u64 {
        self.profile.rows()
    }

    #[getter]
    fn fingerprint(&self) -> String {
        self.profile.fingerprint().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

    #[getter]
    fn weight(&self) -> Option<&str> {
        self.profile.weight()
    }

    #[getter]
    fn segments(&self) -> Option<(&str, Vec<String>)> {
        self.profile.segments()
    }

    /// (name, family, different values, probability that an unseen text passes for a seen one) of each column.
    fn columns(&self) -> Vec<(String, &'static str, f64, f64)> {
        let columns = self.profile.columns().into_iter();
        columns.map(|column| (column.name, column.family.name(), column.distinct, column.false_rate)).collect()
    }

    /// What the statistics read: a dictionary a column, for all rows or for one segment.
    #[pyo3(signature = (window, segment = None))]
    fn binned<'py>(
        &self,
        py: Python<'py>,
        window: &Window,
        segment: Option<usize>,
    ) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let live = window.window().clone();
        let columns = match segment {
            None => self.profile.binned(&live),
            Some(number) => self
                .profile
                .binned_segments(&live)
                .map(|segments| segments.into_iter().nth(number).map(|(_, columns)| columns).unwrap_or_default()),
        };
        columns.map_err(|error| raise(py, &error))?.iter().map(|column| dictionary(py, column)).collect()
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.profile == other.profile
    }
}

fn is_frame(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = object.py();
    Ok(object.hasattr(intern!(py, "__arrow_c_stream__"))? || object.hasattr(intern!(py, "__arrow_c_array__"))?)
}

/// The frame's batches are kept from the first reading for the second; the frame keeps them anyway.
fn fit_kept(batches: Batches, options: Options, threads: &mut Threads) -> Result<core::Profile, Error> {
    let mut survey = Survey::new(batches.schema(), options)?;
    let mut kept: Vec<RecordBatch> = Vec::new();
    for batch in batches {
        let batch = batch.map_err(Error::Producer)?;
        survey.observe(&batch, threads)?;
        kept.push(batch);
    }
    let mut recount = survey.freeze(threads)?;
    for batch in &kept {
        recount.observe(batch, threads)?;
    }
    recount.finish()
}

fn survey(batches: Batches, options: Options, threads: &mut Threads) -> Result<Survey, Error> {
    let mut survey = Survey::new(batches.schema(), options)?;
    for batch in batches {
        survey.observe(&batch.map_err(Error::Producer)?, threads)?;
    }
    Ok(survey)
}

fn recount(survey: Survey, batches: Batches, threads: &mut Threads) -> Result<core::Profile, Error> {
    let mut recount = survey.freeze(threads)?;
    for batch in batches {
        recount.observe(&batch.map_err(Error::Producer)?, threads)?;
    }
    recount.finish()
}

fn dictionary<'py>(py: Python<'py>, column: &core::BinnedColumn) -> PyResult<Bound<'py, PyDict>> {
    let bins = column.bins.iter().map(|bin| match bin {
        Bin::Below(value) => ("below", None, Some(*value), None),
        Bin::Atom(value) => ("atom", Some(*value), Some(*value), None),
        Bin::Interval { low, high } => ("interval", Some(*low), Some(*high), None),
        Bin::Above(value) => ("above", Some(*value), None, None),
        Bin::Category(name) => ("category", None, None, Some(name.as_str())),
        Bin::Other => ("other", None, None, None),
        Bin::Unseen => ("unseen", None, None, None),
    });
    let moments = |moments: &core::Moments| (moments.n, moments.mean, moments.m2, moments.min, moments.max);
    let made = PyDict::new(py);
    made.set_item("name", &column.name)?;
    made.set_item("ordered", column.kind == core::Kind::Ordered)?;
    made.set_item("bins", bins.collect::<Vec<_>>())?;
    made.set_item("reference", &column.reference)?;
    made.set_item("live", &column.live)?;
    let special = column.special;
    let special = [("null", special.null), ("nan", special.nan), ("inf", special.pos_inf), ("-inf", special.neg_inf)];
    made.set_item("special", HashMap::from(special))?;
    made.set_item("moments", (moments(&column.moments.0), moments(&column.moments.1)))?;
    made.set_item("unit", column.weighted.map_or(1.0, |weighted| weighted.unit))?;
    made.set_item("effective", column.weighted.map(|weighted| weighted.effective))?;
    Ok(made)
}

impl Window {
    fn new(window: core::Window) -> Self {
        Self { window: Mutex::new(window) }
    }

    pub(crate) fn window(&self) -> MutexGuard<'_, core::Window> {
        // What is behind the lock is replaced as a whole, so a thread that stopped has left nothing half done.
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Window {
    #[staticmethod]
    fn from_bytes(py: Python<'_>, data: &[u8], reference: &Profile) -> PyResult<Self> {
        core::Window::from_bytes(data, &reference.profile).map(Self::new).map_err(|error| raise(py, &error))
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.window().to_bytes())
    }

    #[getter]
    fn rows(&self) -> u64 {
        self.window().rows()
    }

    /// All of the frame is counted, or nothing.
    #[pyo3(signature = (frame, *, ignore_new, threads))]
    fn update(&self, frame: &Bound<'_, PyAny>, ignore_new: bool, threads: Option<i64>) -> PyResult<()> {
        let py = frame.py();
        let mut threads = Threads::new(count_threads(py, threads)?);
        let batches = frame::open(frame)?;
        py.detach(|| {
            let mut counted = self.window().emptied();
            let reader = counted.reader(&batches.schema(), ignore_new)?;
            for batch in batches {
                counted.update(&batch.map_err(Error::Producer)?, &reader, &mut threads)?;
            }
            self.window().absorb(&counted)
        })
        .map_err(|error| raise(py, &error))
    }

    fn __add__(&self, py: Python<'_>, other: &Self) -> PyResult<Self> {
        self.with(py, other, core::Window::plus)
    }

    fn __sub__(&self, py: Python<'_>, other: &Self) -> PyResult<Self> {
        self.with(py, other, core::Window::minus)
    }

    fn __eq__(&self, other: &Self) -> bool {
        let other = other.window().clone();
        *self.window() == other
    }
}

impl Window {
    fn with(
        &self,
        py: Python<'_>,
        other: &Self,
        join: impl Fn(&core::Window, &core::Window) -> headrace_core::Result<core::Window>,
    ) -> PyResult<Self> {
        // One lock at a time: `a + a` has only one.
        let other = other.window().clone();
        let joined = join(&self.window(), &other);
        joined.map(Self::new).map_err(|error| raise(py, &error))
    }
}
