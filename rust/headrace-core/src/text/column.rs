//! A column of texts, read where it lies.

use std::borrow::Cow;
use std::num::NonZeroUsize;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    BinaryViewType, ByteArrayType, ByteViewType, Int8Type, Int16Type, Int32Type, Int64Type, StringViewType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, GenericByteArray, GenericByteViewArray};
use arrow_buffer::{ArrowNativeType as _, NullBuffer};
use arrow_schema::DataType;

use super::matrix::Documents;
use super::{Value, Vectorizer};
use crate::error::{Error, Result};
use crate::sparse::{Csr, offset};

/// What happens to bytes that are no UTF-8, as Python's decoder has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Decoding {
    /// They are an error.
    #[default]
    Strict,
    /// They become U+FFFD, one for each longest part of a character.
    Replace,
    /// They are left out.
    Ignore,
}

impl Decoding {
    /// Bytes as text, or where the first byte at fault is.
    pub fn decode(self, bytes: &[u8]) -> Result<Cow<'_, str>, usize> {
        // The standard library's check costs as much as all the rest; this one only says no, so the other says where.
        if let Ok(text) = simdutf8::basic::from_utf8(bytes) {
            return Ok(Cow::Borrowed(text));
        }
        match (std::str::from_utf8(bytes), self) {
            (Ok(text), _) => Ok(Cow::Borrowed(text)),
            (Err(error), Self::Strict) => Err(error.valid_up_to()),
            (Err(_), Self::Replace) => Ok(String::from_utf8_lossy(bytes)),
            (Err(_), Self::Ignore) => Ok(Cow::Owned(bytes.utf8_chunks().map(|chunk| chunk.valid()).collect())),
        }
    }
}

/// A column of strings, or of bytes that are UTF-8, in any of Arrow's layouts. A null is a text without tokens.
///
/// Nothing is taken on trust: bytes of strings are checked as well, because a producer may hand over anything.
#[derive(Debug)]
pub struct Texts<'a> {
    name: &'a str,
    array: &'a ArrayRef,
    /// The number of its first row, where the column is one of several chunks.
    first_row: usize,
    decoding: Decoding,
}

impl<'a> Texts<'a> {
    /// `first_row` is what rows are counted from in errors. Fails with [`Error::NotText`].
    pub fn new(name: &'a str, array: &'a ArrayRef, first_row: usize, decoding: Decoding) -> Result<Self> {
        let values = match array.data_type() {
            DataType::Dictionary(_, values) => values,
            plain => plain,
        };
        match values {
            DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::Null => Ok(Self { name, array, first_row, decoding }),
            _ => Err(Error::NotText { column: name.to_owned(), data_type: array.data_type().clone() }),
        }
    }

    /// A row for each text. Each entry of a dictionary is cut and hashed once.
    pub fn matrix<T: Value>(&self, vectorizer: &Vectorizer, threads: NonZeroUsize) -> Result<Csr<T>> {
        let Some(dictionary) = self.array.as_any_dictionary_opt() else { return vectorizer.matrix(self, threads) };
        let codes = codes(dictionary.keys()).ok_or_else(|| self.damaged("a key is negative"))?;
        let mut first_use = vec![None; dictionary.values().len()];
        for (row, code) in codes.iter().enumerate() {
            if let Some(code) = code {
                let first =
                    first_use.get_mut(*code).ok_or_else(|| self.damaged("a key points outside the dictionary"))?;
                first.get_or_insert(row);
            }
        }
        let entries = Entries { texts: self, values: dictionary.values(), first_use: &first_use };
        let entries: Csr<T> = vectorizer.matrix(&entries, threads)?;
        let end = |at: usize| usize::try_from(entries.indptr[at]).unwrap_or(0);
        let span = |code: usize| end(code)..end(code + 1);
        // Rows may show the same long text over and over: a small column can have more values than memory holds.
        let mut total = 0_usize;
        for (row, code) in codes.iter().enumerate() {
            total = total.saturating_add(code.map_or(0, |code| span(code).len()));
            if i32::try_from(total).is_err() {
                let column = Some(self.name.to_owned());
                return Err(Error::TooManyValues { values: total, column, row: Some(self.first_row + row) });
            }
        }
        let mut rows = Csr::new(vectorizer.columns());
        for code in codes {
            if let Some(code) = code {
                let span = span(code);
                rows.indices.extend_from_slice(&entries.indices[span.clone()]);
                rows.data.extend_from_slice(&entries.data[span]);
            }
            rows.indptr.push(offset(rows.data.len())?);
        }
        Ok(rows)
    }

