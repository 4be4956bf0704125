//! Binding of `headrace_core::plan`.

use std::sync::{Mutex, PoisonError};

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use headrace_core::plan::{Order, Scratch, fingerprint};
use headrace_core::{Error, plan};
use numpy::{PyArray1, PyArray2, PyArrayMethods as _, npyffi::NPY_ORDER};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::array::{self, CsrArrays};
use crate::error::{data_error, raise};
use crate::frame;
use crate::hash::count_threads;

/// A feature plan, checked and ready to be executed.
#[pyclass(frozen, module = "headrace._core")]
pub(crate) struct Plan {
    plan: plan::Plan,
    /// What `row` works with, unless another thread has it.
    scratch: Mutex<Option<Scratch>>,
}

#[pymethods]
impl Plan {
    #[new]
    fn new(py: Python<'_>, document_json: &str) -> PyResult<Self> {
        let plan = py.detach(|| plan::Plan::parse(document_json)).map_err(|error| raise(py, &error))?;
        Ok(Self { plan, scratch: Mutex::new(None) })
    }

    #[getter]
    fn outputs(&self) -> Vec<String> {
        self.plan.outputs().to_vec()
    }

    #[getter]
    fn fingerprint(&self) -> &str {
        self.plan.fingerprint()
    }

    /// `DataError` for the first of these names that the plan neither reads nor saw in training.
    fn check_columns(&self, names: &Bound<'_, PyList>) -> PyResult<()> {
        let owned: Vec<String> = names.extract()?;
        let views: Vec<&str> = owned.iter().map(String::as_str).collect();
        self.plan.check_columns(&views).map_err(|error| raise(names.py(), &error))
    }

    #[pyo3(signature = (frame, *, order = "C", threads = None, strict = false))]
    fn matrix<'py>(
        &self,
        py: Python<'py>,
        frame: &Bound<'py, PyAny>,
        order: &str,
        threads: Option<i64>,
        strict: bool,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let (order, layout) = match order {
            "C" => (Order::RowMajor, NPY_ORDER::NPY_CORDER),
            "F" => (Order::ColumnMajor, NPY_ORDER::NPY_FORTRANORDER),
            other => return Err(data_error(py, &format!("order is {other:?}, expected 'C' or 'F'"), None, None)),
        };
        let threads = count_threads(py, threads)?;
        let batches = frame::open_for_plan(frame)?;
        let schema = batches.schema();
        if strict {
            self.known(&schema).map_err(|error| raise(py, &error))?;
        }
        let made = py.detach(|| {
            let batches: Vec<_> = batches.collect::<Result<_, _>>().map_err(Error::Producer)?;
            let rows = batches.iter().map(RecordBatch::num_rows).sum::<usize>();
            Ok((rows, self.plan.matrix(&schema, &batches, order, threads)?))
        });
        let (rows, values) = made.map_err(|error| raise(py, &error))?;
        array::vector(py, values)?.reshape_with_order([rows, self.plan.outputs().len()], layout)
    }

    #[pyo3(signature = (frame, *, threads = None, strict = false))]
    fn sparse<'py>(
        &self,
        py: Python<'py>,
        frame: &Bound<'py, PyAny>,
        threads: Option<i64>,
        strict: bool,
    ) -> PyResult<CsrArrays<'py, f32>> {
        let threads = count_threads(py, threads)?;
        let batches = frame::open_for_plan(frame)?;
        let schema = batches.schema();
        if strict {
            self.known(&schema).map_err(|error| raise(py, &error))?;
        }
        let made = py.detach(|| {
            let batches: Vec<_> = batches.collect::<Result<_, _>>().map_err(Error::Producer)?;
            self.plan.sparse(&schema, &batches, threads)
        });
        array::csr(py, made.map_err(|error| raise(py, &error))?)
    }

    #[pyo3(signature = (json, *, strict = false))]
    fn row<'py>(&self, py: Python<'py>, json: &[u8], strict: bool) -> PyResult<Bound<'py, PyArray1<f32>>> {
        if strict {
            self.plan.check_keys(json).map_err(|error| raise(py, &error))?;
        }
        let mut scratch = self.kept().take().unwrap_or_else(|| self.plan.scratch());
        let mut out = Vec::new();
        let done = self.plan.row(json, &mut scratch, &mut out);
        *self.kept() = Some(scratch);
        done.map_err(|error| raise(py, &error))?;
        array::vector(py, out)
    }
}

impl Plan {
    fn known(&self, schema: &Schema) -> Result<(), Error> {
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        self.plan.check_columns(&names)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<Scratch>> {
        // There is nothing half done in it: it is taken out and put back whole.
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The fingerprint of a plan's document.
#[pyfunction]
pub(crate) fn plan_fingerprint(py: Python<'_>, document_json: &str) -> PyResult<String> {
    fingerprint(document_json).map_err(|error| raise(py, &error))
}
