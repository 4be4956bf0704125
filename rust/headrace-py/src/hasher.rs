//! Binding of `headrace_core::hasher`.

use std::num::NonZeroUsize;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use headrace_core::Error;
use headrace_core::hasher::{Census, Feature, Frame, Hasher, Item, Mode, Options, Rows, Secret, Value, hash_column};
use numpy::{Element, PyArray1, PyArray2};
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyFloat, PyInt, PyIterator, PyList, PyString, PyTuple};

use crate::array;
use crate::error::{data_error, data_type_error, raise};
use crate::frame::{self, Batches};
use crate::hash::count_threads;

/// (data, indices, indptr).
type Arrays<'py> = Bound<'py, PyTuple>;
/// (column, value, bucket, negative, count).
type Shown = (String, Option<String>, i32, bool, u64);

/// Rows to hashed features.
#[pyclass(frozen, module = "headrace._core")]
#[derive(Debug)]
pub(crate) struct FeatureHasher {
    hasher: Hasher,
    spark: bool,
    named: bool,
    threads: NonZeroUsize,
}

#[pymethods]
impl FeatureHasher {
    #[new]
    #[pyo3(signature = (*, columns, mode, key, signed, categorical, threads))]
    fn new(
        py: Python<'_>,
        columns: i32,
        mode: &str,
        key: Option<[u8; 16]>,
        signed: bool,
        categorical: Vec<String>,
        threads: Option<i64>,
    ) -> PyResult<Self> {
        let mode = match (mode, key) {
            ("sklearn", None) => Mode::Sklearn,
            ("spark", None) => Mode::Spark,
            ("keyed", Some(key)) => Mode::Keyed(Secret(key)),
            _ => return Err(data_error(py, &format!("mode is {mode:?}, or its key does not fit"), None, None)),
        };
        let (spark, named) = (mode == Mode::Spark, !categorical.is_empty());
        let options = Options { columns, mode, signed, categorical: categorical.into_iter().collect() };
        let hasher = Hasher::new(options).map_err(|error| raise(py, &error))?;
        Ok(Self { hasher, spark, named, threads: count_threads(py, threads)? })
    }

    /// Of a frame.
    #[pyo3(signature = (frame, *, tokens, single))]
    fn sparse<'py>(&self, frame: &Bound<'py, PyAny>, tokens: bool, single: bool) -> PyResult<Arrays<'py>> {
        if single { self.sparse_of::<f32>(frame, tokens) } else { self.sparse_of::<f64>(frame, tokens) }
    }

    /// Of a frame, neither sorted nor added up.
    #[pyo3(signature = (frame, *, tokens))]
    fn entries<'py>(&self, frame: &Bound<'py, PyAny>, tokens: bool) -> PyResult<Arrays<'py>> {
        let py = frame.py();
        let batches = frame::open(frame)?;
        let made = py.detach(|| {
            let (schema, batches) = collect(batches)?;
            self.hasher.entries(what(tokens), &schema, &batches)
        });
        array::csr(py, made.map_err(|error| raise(py, &error))?)?.into_pyobject(py)
    }

    /// Of a frame, as float32.
    #[pyo3(signature = (frame, *, tokens))]
    fn dense<'py>(&self, frame: &Bound<'py, PyAny>, tokens: bool) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let py = frame.py();
        let batches = frame::open(frame)?;
        let made = py.detach(|| {
            let (schema, batches) = collect(batches)?;
            self.hasher.dense(what(tokens), &schema, &batches, self.threads)
        });
        let made = made.map_err(|error| raise(py, &error))?;
        let rows = made.len() / self.hasher.columns();
        array::matrix(py, made, rows, self.hasher.columns())
    }

    /// Of a frame, a bucket a column.
    fn buckets<'py>(&self, frame: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray2<i32>>> {
        let py = frame.py();
        let batches = frame::open(frame)?;
        let made = py.detach(|| {
            let (schema, batches) = collect(batches)?;
            let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
            let made = self.hasher.buckets(&schema, &batches, self.threads)?;
            Ok((made, rows, schema.fields().len()))
        });
        let (made, rows, columns) = made.map_err(|error| raise(py, &error))?;
        array::matrix(py, made, rows, columns)
    }

    /// Of an iterable over dicts, or over iterables of pairs.
    #[pyo3(signature = (samples, *, pairs, single, merge))]
    fn named<'py>(&self, samples: &Bound<'py, PyAny>, pairs: bool, single: bool, merge: bool) -> PyResult<Arrays<'py>> {
        if single { self.named_of::<f32>(samples, pairs, merge) } else { self.named_of::<f64>(samples, pairs, merge) }
    }

    /// Of an iterable over iterables of strings.
    #[pyo3(signature = (samples, *, single, merge))]
    fn tokens<'py>(&self, samples: &Bound<'py, PyAny>, single: bool, merge: bool) -> PyResult<Arrays<'py>> {
        if single { self.tokens_of::<f32>(samples, merge) } else { self.tokens_of::<f64>(samples, merge) }
    }

    /// Counts the features of a frame.
    #[pyo3(signature = (frame, *, tokens, categories))]
    fn census(&self, frame: &Bound<'_, PyAny>, tokens: bool, categories: bool) -> PyResult<FeatureCensus> {
        let py = frame.py();
        let batches = frame::open(frame)?;
        let read = if categories { Frame::Categories } else { what(tokens) };
        let made = py.detach(|| {
            let (schema, batches) = collect(batches)?;
            self.hasher.census(read, &schema, &batches)
        });
        made.map(|census| FeatureCensus { census }).map_err(|error| raise(py, &error))
    }
}

