//! Binding of `headrace_core::text`.

use std::num::NonZeroUsize;
use std::ops::Range;

use headrace_core::error::{Error, column_place};
use headrace_core::sparse::Csr;
use headrace_core::text::{
    Accents, Analyzer, Chunk, Decoding, Document, ENGLISH_STOP_WORDS, Norm, Options, Scratch, Texts, Value, Vectorizer,
};
use numpy::Element;
use pyo3::exceptions::{PyUnicodeDecodeError, PyUnicodeEncodeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use crate::error::{data_error, raise};
use crate::hash::count_threads;
use crate::wide::Room;
use crate::{array, frame};

/// Documents are taken from Python until they have so many bytes, and then go through Rust together: few enough to be
/// in the processor's cache still, or if there are several threads, enough for each.
const CHUNK_BYTES: [usize; 2] = [1 << 17, 1 << 23];
/// Or so many of them.
const CHUNK_DOCUMENTS: usize = 1 << 16;

/// The stop words of scikit-learn's list "english".
#[pyfunction]
pub(crate) fn english_stop_words() -> Vec<&'static str> {
    ENGLISH_STOP_WORDS.to_vec()
}

/// The version of Unicode that says what a letter is.
#[pyfunction]
pub(crate) fn text_unicode_version() -> &'static str {
    headrace_core::text::UNICODE_VERSION
}

/// `DataError` for the first text of a frame that is not UTF-8, at any depth.
#[pyfunction]
pub(crate) fn check_utf8(frame: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = frame.py();
    let batches = frame::open_for_plan(frame)?;
    let schema = batches.schema();
    let checked = py.detach(|| {
        let mut first_row = 0;
        for batch in batches {
            let batch = batch.map_err(Error::Producer)?;
            for (field, array) in schema.fields().iter().zip(batch.columns()) {
                headrace_core::text::check_utf8(field.name(), array, first_row)?;
            }
            first_row += batch.num_rows();
        }
        Ok(())
    });
    checked.map_err(|error| raise(py, &error))
}

/// Texts to rows of hashed tokens: (data, indices, indptr) of a CSR matrix.
#[pyclass(frozen, module = "headrace._core")]
#[derive(Debug)]
pub(crate) struct TextVectorizer {
    vectorizer: Vectorizer,
    decoding: Decoding,
    threads: NonZeroUsize,
    single: bool,
}

#[pymethods]
impl TextVectorizer {
    #[new]
    #[pyo3(signature = (*, columns, analyzer, lowercase, accents, ngrams, stop_words, signed, binary, norm, keep_marks,
        decode_error, threads, single))]
    #[allow(clippy::too_many_arguments, clippy::fn_params_excessive_bools, reason = "an argument an option")]
    fn new(
        py: Python<'_>,
        columns: i32,
        analyzer: &str,
        lowercase: bool,
        accents: Option<&str>,
        ngrams: (usize, usize),
        stop_words: Vec<String>,
        signed: bool,
        binary: bool,
        norm: Option<&str>,
        keep_marks: bool,
        decode_error: &str,
        threads: Option<i64>,
        single: bool,
    ) -> PyResult<Self> {
        let unknown = |what: &str, found: &str| data_error(py, &format!("{what} is {found:?}"), None, None);
        let options = Options {
            columns,
            analyzer: match analyzer {
                "word" => Analyzer::Word,
                "char" => Analyzer::Char,
                "char_wb" => Analyzer::CharWithinWords,
                other => return Err(unknown("analyzer", other)),
            },
            lowercase,
            accents: match accents {
                None => None,
                Some("ascii") => Some(Accents::Ascii),
                Some("unicode") => Some(Accents::Unicode),
                Some(other) => return Err(unknown("accents", other)),
            },
            ngrams,
            stop_words,
            signed,
            binary,
            norm: match norm {
                None => None,
                Some("l1") => Some(Norm::L1),
                Some("l2") => Some(Norm::L2),
                Some(other) => return Err(unknown("norm", other)),
            },
            keep_marks,
        };
        Ok(Self {
            vectorizer: Vectorizer::new(options).map_err(|error| raise(py, &error))?,
            decoding: match decode_error {
                "strict" => Decoding::Strict,
                "replace" => Decoding::Replace,
                "ignore" => Decoding::Ignore,
                other => return Err(unknown("decode_error", other)),
            },
            threads: count_threads(py, threads)?,
            single,
        })
    }

    /// Of a column of text: a frame of one column, or the column itself.
    fn of_column<'py>(&self, column: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
        if self.single { self.column::<f32>(column) } else { self.column::<f64>(column) }
    }

    /// Of an iterator over str and bytes. `encoding` is that of bytes if it is not UTF-8; `mend` makes a str without
    /// lone surrogates of one that has some.
    #[pyo3(signature = (documents, encoding, mend))]
    fn of_documents<'py>(
        &self,
        documents: &Bound<'py, PyAny>,
        encoding: Option<(Bound<'py, PyString>, Bound<'py, PyString>)>,
        mend: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let reader = Reader { encoding, mend };
        if self.single { self.documents::<f32>(documents, &reader) } else { self.documents::<f64>(documents, &reader) }
    }

    /// Of an iterator over iterables of tokens, str or bytes.
    fn of_tokens<'py>(&self, rows: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
        if self.single { self.tokens::<f32>(rows) } else { self.tokens::<f64>(rows) }
    }
}

