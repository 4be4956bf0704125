//! Keys of values that stand in a dictionary: hashed once, and looked up by their codes.

use std::ops::Range;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{Array as _, ArrayRef, ArrowPrimitiveType};
use arrow_buffer::{ArrowNativeType as _, NullBuffer};
use arrow_schema::DataType;

use super::column::Filled;
use super::scheme::ABSENT;
use super::strings::Fault;

/// Appends what the dictionary has for these rows.
pub(super) fn gather(codes: &ArrayRef, rows: Range<usize>, dictionary: &Filled, out: &mut Filled) -> Result<(), Fault> {
    match codes.data_type() {
        DataType::Int8 => gather_by::<Int8Type>(codes, rows, dictionary, out),
        DataType::Int16 => gather_by::<Int16Type>(codes, rows, dictionary, out),
        DataType::Int32 => gather_by::<Int32Type>(codes, rows, dictionary, out),
        DataType::Int64 => gather_by::<Int64Type>(codes, rows, dictionary, out),
        DataType::UInt8 => gather_by::<UInt8Type>(codes, rows, dictionary, out),
        DataType::UInt16 => gather_by::<UInt16Type>(codes, rows, dictionary, out),
        DataType::UInt32 => gather_by::<UInt32Type>(codes, rows, dictionary, out),
        _ => gather_by::<UInt64Type>(codes, rows, dictionary, out),
    }
}

fn gather_by<T: ArrowPrimitiveType>(
    codes: &ArrayRef,
    rows: Range<usize>,
    dictionary: &Filled,
    out: &mut Filled,
) -> Result<(), Fault> {
    let outside = Fault::Damaged("a key points outside its dictionary");
    let nulls: Option<NullBuffer> = codes.nulls().map(|nulls| nulls.slice(rows.start, rows.len()));
    let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
    let codes = &codes.as_primitive::<T>().values()[rows];
    let size = dictionary.keys.len();
    let mut inside = true;
    match nulls {
        None => out.keys.extend(codes.iter().map(|code| {
            let key = dictionary.keys.get(code.as_usize());
            inside &= key.is_some();
            key.copied().unwrap_or(ABSENT)
        })),
        Some(nulls) => out.keys.extend(codes.iter().zip(&nulls).map(|(code, valid)| {
            let key = if valid { dictionary.keys.get(code.as_usize()) } else { Some(&ABSENT) };
            inside &= key.is_some();
            key.copied().unwrap_or(ABSENT)
        })),
    }
    if !inside {
        return Err(outside);
    }
    if !dictionary.values.is_empty() {
        let value = |code: &T::Native| if code.as_usize() < size { dictionary.values[code.as_usize()] } else { 0.0 };
        out.values.extend(codes.iter().map(value));
    }
    Ok(())
}