impl FeatureHasher {
    fn sparse_of<'py, T: Value + Element>(&self, frame: &Bound<'py, PyAny>, tokens: bool) -> PyResult<Arrays<'py>> {
        let py = frame.py();
        let batches = frame::open(frame)?;
        let made = py.detach(|| {
            let (schema, batches) = collect(batches)?;
            self.hasher.sparse::<T>(what(tokens), &schema, &batches, self.threads)
        });
        array::csr(py, made.map_err(|error| raise(py, &error))?)?.into_pyobject(py)
    }

    fn named_of<'py, T: Value + Element>(
        &self,
        samples: &Bound<'py, PyAny>,
        pairs: bool,
        merge: bool,
    ) -> PyResult<Arrays<'py>> {
        let py = samples.py();
        let mut rows = self.hasher.rows::<T>(merge);
        for (row, sample) in samples.try_iter()?.enumerate() {
            let sample = sample?;
            if pairs {
                for pair in parts(&sample, row, "an iterable of pairs")? {
                    self.pair(&mut rows, row, &pair?)?;
                }
            } else if let Ok(dict) = sample.cast_exact::<PyDict>() {
                for pair in dict.items() {
                    self.pair(&mut rows, row, &pair)?;
                }
            } else {
                let name = match (sample.hasattr(intern!(py, "iteritems"))?, sample.hasattr(intern!(py, "items"))?) {
                    (true, _) => intern!(py, "iteritems"),
                    (false, true) => intern!(py, "items"),
                    (false, false) => return Err(no_sample(&sample, row, "a dict")),
                };
                let items = sample.call_method0(name)?;
                for pair in items.try_iter()? {
                    self.pair(&mut rows, row, &pair?)?;
                }
            }
            rows.end_row().map_err(|error| raise(py, &error))?;
        }
        array::csr(py, rows.finish())?.into_pyobject(py)
    }

    fn pair<T: Value>(&self, rows: &mut Rows<'_, T>, row: usize, pair: &Bound<'_, PyAny>) -> PyResult<()> {
        let (name, value) = unpack(pair).map_err(|cause| placed(pair.py(), cause, row, None))?;
        self.entry(rows, &name, &value).map_err(|cause| placed(pair.py(), cause, row, Some(&name)))
    }

    fn entry<T: Value>(
        &self,
        rows: &mut Rows<'_, T>,
        name: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        if let Ok(text) = value.cast::<PyString>() {
            // As `"%s=%s" % (name, value)` writes them, whatever they are.
            let (name, text) = (plain(name)?, plain(text)?);
            rows.push(name.to_str()?.as_bytes(), Item::Text(text.to_str()?));
            return Ok(());
        }
        if self.spark && value.is_none() {
            return Ok(());
        }
        let number: f64 = value.extract()?;
        if number == 0.0 && !self.spark && !self.named {
            return Ok(());
        }
        let bytes = name_bytes(name, number == 0.0)?;
        let bytes: &[u8] = match &bytes {
            Some(name) => name.get()?,
            None => return Ok(()),
        };
        if !self.spark && !self.named {
            rows.push(bytes, Item::Number(number));
            return Ok(());
        }
        // What a number is matters only where it may be a category.
        let kind = value.get_type().name()?;
        match kind.to_str()? {
            "bool" | "bool_" => rows.push(bytes, Item::Truth(number != 0.0)),
            "float32" => rows.push(bytes, Item::Single(value.extract()?)),
            _ if value.is_instance_of::<PyFloat>() => rows.push(bytes, Item::Number(number)),
            _ if value.is_instance_of::<PyInt>() || value.hasattr(intern!(value.py(), "__index__"))? => {
                let digits = value.call_method0(intern!(value.py(), "__index__"))?.str()?;
                rows.push(bytes, Item::Integer(number, digits.to_str()?));
            }
            _ => rows.push(bytes, Item::Number(number)),
        }
        Ok(())
    }

    fn tokens_of<'py, T: Value + Element>(&self, samples: &Bound<'py, PyAny>, merge: bool) -> PyResult<Arrays<'py>> {
        let py = samples.py();
        let mut rows = self.hasher.rows::<T>(merge);
        for (row, sample) in samples.try_iter()?.enumerate() {
            let sample = sample?;
            if row == 0 && sample.is_instance_of::<PyString>() {
                let message = "Samples can not be a single string. \
                    The input must be an iterable over iterables of strings.";
                return Err(data_error(py, message, Some("row 0"), Some("Put each string into a list of its own.")));
            }
            for token in parts(&sample, row, "an iterable of strings")? {
                let token = token?;
                let mut push = || {
                    if let Some(name) = name_bytes(&token, false)? {
                        rows.token(name.get()?);
                    }
                    Ok(())
                };
                push().map_err(|cause| placed(py, cause, row, Some(&token)))?;
            }
            rows.end_row().map_err(|error| raise(py, &error))?;
        }
        array::csr(py, rows.finish())?.into_pyobject(py)
    }
}