impl TextVectorizer {
    fn column<'py, T: Value + Element>(&self, column: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
        let py = column.py();
        let batches = frame::open_column(column)?;
        let schema = batches.schema();
        let [field] = schema.fields().iter().as_slice() else {
            let names: Vec<_> = schema.fields().iter().map(|field| column_place(field.name())).collect();
            let found = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(data_error(
                py,
                &format!("the frame has {} columns ({found}), expected one column of text", names.len()),
                None,
                Some("Select the column; a ColumnTransformer does so if it is given as a name, not as a list."),
            ));
        };
        let rows = py.detach(|| {
            let (mut parts, mut first_row) = (Vec::new(), 0);
            for batch in batches {
                let batch = batch.map_err(Error::Producer)?;
                let texts = Texts::new(field.name(), batch.column(0), first_row, self.decoding)?;
                parts.push(texts.matrix::<T>(&self.vectorizer, self.threads)?);
                first_row += batch.num_rows();
            }
            Csr::concat(parts, self.vectorizer.columns())
        });
        wrap(py, rows)
    }

    fn documents<'py, T: Value + Element>(
        &self,
        documents: &Bound<'py, PyAny>,
        reader: &Reader<'_, 'py>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let py = documents.py();
        let alone = self.threads == NonZeroUsize::MIN;
        let most = CHUNK_BYTES[usize::from(!alone)];
        let count = documents.cast::<PyList>().map_or(0, PyListMethods::len);
        let (mut rows, mut scratch) = (Csr::<T>::new(self.vectorizer.columns()), Scratch::default());
        let (mut parts, mut first_row) = (Vec::new(), 0);
        let mut held: Vec<Held<'py>> = Vec::new();
        let mut room = Room::new(py);
        let mut bytes = 0;
        let mut documents = documents.try_iter()?;
        loop {
            let next = documents.next().transpose()?;
            let last = next.is_none();
            if let Some(document) = next {
                let (document, length) = reader.read(document, first_row + held.len(), &mut room)?;
                held.push(document);
                bytes += length;
            }
            if last || bytes >= most || held.len() == CHUNK_DOCUMENTS {
                let texts: Vec<Document<'_>> = held.iter().map(|held| held.borrow(&room)).collect::<PyResult<_>>()?;
                let texts = Chunk { documents: &texts, first_row, decoding: self.decoding };
                first_row += held.len();
                let more = count.saturating_sub(first_row);
                let made = py.detach(|| {
                    if alone {
                        return self.vectorizer.append(&texts, more, &mut scratch, &mut rows);
                    }
                    parts.push(self.vectorizer.matrix(&texts, self.threads)?);
                    Ok(())
                });
                made.map_err(|error| raise(py, &error))?;
                held.clear();
                room.clear();
                bytes = 0;
            }
            if last {
                rows.shrink();
                return wrap(py, if alone { Ok(rows) } else { Csr::concat(parts, self.vectorizer.columns()) });
            }
        }
    }

    fn tokens<'py, T: Value + Element>(&self, rows: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
        let py = rows.py();
        let (mut made, mut scratch) = (Csr::<T>::new(self.vectorizer.columns()), Scratch::default());
        for (row, tokens) in rows.try_iter()?.enumerate() {
            let mut held = Vec::new();
            for token in tokens?.try_iter()? {
                held.push(token_bytes(token?, row)?);
            }
            let tokens = held.iter().map(PyBytesMethods::as_bytes);
            self.vectorizer.push_tokens(tokens, &mut scratch, &mut made).map_err(|error| raise(py, &error))?;
        }
        wrap(py, Ok(made))
    }
}

/// How a document becomes bytes that can be read without the interpreter.
struct Reader<'a, 'py> {
    encoding: Option<(Bound<'py, PyString>, Bound<'py, PyString>)>,
    mend: Option<&'a Bound<'py, PyAny>>,
}

