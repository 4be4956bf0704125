//! Tensors as bytes: Triton's extension of the Open Inference Protocol. Little-endian, row after row; a text is its length
//! as an unsigned 32-bit number and its bytes, a boolean is one byte.

use super::cells::Cells;
use crate::tensor::{Data, Kind};

/// What stands behind the JSON of a request, taken from the front.
#[derive(Debug)]
pub struct Tail<'a> {
    /// What was not taken yet.
    pub left: &'a [u8],
}

impl<'a> Tail<'a> {
    /// The next `size` bytes.
    pub fn take(&mut self, size: u64) -> Result<&'a [u8], String> {
        let taken = usize::try_from(size).ok().and_then(|size| self.left.split_at_checked(size));
        let Some((taken, left)) = taken else {
            let left = self.left.len();
            return Err(format!("its binary_data_size is {size}, of the body {left} bytes are left"));
        };
        self.left = left;
        Ok(taken)
    }
}

/// Values of a kind; `Err` says in a line what is wrong.
pub fn data(bytes: &[u8], kind: Kind, count: usize) -> Result<Data, String> {
    Ok(match kind {
        Kind::F32 => Data::F32(numbers(bytes, count, f32::from_le_bytes)?),
        Kind::F64 => Data::F64(numbers(bytes, count, f64::from_le_bytes)?),
        Kind::I32 => Data::I32(numbers(bytes, count, i32::from_le_bytes)?),
        Kind::I64 => Data::I64(numbers(bytes, count, i64::from_le_bytes)?),
        Kind::Bool => Data::Bool(booleans(bytes, count)?),
        Kind::Text => Data::Text(texts(bytes, count)?.into_iter().map(str::to_owned).collect()),
    })
}

/// Values of a datatype of the protocol as cells of a column.
pub fn cells(bytes: &[u8], datatype: &str, count: usize) -> Result<Cells, String> {
    // Their number follows from the bytes, which are there; `count` is only what the client says.
    let mut cells = Cells::with_capacity(bytes.len().min(count));
    match datatype {
        "BOOL" => booleans(bytes, count)?.into_iter().for_each(|value| cells.whole(value)),
        "INT8" => numbers(bytes, count, i8::from_le_bytes)?.into_iter().for_each(|value| cells.whole(value)),
        "INT16" => numbers(bytes, count, i16::from_le_bytes)?.into_iter().for_each(|value| cells.whole(value)),
        "INT32" => numbers(bytes, count, i32::from_le_bytes)?.into_iter().for_each(|value| cells.whole(value)),
        "INT64" => numbers(bytes, count, i64::from_le_bytes)?.into_iter().for_each(|value| cells.whole(value)),
        "UINT8" => numbers(bytes, count, u8::from_le_bytes)?.into_iter().for_each(|value| cells.whole(value)),
        "UINT16" => numbers(bytes, count, u16::from_le_bytes)?.into_iter().for_each(|value| cells.whole(value)),
        "UINT32" => numbers(bytes, count, u32::from_le_bytes)?.into_iter().for_each(|value| cells.whole(value)),
        "UINT64" => numbers(bytes, count, u64::from_le_bytes)?.into_iter().for_each(|value| cells.whole(value)),
        "FP32" => {
            numbers(bytes, count, f32::from_le_bytes)?.into_iter().for_each(|value| cells.float(f64::from(value)));
        }
        "FP64" => numbers(bytes, count, f64::from_le_bytes)?.into_iter().for_each(|value| cells.float(value)),
        "BYTES" => texts(bytes, count)?.into_iter().for_each(|value| cells.text(value)),
        other => return Err(format!("{other} is not understood as bytes; send FP32")),
    }
    Ok(cells)
}

fn numbers<const SIZE: usize, T>(bytes: &[u8], count: usize, from: fn([u8; SIZE]) -> T) -> Result<Vec<T>, String> {
    if count.checked_mul(SIZE) != Some(bytes.len()) {
        let found = bytes.len();
        return Err(format!("its binary data has {found} bytes, {count} values of {SIZE} bytes were expected"));
    }
    let (values, _) = bytes.as_chunks::<SIZE>();
    Ok(values.iter().map(|value| from(*value)).collect())
}

fn booleans(bytes: &[u8], count: usize) -> Result<Vec<bool>, String> {
    let values = numbers(bytes, count, u8::from_le_bytes)?;
    if let Some(wrong) = values.iter().find(|value| **value > 1) {
        return Err(format!("its binary data holds {wrong} as a boolean, expected 0 or 1"));
    }
    Ok(values.into_iter().map(|value| value == 1).collect())
}

fn texts(bytes: &[u8], count: usize) -> Result<Vec<&str>, String> {
    let mut texts = Vec::with_capacity(count.min(bytes.len() / 4));
    let mut left = bytes;
    while !left.is_empty() {
        let number = texts.len();
        let cut = || format!("its binary data ends within the text {number}");
        let (length, rest) = left.split_first_chunk::<4>().ok_or_else(cut)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| cut())?;
        let (text, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
        texts.push(std::str::from_utf8(text).map_err(|_| format!("the text {number} is not UTF-8"))?);
        left = rest;
    }
    if texts.len() != count {
        let found = texts.len();
        return Err(format!("its binary data has {found} texts, {count} were expected"));
    }
    Ok(texts)
}

/// Values as bytes.
#[must_use]
pub fn bytes(data: &Data) -> Vec<u8> {
    fn of<const SIZE: usize, T: Copy>(values: &[T], to: fn(T) -> [u8; SIZE]) -> Vec<u8> {
        values.iter().flat_map(|value| to(*value)).collect()
    }
    match data {
        Data::F32(values) => of(values, f32::to_le_bytes),
        Data::F64(values) => of(values, f64::to_le_bytes),
        Data::I32(values) => of(values, i32::to_le_bytes),
        Data::I64(values) => of(values, i64::to_le_bytes),
        Data::Bool(values) => values.iter().map(|value| u8::from(*value)).collect(),
        Data::Text(values) => {
            let mut out = Vec::with_capacity(values.iter().map(|text| text.len() + 4).sum());
            for text in values {
                // A text is far shorter than 4 GiB: it came in a request, or with the model.
                out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
                out.extend_from_slice(text.as_bytes());
            }
            out
        }
    }
}
