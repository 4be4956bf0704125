//! Errors of the Rust crates as exceptions of `headrace.errors`, in this one place.
//!
//! The Python class is looked up when an error is made, not when the module is loaded: `headrace.errors` stays the only
//! page that declares exceptions, and no function of `headrace.compute` needs a `try` of its own.

use headrace_core::Error;
use headrace_serve::StartError;
use pyo3::PyTypeInfo;
use pyo3::prelude::*;
use pyo3::types::PyDict;

pyo3::import_exception!(headrace.errors, DataError);
pyo3::import_exception!(headrace.errors, DataTypeError);
pyo3::import_exception!(headrace.errors, ModelFormatError);
pyo3::import_exception!(headrace.errors, ServingError);

/// `error` with its place and its hint: a `ModelFormatError` where a feature plan or the bytes of a profile are at fault, else a
/// `DataError`.
pub(crate) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    if error.is_of_plan() || error.is_of_profile_bytes() {
        make::<ModelFormatError>(py, &error.to_string(), error.place().as_deref(), error.hint())
    } else {
        data_error(py, &error.to_string(), error.place().as_deref(), error.hint())
    }
}

/// `error` with its place and its hint: a `ModelFormatError` where the model is at fault, else a `ServingError`.
pub(crate) fn raise_start(py: Python<'_>, error: &StartError) -> PyErr {
    if error.is_of_model() {
        make::<ModelFormatError>(py, &error.to_string(), error.place().as_deref(), error.hint())
    } else {
        serving_error(py, &error.to_string(), error.place().as_deref(), error.hint())
    }
}

/// A `ServingError`.
pub(crate) fn serving_error(py: Python<'_>, message: &str, place: Option<&str>, hint: Option<&str>) -> PyErr {
    make::<ServingError>(py, message, place, hint)
}

/// A `DataError`.
pub(crate) fn data_error(py: Python<'_>, message: &str, place: Option<&str>, hint: Option<&str>) -> PyErr {
    make::<DataError>(py, message, place, hint)
}

/// A `DataTypeError`.
pub(crate) fn data_type_error(py: Python<'_>, message: &str, place: Option<&str>, hint: Option<&str>) -> PyErr {
    make::<DataTypeError>(py, message, place, hint)
}

fn make<E: PyTypeInfo>(py: Python<'_>, message: &str, place: Option<&str>, hint: Option<&str>) -> PyErr {
    let build = || {
        let keywords = PyDict::new(py);
        keywords.set_item("place", place)?;
        keywords.set_item("hint", hint)?;
        py.get_type::<E>().call((message,), Some(&keywords))
    };
    match build() {
        Ok(exception) => PyErr::from_value(exception),
        Err(failure) => failure,
    }
}