/// A document whose bytes can be read without the interpreter.
enum Held<'py> {
    /// ASCII.
    Text(Bound<'py, PyString>),
    /// UTF-8.
    Bytes(Bound<'py, PyBytes>),
    /// UTF-8 that lies in a [`Room`].
    Room(Range<usize>),
}

impl<'py> Reader<'_, 'py> {
    /// The document, and how many bytes it has.
    fn read(&self, document: Bound<'py, PyAny>, row: usize, room: &mut Room<'py>) -> PyResult<(Held<'py>, usize)> {
        let py = document.py();
        let text = match document.cast_into::<PyString>() {
            Ok(text) => text,
            Err(other) => {
                let document = other.into_inner();
                match (document.cast_into::<PyBytes>(), &self.encoding) {
                    (Ok(bytes), None) => {
                        let length = bytes.as_bytes().len();
                        return Ok((Held::Bytes(bytes), length));
                    }
                    (Ok(bytes), Some(encoding)) => {
                        let decoded = bytes.call_method1(intern!(py, "decode"), encoding.clone());
                        decoded.map_err(|cause| unreadable::<PyUnicodeDecodeError>(py, cause, row))?.cast_into()?
                    }
                    (Err(other), _) => return Err(no_text(&other.into_inner(), row)),
                }
            }
        };
        let length = Room::length(&text)?;
        if room.is_ascii(&text)? {
            return Ok((Held::Text(text), length));
        }
        if let Some(span) = room.take(&text, length)? {
            let length = span.len();
            return Ok((Held::Room(span), length));
        }
        // Not `to_str`: that would leave a second copy of the text in the caller's object for as long as it lives.
        let encoded = text.encode_utf8().or_else(|cause| match self.mend {
            Some(mend) => mend.call1((text,))?.cast_into::<PyString>()?.encode_utf8(),
            None => Err(unreadable::<PyUnicodeEncodeError>(py, cause, row)),
        })?;
        let length = encoded.as_bytes().len();
        Ok((Held::Bytes(encoded), length))
    }
}

impl Held<'_> {
    fn borrow<'a>(&'a self, room: &'a Room<'_>) -> PyResult<Document<'a>> {
        Ok(match self {
            Self::Text(text) => Document::Text(text.to_str()?),
            Self::Bytes(bytes) => Document::Bytes(bytes.as_bytes()),
            Self::Room(span) => Document::Bytes(room.bytes(span)),
        })
    }
}

fn token_bytes(token: Bound<'_, PyAny>, row: usize) -> PyResult<Bound<'_, PyBytes>> {
    match token.cast_into::<PyString>() {
        Ok(text) => text.encode_utf8().map_err(|cause| unreadable::<PyUnicodeEncodeError>(text.py(), cause, row)),
        Err(other) => {
            let token = other.into_inner();
            token.cast_into::<PyBytes>().map_err(|other| {
                let token = other.into_inner();
                let message = format!("a token is of type {}, expected str or bytes", token.get_type());
                data_error(token.py(), &message, Some(&format!("row {row}")), None)
            })
        }
    }
}

/// A codec's complaint as a `DataError` that names the row; whatever else was raised stays what it is.
fn unreadable<E: pyo3::type_object::PyTypeInfo>(py: Python<'_>, cause: PyErr, row: usize) -> PyErr {
    if !cause.is_instance_of::<E>(py) {
        return cause;
    }
    let message = format!("the text cannot be read: {}", cause.value(py));
    let hint = "Set encoding to what the bytes have, or decode_error to 'replace' or 'ignore'; mend broken text first.";
    let error = data_error(py, &message, Some(&format!("row {row}")), Some(hint));
    error.set_cause(py, Some(cause));
    error
}

fn no_text(document: &Bound<'_, PyAny>, row: usize) -> PyErr {
    let py = document.py();
    let is_nan = document.extract::<f64>().is_ok_and(f64::is_nan);
    let message = if is_nan {
        "np.nan is an invalid document, expected byte or unicode string.".to_owned()
    } else if document.is_none() {
        "the document is None, expected str or bytes".to_owned()
    } else {
        let kind = document.get_type().fully_qualified_name().map_or_else(|_| "?".to_owned(), |name| name.to_string());
        format!("the document is of type {kind}, expected str or bytes")
    };
    data_error(py, &message, Some(&format!("row {row}")), Some("Fill what is missing with an empty string first."))
}

fn wrap<T: Value + Element>(py: Python<'_>, rows: Result<Csr<T>, Error>) -> PyResult<Bound<'_, PyTuple>> {
    array::csr(py, rows.map_err(|error| raise(py, &error))?)?.into_pyobject(py)
}