/// A name: text, or bytes as they are.
enum Name<'a, 'py> {
    Text(&'a Bound<'py, PyString>),
    Bytes(&'a Bound<'py, PyBytes>),
}

impl Name<'_, '_> {
    fn get(&self) -> PyResult<&[u8]> {
        match self {
            Self::Text(text) => Ok(text.to_str()?.as_bytes()),
            Self::Bytes(bytes) => Ok(bytes.as_bytes()),
        }
    }
}

/// The name, which may be anything if the value is not hashed.
fn name_bytes<'a, 'py>(name: &'a Bound<'py, PyAny>, skipped: bool) -> PyResult<Option<Name<'a, 'py>>> {
    if let Ok(text) = name.cast::<PyString>() {
        Ok(Some(Name::Text(text)))
    } else if let Ok(bytes) = name.cast::<PyBytes>() {
        Ok(Some(Name::Bytes(bytes)))
    } else if skipped {
        Ok(None)
    } else {
        Err(PyTypeError::new_err("feature names must be strings"))
    }
}

/// `str(object)`.
fn plain<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
    match object.cast_exact::<PyString>() {
        Ok(text) => Ok(text.clone()),
        Err(_) => object.str(),
    }
}

fn unpack<'py>(pair: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    if let Ok(tuple) = pair.cast_exact::<PyTuple>()
        && tuple.len() == 2
    {
        return Ok((tuple.get_item(0)?, tuple.get_item(1)?));
    }
    let items = PyList::empty(pair.py());
    for item in pair.try_iter()? {
        items.append(item?)?;
        if items.len() > 2 {
            return Err(PyValueError::new_err("too many values to unpack (expected 2)"));
        }
    }
    if items.len() < 2 {
        return Err(PyValueError::new_err(format!("not enough values to unpack (expected 2, got {})", items.len())));
    }
    Ok((items.get_item(0)?, items.get_item(1)?))
}

/// What a sample consists of.
fn parts<'py>(sample: &Bound<'py, PyAny>, row: usize, expected: &str) -> PyResult<Bound<'py, PyIterator>> {
    sample.try_iter().map_err(|cause| {
        if !cause.is_instance_of::<PyTypeError>(sample.py()) {
            return cause;
        }
        let error = no_sample(sample, row, expected);
        error.set_cause(sample.py(), Some(cause));
        error
    })
}

