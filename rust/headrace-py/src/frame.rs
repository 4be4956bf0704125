//! Frames from Python: anything that hands itself over through the Arrow PyCapsule interface.

use arrow_array::{RecordBatch, RecordBatchIterator, RecordBatchReader};
use arrow_schema::ArrowError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3_arrow::{PyRecordBatch, PyRecordBatchReader};

use crate::error::data_error;

/// A stream of batches that may be read without the interpreter.
pub(crate) type Batches = Box<dyn RecordBatchReader + Send>;

/// Opens `frame`, or says why it cannot be read.
pub(crate) fn open(frame: &Bound<'_, PyAny>) -> PyResult<Batches> {
    let py = frame.py();
    if frame.hasattr(intern!(py, "__arrow_c_stream__"))? {
        let reader: PyRecordBatchReader = frame.extract().map_err(|cause| refuse(frame, &cause))?;
        return reader.into_reader();
    }
    if frame.hasattr(intern!(py, "__arrow_c_array__"))? {
        let batch: PyRecordBatch = frame.extract().map_err(|cause| refuse(frame, &cause))?;
        let batch: RecordBatch = batch.into_inner();
        let schema = batch.schema();
        return Ok(Box::new(RecordBatchIterator::new([Ok::<_, ArrowError>(batch)], schema)));
    }
    Err(data_error(
        py,
        &format!("expected a frame with __arrow_c_stream__ or __arrow_c_array__, found {}", type_name(frame)),
        None,
        Some("Pass a polars, pyarrow or pandas frame; collect a lazy one first."),
    ))
}

fn refuse(frame: &Bound<'_, PyAny>, cause: &PyErr) -> PyErr {
    let py = frame.py();
    let error = data_error(
        py,
        &format!("{} cannot be read as an Arrow frame: {}", type_name(frame), cause.value(py)),
        None,
        Some("Arrow has no such type (128-bit integers, for one): cast the column before it is handed over."),
    );
    error.set_cause(py, Some(cause.clone_ref(py)));
    error
}

fn type_name(object: &Bound<'_, PyAny>) -> String {
    object.get_type().fully_qualified_name().map_or_else(|_| "an object".to_owned(), |name| name.to_string())
}
