//! Binding of `headrace_core::plan`.

use std::sync::{Mutex, PoisonError};

use arrow_array::RecordBatch;
use headrace_core::plan::{Order, Scratch, fingerprint};
use headrace_core::{Error, plan};
use numpy::{PyArray1, PyArray2, PyArrayMethods as _, npyffi::NPY_ORDER};
use pyo3::prelude::*;

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

    #[pyo3(signature = (frame, *, order = "C", threads = None))]
    fn matrix<'py>(
        &self,
        py: Python<'py>,
        frame: &Bound<'py, PyAny>,
        order: &str,
        threads: Option<i64>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let (order, layout) = match order {
            "C" => (Order::RowMajor, NPY_ORDER::NPY_CORDER),
            "F" => (Order::ColumnMajor, NPY_ORDER::NPY_FORTRANORDER),
            other => return Err(data_error(py, &format!("order is {other:?}, expected 'C' or 'F'"), None, None)),
        };
        let threads = count_threads(py, threads)?;
        let batches = frame::open_for_plan(frame)?;
        let schema = batches.schema();
        let made = py.detach(|| {
            let batches: Vec<_> = batches.collect::<Result<_, _>>().map_err(Error::Producer)?;
            let rows = batches.iter().map(RecordBatch::num_rows).sum::<usize>();
            Ok((rows, self.plan.matrix(&schema, &batches, order, threads)?))
        });
        let (rows, values) = made.map_err(|error| raise(py, &error))?;
        array::vector(py, values)?.reshape_with_order([rows, self.plan.outputs().len()], layout)
    }

    #[pyo3(signature = (frame, *, threads = None))]
    fn sparse<'py>(
        &self,
        py: Python<'py>,
        frame: &Bound<'py, PyAny>,
        threads: Option<i64>,
    ) -> PyResult<CsrArrays<'py, f32>> {
        let threads = count_threads(py, threads)?;
        let batches = frame::open_for_plan(frame)?;
        let schema = batches.schema();
        let made = py.detach(|| {
            let batches: Vec<_> = batches.collect::<Result<_, _>>().map_err(Error::Producer)?;
            self.plan.sparse(&schema, &batches, threads)
        });
        array::csr(py, made.map_err(|error| raise(py, &error))?)
    }

    fn row<'py>(&self, py: Python<'py>, json: &[u8]) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let mut scratch = self.kept().take().unwrap_or_else(|| self.plan.scratch());
        let mut out = Vec::new();
        let done = self.plan.row(json, &mut scratch, &mut out);
        *self.kept() = Some(scratch);
        done.map_err(|error| raise(py, &error))?;
        array::vector(py, out)
    }
}

impl Plan {
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
