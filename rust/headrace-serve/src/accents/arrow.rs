//! Tables as Arrow IPC streams, for many rows at once: columns in, columns out.
//!
//! Nothing is computed here: a [`Table`] is cut into pieces, and each piece becomes what an engine takes.

mod values;

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{ArrowDictionaryKeyType, Int8Type, Int16Type, Int32Type, Int64Type};
use arrow_array::types::{UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray,
};
use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use hyper::body::Bytes;

use super::of_input;
use crate::engine::Port;
use crate::error::Refusal;
use crate::model::{Model, Output};
use crate::tensor::{Data, Tensor};

/// The media type.
pub const STREAM: &str = "application/vnd.apache.arrow.stream";

/// A table as it came.
#[derive(Debug)]
pub struct Table {
    /// Its columns.
    pub schema: SchemaRef,
    /// Its rows.
    pub batches: Vec<RecordBatch>,
}

impl Table {
    /// Reads a stream of at most `most` rows; what it says of its own lengths is not believed.
    pub fn read(body: Bytes, most: usize) -> Result<Self, Refusal> {
        let bytes = body.len();
        let mut buffer = Buffer::from(body);
        let mut decoder = StreamDecoder::new();
        let (mut batches, mut rows) = (Vec::new(), 0_usize);
        while let Some(batch) = decoder.decode(&mut buffer).map_err(|error| unreadable(&error))? {
            rows = rows.saturating_add(batch.num_rows());
            if rows > most {
                let what = format!("the request has {rows} rows or more, at most {most} are answered at once");
                return Err(Refusal::TooLarge(what));
            }
            if batch.num_rows() > 0 {
                batches.push(batch);
            }
        }
        decoder.finish().map_err(|error| unreadable(&error))?;
        let Some(schema) = decoder.schema() else {
            return Err(Refusal::Bad("the body is no Arrow IPC stream: it has no schema".to_owned()));
        };
        if batches.is_empty() {
            return Err(Refusal::Bad("the request has no rows".to_owned()));
        }
        // Views and dictionaries can name one long text a million times.
        let texts = batches.iter().flat_map(RecordBatch::columns).map(repeated).fold(0, usize::saturating_add);
        if texts > bytes.saturating_mul(8) {
            let what = "the texts of the table are many times as long as the body: send them plain";
            return Err(Refusal::TooLarge(what.to_owned()));
        }
        Ok(Self { schema, batches })
    }

    /// All the rows as one batch: rows that depend on each other are not parted.
    pub fn joined(self) -> Result<Self, Refusal> {
        let batch =
            arrow_select::concat::concat_batches(&self.schema, &self.batches).map_err(|error| unreadable(&error))?;
        Ok(Self { schema: self.schema, batches: vec![batch] })
    }

    /// The rows in pieces of at most `most`, each with the number of its first row.
    #[must_use]
    pub fn pieces(&self, most: usize) -> Vec<(usize, RecordBatch)> {
        let (mut pieces, mut first) = (Vec::new(), 0);
        for batch in &self.batches {
            for start in (0..batch.num_rows()).step_by(most.max(1)) {
                let length = most.max(1).min(batch.num_rows() - start);
                pieces.push((first + start, batch.slice(start, length)));
            }
            first += batch.num_rows();
        }
        pieces
    }
}

fn unreadable(error: &ArrowError) -> Refusal {
    // What the reader calls by the name of a part of it that is not there.
    let text = error.to_string();
    if ["lz4", "zstd"].iter().any(|packed| text.contains(packed)) {
        let what = "the buffers of the Arrow stream are packed (lz4 or zstd): write it without compression, or pack the \
                    whole body with gzip and say Content-Encoding";
        return Refusal::Bad(what.to_owned());
    }
    Refusal::Bad(format!("the body cannot be read as an Arrow IPC stream: {error}"))
}

/// Bytes of a column's texts, where they can be more than were sent.
fn repeated(array: &ArrayRef) -> usize {
    fn of<K: ArrowDictionaryKeyType>(array: &ArrayRef) -> usize {
        let dictionary = array.as_dictionary::<K>();
        let longest = |row: Option<usize>| row.map_or(0, |row| length(dictionary.values(), row));
        dictionary.keys_iter().map(longest).fold(0, usize::saturating_add)
    }
    match array.data_type() {
        DataType::Utf8View | DataType::BinaryView => {
            (0..array.len()).map(|row| length(array, row)).fold(0, usize::saturating_add)
        }
        DataType::Dictionary(key, _) => match key.as_ref() {
            DataType::Int8 => of::<Int8Type>(array),
            DataType::Int16 => of::<Int16Type>(array),
            DataType::Int32 => of::<Int32Type>(array),
            DataType::Int64 => of::<Int64Type>(array),
            DataType::UInt8 => of::<UInt8Type>(array),
            DataType::UInt16 => of::<UInt16Type>(array),
            DataType::UInt32 => of::<UInt32Type>(array),
            DataType::UInt64 => of::<UInt64Type>(array),
            _ => 0,
        },
        _ => 0,
    }
}

