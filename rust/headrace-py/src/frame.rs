//! Frames from Python: anything that hands itself over through the Arrow `PyCapsule` interface.
//!
//! The stream is read here and not by arrow's own reader for two reasons. polars announces a buffer for columns of type
//! Null, which the specification does not have and arrow-rs refuses (pola-rs/polars#22934); and a schema is asked for
//! column by column, so that a type that Arrow does not know can be named together with its column.
#![allow(
    unsafe_code,
    reason = "the Arrow C data interface is a contract between pointers; this is the one module that holds it"
)]

use std::collections::HashMap;
use std::ffi::{CStr, c_int};
use std::sync::Arc;

use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi_and_data_type};
use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::{Array as _, RecordBatch, RecordBatchOptions, StructArray, make_array};
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, SchemaRef};
use headrace_core::error::column_place;
use headrace_core::plan::{UNREADABLE, WIDE_INTEGER};
use pyo3::exceptions::PyException;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict as _, PyCapsule, PyTuple};

use crate::error::data_error;

/// A stream of batches that may be read without the interpreter.
pub(crate) struct Batches {
    schema: SchemaRef,
    /// Whether the arrays are the one column itself, not rows of columns.
    bare: bool,
    source: Source,
}

enum Source {
    Stream(FFI_ArrowArrayStream),
    One(FFI_ArrowArray),
    Ended,
}

/// Opens `frame`, or says why it cannot be read. A stream is consumed.
pub(crate) fn open(frame: &Bound<'_, PyAny>) -> PyResult<Batches> {
    rows_of(frame, open_with(frame, |column| Field::try_from(column))?)
}

/// Opens a frame, or a column by itself, which is then a frame of that one column.
pub(crate) fn open_column(frame: &Bound<'_, PyAny>) -> PyResult<Batches> {
    open_with(frame, |column| Field::try_from(column))
}

fn rows_of(frame: &Bound<'_, PyAny>, batches: Batches) -> PyResult<Batches> {
    if batches.bare { Err(unreadable(frame, "it is a single column", None)) } else { Ok(batches) }
}

/// The same for a plan, which says itself what is wrong with a column that it reads, and ignores the others: a column that
/// Arrow does not know is there as one of type Null with the reason, and 128-bit integers are the sixteen bytes they are.
pub(crate) fn open_for_plan(frame: &Bound<'_, PyAny>) -> PyResult<Batches> {
    let batches = open_with(frame, |column| {
        let name = column.name().unwrap_or_default().to_owned();
        let marked = |data_type, key: &str, value: String| {
            Ok(Field::new(&name, data_type, true).with_metadata(HashMap::from([(key.to_owned(), value)])))
        };
        match (column.format(), Field::try_from(column)) {
            (WIDE_SIGNED, _) => marked(DataType::FixedSizeBinary(16), WIDE_INTEGER, "signed".to_owned()),
            (WIDE_UNSIGNED, _) => marked(DataType::FixedSizeBinary(16), WIDE_INTEGER, "unsigned".to_owned()),
            (_, Ok(field)) => Ok(field),
            (_, Err(error)) => marked(DataType::Null, UNREADABLE, error.to_string()),
        }
    })?;
    rows_of(frame, batches)
}

/// What polars announces for integers of 128 bits.
const WIDE_SIGNED: &str = "_pli128";
const WIDE_UNSIGNED: &str = "_plu128";

/// A frame of pandas without its index, which it would hand over as a column unless it only counts the rows.
fn without_index<'py>(frame: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = frame.py();
    let module = frame.get_type().module()?;
    let pandas = module.to_cow()?.split('.').next() == Some("pandas");
    if !pandas || !frame.hasattr(intern!(py, "columns"))? || !frame.hasattr(intern!(py, "reset_index"))? {
        return Ok(frame.clone());
    }
    if frame.getattr(intern!(py, "index"))?.get_type().name()? == "RangeIndex" {
        return Ok(frame.clone());
    }
    frame.call_method(intern!(py, "reset_index"), (), Some(&[(intern!(py, "drop"), true)].into_py_dict(py)?))
}