/// A sample that is none.
fn no_sample(sample: &Bound<'_, PyAny>, row: usize, expected: &str) -> PyErr {
    let kind = sample.get_type().fully_qualified_name().map_or_else(|_| "?".to_owned(), |name| name.to_string());
    let message = format!("the sample is of type {kind}, expected {expected}");
    let hint = "input_type says what samples are: dicts, iterables of pairs, or iterables of strings.";
    data_type_error(sample.py(), &message, Some(&format!("row {row}")), Some(hint))
}

/// The same complaint with the row and the feature.
fn placed(py: Python<'_>, cause: PyErr, row: usize, name: Option<&Bound<'_, PyAny>>) -> PyErr {
    let named = name.and_then(|name| name.repr().ok()).map_or_else(String::new, |name| format!(", feature {name}"));
    let place = format!("row {row}{named}");
    let message = cause.value(py).to_string();
    let hint = "A feature is a string and its value a number or a string; leave out what is missing.";
    let error = if cause.is_instance_of::<PyTypeError>(py) {
        data_type_error(py, &message, Some(&place), Some(hint))
    } else if cause.is_instance_of::<PyValueError>(py) || cause.is_instance_of::<PyOverflowError>(py) {
        data_error(py, &message, Some(&place), Some(hint))
    } else {
        // What the user's own objects raise stays what it is.
        let _ = cause.value(py).call_method1(intern!(py, "add_note"), (place,));
        return cause;
    };
    error.set_cause(py, Some(cause));
    error
}

/// Features of a frame, counted.
#[pyclass(frozen, module = "headrace._core")]
#[derive(Debug)]
pub(crate) struct FeatureCensus {
    census: Census,
}

#[pymethods]
impl FeatureCensus {
    /// (rows, values, features, occupied, colliding, values in shared buckets, confused values).
    fn load(&self, py: Python<'_>) -> (usize, u64, usize, usize, usize, u64, u64) {
        let census = &self.census;
        let load = py.detach(|| census.load());
        (
            census.rows(),
            census.values(),
            census.features(),
            load.occupied,
            load.colliding,
            load.shared_values,
            load.confused_values,
        )
    }

    fn suggested(&self, py: Python<'_>, share: f64) -> Option<i32> {
        py.detach(|| self.census.suggested_columns(share))
    }

    fn worst(&self, py: Python<'_>, limit: usize) -> Vec<(Shown, Shown)> {
        let pairs = py.detach(|| self.census.worst(limit));
        pairs.into_iter().map(|pair| (shown(pair.first), shown(pair.second))).collect()
    }

    fn inverse(&self, py: Python<'_>, top: usize, limit: usize) -> Vec<Shown> {
        py.detach(|| self.census.inverse(top, limit)).into_iter().map(shown).collect()
    }
}

fn shown(feature: Feature) -> Shown {
    (feature.column, feature.value, feature.bucket, feature.negative, feature.count)
}

/// `MurmurHash3` of each value of a column of strings.
#[pyfunction]
#[pyo3(signature = (column, *, seed, null, threads))]
pub(crate) fn murmur3_column<'py>(
    column: &Bound<'py, PyAny>,
    seed: u32,
    null: Option<i32>,
    threads: Option<i64>,
) -> PyResult<Bound<'py, PyArray1<i32>>> {
    let py = column.py();
    let threads = count_threads(py, threads)?;
    let batches = frame::open_column(column)?;
    let schema = batches.schema();
    let [field] = schema.fields().iter().as_slice() else {
        let message = format!("the frame has {} columns, expected one column of strings", schema.fields().len());
        return Err(data_error(py, &message, None, Some("Select the column.")));
    };
    let hashes = py.detach(|| {
        let (_, batches) = collect(batches)?;
        hash_column(field, &batches, seed, null, threads)
    });
    array::vector(py, hashes.map_err(|error| raise(py, &error))?)
}

fn what(tokens: bool) -> Frame {
    if tokens { Frame::Tokens } else { Frame::Named }
}

fn collect(batches: Batches) -> Result<(SchemaRef, Vec<RecordBatch>), Error> {
    let schema = batches.schema();
    let batches = batches.collect::<Result<_, _>>().map_err(Error::Producer)?;
    Ok((schema, batches))
}