fn length(array: &ArrayRef, row: usize) -> usize {
    if array.is_null(row) {
        return 0;
    }
    match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value(row).len(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).len(),
        DataType::Utf8View => array.as_string_view().value(row).len(),
        DataType::BinaryView => array.as_binary_view().value(row).len(),
        _ => 0,
    }
}

/// Rows of a table as tensors for a graph: columns by the inputs' names; or, where it has one input, all the columns in
/// order as its rows, or the only column, of lists. Values of one tensor are no more than `most` bytes.
pub fn tensors(ports: &[Port], model: &Model, batch: &RecordBatch, most: usize) -> Result<Vec<Tensor>, Refusal> {
    let (rows, schema) = (batch.num_rows(), batch.schema());
    let whole = |port: &Port, columns: &[ArrayRef]| {
        let failed = |what: String| of_input(&port.name, &what);
        let (width, listed) = values::width(columns).map_err(failed)?;
        let size = rows.checked_mul(width).and_then(|count| count.checked_mul(port.kind.size()));
        if size.is_none_or(|size| size > most) {
            return Err(Refusal::TooLarge(format!(
                "the input '{}' has {width} values a row",
                port.name.escape_debug()
            )));
        }
        let data = values::data(columns, port.kind, rows, width).map_err(failed)?;
        let flat = port.shape.len() == 1 && width == 1 && !listed;
        Ok(Tensor { shape: if flat { vec![rows] } else { vec![rows, width] }, data })
    };
    if let [port] = ports {
        return Ok(vec![whole(port, batch.columns())?]);
    }
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (place, field) in schema.fields().iter().enumerate() {
        if places.insert(field.name(), place).is_some() && model.position(field.name()).is_some() {
            return Err(of_input(field.name(), "it is there twice"));
        }
    }
    let one = |(position, port): (usize, &Port)| {
        let place = places.get(port.name.as_str()).ok_or_else(|| model.missing(position))?;
        whole(port, std::slice::from_ref(batch.column(*place)))
    };
    ports.iter().enumerate().map(one).collect()
}

/// An answer as a stream: a column an output, of fixed-size lists where a row has several values.
pub fn answer(model: &Model, outputs: &[Output]) -> Result<Vec<u8>, Refusal> {
    let failed = |error: ArrowError| Refusal::Failed(format!("the answer cannot be written as Arrow: {error}"));
    let mut fields = Vec::with_capacity(outputs.len());
    let mut columns = Vec::with_capacity(outputs.len());
    for Output { name, tensor } in outputs {
        let array = column(tensor).map_err(failed)?;
        fields.push(Field::new(name.as_ref(), array.data_type().clone(), false));
        columns.push(array);
    }
    let metadata = [("model_name", &model.name), ("model_version", &model.version)]
        .map(|(key, value)| (key.to_owned(), value.clone()));
    let schema = Arc::new(Schema::new(fields).with_metadata(metadata.into()));
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).map_err(failed)?;
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).map_err(failed)?;
    writer.write(&batch).map_err(failed)?;
    writer.into_inner().map_err(failed)
}

fn column(tensor: &Tensor) -> Result<ArrayRef, ArrowError> {
    let mut array: ArrayRef = match &tensor.data {
        Data::F32(values) => Arc::new(Float32Array::from(values.clone())),
        Data::F64(values) => Arc::new(Float64Array::from(values.clone())),
        Data::I32(values) => Arc::new(Int32Array::from(values.clone())),
        Data::I64(values) => Arc::new(Int64Array::from(values.clone())),
        Data::Bool(values) => Arc::new(BooleanArray::from(values.clone())),
        Data::Text(values) => Arc::new(StringArray::from_iter_values(values)),
    };
    for length in tensor.shape.iter().skip(1).rev() {
        let size = i32::try_from(*length).map_err(|error| ArrowError::InvalidArgumentError(error.to_string()))?;
        let field = Arc::new(Field::new("item", array.data_type().clone(), false));
        array = Arc::new(FixedSizeListArray::try_new(field, size, array, None)?);
    }
    Ok(array)
}