fn open_with(
    frame: &Bound<'_, PyAny>,
    field: impl Fn(&FFI_ArrowSchema) -> Result<Field, ArrowError>,
) -> PyResult<Batches> {
    let py = frame.py();
    let frame = &without_index(frame)?;
    let (schema, source) = if frame.hasattr(intern!(py, "__arrow_c_stream__"))? {
        refuse_nul_in_names(frame)?;
        let capsule = frame.call_method0(intern!(py, "__arrow_c_stream__")).map_err(|cause| refuse(frame, &cause))?;
        let stream = capsule.cast::<PyCapsule>()?.pointer_checked(Some(c"arrow_array_stream"))?;
        // SAFETY: the capsule's name says what it points to, and moving it out is how a stream is taken.
        let mut stream = unsafe { FFI_ArrowArrayStream::from_raw(stream.cast().as_ptr()) };
        let schema = stream_schema(&mut stream).map_err(|reason| unreadable(frame, &reason, None))?;
        (schema, Source::Stream(stream))
    } else if frame.hasattr(intern!(py, "__arrow_c_array__"))? {
        let pair = frame.call_method0(intern!(py, "__arrow_c_array__")).map_err(|cause| refuse(frame, &cause))?;
        let pair = pair.cast::<PyTuple>()?;
        let schema = pair.get_item(0)?.cast::<PyCapsule>()?.pointer_checked(Some(c"arrow_schema"))?;
        let array = pair.get_item(1)?.cast::<PyCapsule>()?.pointer_checked(Some(c"arrow_array"))?;
        // SAFETY: as above, for both capsules.
        let pair = unsafe {
            (FFI_ArrowSchema::from_raw(schema.cast().as_ptr()), FFI_ArrowArray::from_raw(array.cast().as_ptr()))
        };
        (pair.0, Source::One(pair.1))
    } else {
        return Err(data_error(
            py,
            &format!("expected a frame with __arrow_c_stream__ or __arrow_c_array__, found {}", type_name(frame)),
            None,
            Some("Pass a polars, pyarrow or pandas frame; collect a lazy one first."),
        ));
    };
    let bare = schema.format() != "+s";
    let schema = columns(&schema, bare, field).map_err(|(reason, column)| unreadable(frame, &reason, column))?;
    Ok(Batches { schema, bare, source })
}