    fn decoded<'b>(&self, bytes: Option<&'b [u8]>, row: usize) -> Result<Cow<'b, str>> {
        let bytes = bytes.ok_or_else(|| self.damaged("an offset points outside the text"))?;
        self.decoding.decode(bytes).map_err(|byte| Error::NotUtf8 {
            column: Some(self.name.to_owned()),
            row: self.first_row + row,
            byte,
        })
    }

    fn damaged(&self, reason: &str) -> Error {
        Error::DamagedColumn { column: self.name.to_owned(), reason: reason.to_owned() }
    }
}

impl Documents for Texts<'_> {
    fn count(&self) -> usize {
        self.array.len()
    }

    fn size(&self) -> usize {
        size(self.array)
    }

    fn bytes(&self, row: usize) -> Option<&[u8]> {
        if is_null(self.array, row) { Some(&[]) } else { bytes(self.array, row) }
    }

    fn text(&self, row: usize) -> Result<Cow<'_, str>> {
        if is_null(self.array, row) {
            return Ok(Cow::Borrowed(""));
        }
        self.decoded(bytes(self.array, row), row)
    }
}

/// The entries of a dictionary, each under the first row that uses it.
struct Entries<'a> {
    texts: &'a Texts<'a>,
    values: &'a ArrayRef,
    first_use: &'a [Option<usize>],
}

impl Documents for Entries<'_> {
    fn count(&self) -> usize {
        self.values.len()
    }

    fn size(&self) -> usize {
        size(self.values)
    }

    fn bytes(&self, entry: usize) -> Option<&[u8]> {
        match self.first_use[entry] {
            Some(_) if !is_null(self.values, entry) => bytes(self.values, entry),
            _ => Some(&[]),
        }
    }

    fn text(&self, entry: usize) -> Result<Cow<'_, str>> {
        match self.first_use[entry] {
            Some(row) if !is_null(self.values, entry) => self.texts.decoded(bytes(self.values, entry), row),
            _ => Ok(Cow::Borrowed("")),
        }
    }
}

fn is_null(array: &ArrayRef, row: usize) -> bool {
    *array.data_type() == DataType::Null || array.is_null(row)
}

fn size(array: &ArrayRef) -> usize {
    array.get_buffer_memory_size()
}

/// Checks that all texts of a column are UTF-8, at any depth, so that whoever reads it next may take that on trust.
///
/// `first_row` is what rows are counted from in errors. Fails with [`Error::NotUtf8`], or with [`Error::DamagedColumn`]
/// where an offset or a key points outside.
pub fn check_utf8(name: &str, array: &ArrayRef, first_row: usize) -> Result<()> {
    let column = || name.to_owned();
    match broken(array) {
        None => Ok(()),
        Some(Broken { row, byte: Some(byte) }) => {
            Err(Error::NotUtf8 { column: Some(column()), row: first_row + row, byte })
        }
        Some(Broken { row, byte: None }) => {
            let reason = "an offset or a key points outside".to_owned();
            Err(Error::DamagedRow { column: column(), row: first_row + row, reason })
        }
    }
}

/// A text that is none: its row, and the byte at fault if its bytes could be found.
struct Broken {
    row: usize,
    byte: Option<usize>,
}

fn broken(array: &ArrayRef) -> Option<Broken> {
    match array.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            (0..array.len()).filter(|row| array.is_valid(*row)).find_map(|row| broken_text(array, row, row))
        }
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary_opt()?;
            let values = dictionary.values();
            let Some(codes) = codes(dictionary.keys()) else { return Some(Broken { row: 0, byte: None }) };
            let is_text = matches!(values.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
            let mut seen = vec![false; values.len()];
            codes.into_iter().enumerate().find_map(|(row, code)| {
                let code = code?;
                let Some(seen) = seen.get_mut(code) else { return Some(Broken { row, byte: None }) };
                if std::mem::replace(seen, true) || !is_text || values.is_null(code) {
                    return None;
                }
                broken_text(values, code, row)
            })
        }
        DataType::Struct(_) => array.as_struct().columns().iter().find_map(broken),
        DataType::List(_) => {
            let lists = array.as_list::<i32>();
            broken_item(lists.values(), |row| lists.value_offsets()[row + 1].to_usize(), lists.len())
        }
        DataType::LargeList(_) => {
            let lists = array.as_list::<i64>();
            broken_item(lists.values(), |row| lists.value_offsets()[row + 1].to_usize(), lists.len())
        }
        DataType::FixedSizeList(_, size) => {
            let size = size.to_usize();
            broken_item(array.as_fixed_size_list().values(), |row| size?.checked_mul(row + 1), array.len())
        }
        _ => None,
    }
}

