//! What Rust made, as numpy arrays on the same memory: nothing is copied, and Rust frees it when the array is gone.

use headrace_core::sparse::Csr;
use numpy::{Element, IntoPyArray as _, PyArray1, PyArray2, PyArrayMethods as _};
use pyo3::prelude::*;

/// A vector as a one-dimensional array.
pub(crate) fn vector<T: Element>(py: Python<'_>, values: Vec<T>) -> PyResult<Bound<'_, PyArray1<T>>> {
    // The crate panics where numpy cannot be imported; this raises instead.
    py.import("numpy")?;
    Ok(values.into_pyarray(py))
}

/// Values that lie row after row as a two-dimensional array. There are `rows` times `columns` of them.
pub(crate) fn matrix<T: Element>(
    py: Python<'_>,
    values: Vec<T>,
    rows: usize,
    columns: usize,
) -> PyResult<Bound<'_, PyArray2<T>>> {
    vector(py, values)?.reshape([rows, columns])
}

/// `(data, indices, indptr)` of sparse rows.
pub(crate) type CsrArrays<'py, T> = (Bound<'py, PyArray1<T>>, Bound<'py, PyArray1<i32>>, Bound<'py, PyArray1<i32>>);

/// Sparse rows as the three arrays that scipy's `csr_matrix((data, indices, indptr), copy=False)` takes.
pub(crate) fn csr<T: Element>(py: Python<'_>, rows: Csr<T>) -> PyResult<CsrArrays<'_, T>> {
    Ok((vector(py, rows.data)?, vector(py, rows.indices)?, vector(py, rows.indptr)?))
}