/// polars ends the process when it is asked to export a name with a NUL, at any depth; so it is not asked.
fn refuse_nul_in_names(frame: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = frame.py();
    let polars = frame.get_type().module()?.to_cow()?.starts_with("polars.");
    if !polars {
        return Ok(());
    }
    if let Ok(name) = frame.getattr(intern!(py, "name")).and_then(|name| name.extract::<String>()) {
        return refuse_nul(frame, &name, &frame.getattr(intern!(py, "dtype"))?);
    }
    for column in frame.getattr(intern!(py, "schema"))?.call_method0(intern!(py, "items"))?.try_iter()? {
        let (name, data_type) = column?.extract::<(String, Bound<'_, PyAny>)>()?;
        refuse_nul(frame, &name, &data_type)?;
    }
    Ok(())
}

fn refuse_nul(frame: &Bound<'_, PyAny>, name: &str, data_type: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = frame.py();
    let nested = || -> PyResult<bool> {
        Ok(data_type.call_method0(intern!(py, "is_nested"))?.is_truthy()?
            && data_type.repr()?.to_cow()?.contains("\\x00"))
    };
    if name.contains('\0') || nested()? {
        return Err(data_error(
            py,
            "its name, or that of a field in it, has a NUL character, which Arrow cannot hand over",
            Some(&column_place(name)),
            Some("Rename the column."),
        ));
    }
    Ok(())
}

impl Batches {
    pub(crate) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn take(&mut self, mut array: FFI_ArrowArray) -> Result<RecordBatch, ArrowError> {
        if self.bare {
            let data_type = self.schema.field(0).data_type().clone();
            if data_type == DataType::Null {
                array.n_buffers = 0;
            }
            // SAFETY: the producer announced this type for it.
            let column = make_array(unsafe { from_ffi_and_data_type(array, data_type) }?);
            return RecordBatch::try_new(self.schema(), vec![column]);
        }
        forget_null_buffers(&array, self.schema.fields());
        let data_type = DataType::Struct(self.schema.fields().clone());
        // SAFETY: the producer announced this type for it.
        let rows = StructArray::from(unsafe { from_ffi_and_data_type(array, data_type) }?);
        let (count, nulls) = (rows.len(), rows.null_count());
        if nulls > 0 {
            return Err(ArrowError::CDataInterface(format!(
                "{nulls} rows are null as a whole, which a frame cannot say"
            )));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        RecordBatch::try_new_with_options(self.schema(), rows.columns().to_vec(), &options)
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, ArrowError>;

    /// The next batch. After an error the stream has ended.
    fn next(&mut self) -> Option<Self::Item> {
        let array = match std::mem::replace(&mut self.source, Source::Ended) {
            Source::Stream(mut stream) => match next_array(&mut stream) {
                Ok(array) if array.is_released() => return None,
                Ok(array) => {
                    self.source = Source::Stream(stream);
                    array
                }
                Err(error) => return Some(Err(error)),
            },
            Source::One(array) => array,
            Source::Ended => return None,
        };
        let batch = self.take(array);
        if batch.is_err() {
            self.source = Source::Ended;
        }
        Some(batch)
    }
}

fn stream_schema(stream: &mut FFI_ArrowArrayStream) -> Result<FFI_ArrowSchema, String> {
    let call = stream.get_schema.ok_or("its stream was consumed before")?;
    let mut schema = FFI_ArrowSchema::empty();
    // SAFETY: the callback is the stream's own, and both pointers live through the call.
    let code = unsafe { call(&raw mut *stream, &raw mut schema) };
    if code == 0 { Ok(schema) } else { Err(last_error(stream, code)) }
}

fn next_array(stream: &mut FFI_ArrowArrayStream) -> Result<FFI_ArrowArray, ArrowError> {
    let broken = ArrowError::CDataInterface;
    let call = stream.get_next.ok_or_else(|| broken("its stream was consumed before".to_owned()))?;
    let mut array = FFI_ArrowArray::empty();
    // SAFETY: as in `stream_schema`.
    let code = unsafe { call(&raw mut *stream, &raw mut array) };
    if code == 0 { Ok(array) } else { Err(broken(last_error(stream, code))) }
}

fn last_error(stream: &mut FFI_ArrowArrayStream, code: c_int) -> String {
    // SAFETY: the producer keeps the text, ended by a zero byte, until the next call.
    let text = stream.get_last_error.map(|call| unsafe { call(&raw mut *stream) }).filter(|text| !text.is_null());
    text.map_or_else(
        || format!("its stream gave error {code} and no message"),
        |text| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned(),
    )
}

/// The columns, or what is wrong and with which of them. Of a bare column: that one, nullable whatever it says.
fn columns(
    schema: &FFI_ArrowSchema,
    bare: bool,
    field: impl Fn(&FFI_ArrowSchema) -> Result<Field, ArrowError>,
) -> Result<SchemaRef, (String, Option<String>)> {
    let read =
        |child: &FFI_ArrowSchema| field(child).map_err(|error| (error.to_string(), child.name().map(str::to_owned)));
    if bare {
        return Ok(Arc::new(Schema::new(vec![read(schema)?.with_nullable(true)])));
    }
    let fields = schema.children().map(read);
    Ok(Arc::new(Schema::new(fields.collect::<Result<Fields, _>>()?)))
}

/// Takes back the buffers announced for Null columns, at any depth: they have none.
fn forget_null_buffers(array: &FFI_ArrowArray, fields: &Fields) {
    let children = usize::try_from(array.n_children).unwrap_or(0).min(fields.len());
    for (index, field) in fields.iter().take(children).enumerate() {
        // SAFETY: a producer gives `n_children` pointers to children that are its consumer's alone until release.
        if let Some(child) = unsafe { (*array.children.add(index)).as_mut() } {
            match field.data_type() {
                DataType::Null => child.n_buffers = 0,
                DataType::Struct(fields) => forget_null_buffers(child, fields),
                DataType::List(item)
                | DataType::LargeList(item)
                | DataType::ListView(item)
                | DataType::LargeListView(item)
                | DataType::FixedSizeList(item, _)
                | DataType::Map(item, _) => forget_null_buffers(child, &Fields::from(vec![Arc::clone(item)])),
                _ => {}
            }
        }
    }
}

/// The frame's own refusal to hand itself over, as a `DataError`; Ctrl-C is not its fault.
fn refuse(frame: &Bound<'_, PyAny>, cause: &PyErr) -> PyErr {
    let py = frame.py();
    if !cause.is_instance_of::<PyException>(py) {
        return cause.clone_ref(py);
    }
    let error = unreadable(frame, &cause.value(py).to_string(), None);
    error.set_cause(py, Some(cause.clone_ref(py)));
    error
}

fn unreadable(frame: &Bound<'_, PyAny>, reason: &str, column: Option<String>) -> PyErr {
    data_error(
        frame.py(),
        &format!("{} cannot be read as an Arrow frame: {reason}", type_name(frame)),
        column.map(|name| column_place(&name)).as_deref(),
        Some("Pass a whole frame; cast what Arrow does not know (128-bit integers, objects) first."),
    )
}

fn type_name(object: &Bound<'_, PyAny>) -> String {
    object.get_type().fully_qualified_name().map_or_else(|_| "an object".to_owned(), |name| name.to_string())
}