fn broken_text(array: &ArrayRef, at: usize, row: usize) -> Option<Broken> {
    match bytes(array, at) {
        None => Some(Broken { row, byte: None }),
        Some(bytes) => Decoding::Strict.decode(bytes).err().map(|byte| Broken { row, byte: Some(byte) }),
    }
}

/// Of the items of lists that end where `end` says.
fn broken_item(items: &ArrayRef, end: impl Fn(usize) -> Option<usize>, rows: usize) -> Option<Broken> {
    let Broken { row: item, byte } = broken(items)?;
    let row = (0..rows).find(|row| end(*row).is_some_and(|end| item < end)).unwrap_or(0);
    Some(Broken { row, byte })
}

/// The bytes of a row, if they are where its offsets say.
#[inline]
fn bytes(array: &ArrayRef, row: usize) -> Option<&[u8]> {
    match array.data_type() {
        DataType::Utf8 => between(array.as_string::<i32>(), row),
        DataType::LargeUtf8 => between(array.as_string::<i64>(), row),
        DataType::Binary => between(array.as_binary::<i32>(), row),
        DataType::LargeBinary => between(array.as_binary::<i64>(), row),
        DataType::Utf8View => viewed(array.as_byte_view::<StringViewType>(), row),
        _ => viewed(array.as_byte_view::<BinaryViewType>(), row),
    }
}

#[inline]
fn between<T: ByteArrayType>(array: &GenericByteArray<T>, row: usize) -> Option<&[u8]> {
    let offsets = array.value_offsets();
    let (start, end) = (offsets.get(row)?.to_usize()?, offsets.get(row + 1)?.to_usize()?);
    array.value_data().get(start..end)
}

/// A view is 16 bytes: the length, and the text itself if it has at most 12, else four bytes of it, buffer and offset.
#[inline]
fn viewed<T: ByteViewType>(array: &GenericByteViewArray<T>, row: usize) -> Option<&[u8]> {
    let word = |bytes: &[u8]| Some(u32::from_le_bytes(*bytes.first_chunk()?) as usize);
    let view = arrow_buffer::ToByteSlice::to_byte_slice(array.views().get(row)?);
    let length = word(view)?;
    if length <= 12 {
        return view.get(4..4 + length);
    }
    let (buffer, start) = (word(view.get(8..)?)?, word(view.get(12..)?)?);
    array.data_buffers().get(buffer)?.as_slice().get(start..start.checked_add(length)?)
}

/// Dictionary keys as positions, or nothing if one is negative where it is not null.
fn codes(keys: &dyn Array) -> Option<Vec<Option<usize>>> {
    macro_rules! of {
        ($type:ty) => {
            positions(keys.as_primitive::<$type>().values().iter().map(|key| usize::try_from(*key).ok()), keys.nulls())
        };
    }
    match keys.data_type() {
        DataType::Int8 => of!(Int8Type),
        DataType::Int16 => of!(Int16Type),
        DataType::Int32 => of!(Int32Type),
        DataType::Int64 => of!(Int64Type),
        DataType::UInt8 => of!(UInt8Type),
        DataType::UInt16 => of!(UInt16Type),
        DataType::UInt32 => of!(UInt32Type),
        _ => of!(UInt64Type),
    }
}

fn positions(keys: impl Iterator<Item = Option<usize>>, nulls: Option<&NullBuffer>) -> Option<Vec<Option<usize>>> {
    keys.enumerate()
        .map(|(row, key)| match nulls {
            Some(nulls) if nulls.is_null(row) => Some(None),
            _ => key.map(Some),
        })
        .collect()
}
