//! Binding of `headrace_core::hash`.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use pyo3::prelude::*;

use crate::error::{data_error, raise};
use crate::frame;

/// Content hash of a frame, as 64 hexadecimal digits.
#[pyfunction]
#[pyo3(signature = (frame, *, threads = None))]
pub(crate) fn frame_digest(frame: &Bound<'_, PyAny>, threads: Option<i64>) -> PyResult<String> {
    let py = frame.py();
    let threads = count_threads(py, threads)?;
    let batches = frame::open(frame)?;
    let schema = batches.schema();
    py.detach(|| headrace_core::hash::frame_digest(&schema, batches, threads))
        .map(|digest| digest.to_string())
        .map_err(|error| raise(py, &error))
}

/// More than any machine has processors for; a system that is asked for a million threads does nothing else.
const MOST_THREADS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1023);

/// How many threads to use: as many as the process may, or at most as many as were asked for.
pub(crate) fn count_threads(py: Python<'_>, threads: Option<i64>) -> PyResult<NonZeroUsize> {
    match threads {
        None => Ok(available_parallelism().unwrap_or(NonZeroUsize::MIN)),
        Some(count) => {
            usize::try_from(count).ok().and_then(NonZeroUsize::new).map(|count| count.min(MOST_THREADS)).ok_or_else(
                || {
                    data_error(
                        py,
                        &format!("threads is {count}, expected at least 1"),
                        None,
                        Some("Leave it out to use all."),
                    )
                },
            )
        }
    }
}
