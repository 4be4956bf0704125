//! Columns that say each text once: their keys are counted, and a text is looked up once a batch.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    ArrowDictionaryKeyType, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, PrimitiveArray};
use arrow_buffer::ArrowNativeType as _;
use arrow_schema::DataType;

/// The key type of a dictionary array, put into a macro's or a function's type parameter.
macro_rules! with_keys {
    ($keys:expr, $call:ident $(, $argument:expr)*) => {
        match $keys.data_type() {
            DataType::Int8 => $call($keys.as_primitive::<Int8Type>() $(, $argument)*),
            DataType::Int16 => $call($keys.as_primitive::<Int16Type>() $(, $argument)*),
            DataType::Int32 => $call($keys.as_primitive::<Int32Type>() $(, $argument)*),
            DataType::Int64 => $call($keys.as_primitive::<Int64Type>() $(, $argument)*),
            DataType::UInt8 => $call($keys.as_primitive::<UInt8Type>() $(, $argument)*),
            DataType::UInt16 => $call($keys.as_primitive::<UInt16Type>() $(, $argument)*),
            DataType::UInt32 => $call($keys.as_primitive::<UInt32Type>() $(, $argument)*),
            _ => $call($keys.as_primitive::<UInt64Type>() $(, $argument)*),
        }
    };
}

pub(super) const OUTSIDE: &str = "a dictionary key points outside its dictionary";

/// How many rows have each key. Null keys are counted nowhere.
pub(super) fn key_counts(keys: &dyn Array, texts: usize) -> Result<Vec<u64>, String> {
    with_keys!(keys, count_keys, texts)
}

fn count_keys<K: ArrowDictionaryKeyType>(keys: &PrimitiveArray<K>, texts: usize) -> Result<Vec<u64>, String> {
    // Several rows of counters, because a counter that was just raised cannot be raised again at once; a slot more for
    // keys that point outside, whatever is under a null among them.
    let mut counts = vec![[0_u32; 4]; texts + 1];
    let mut totals = vec![0_u64; texts + 1];
    let nulls = keys.nulls().filter(|nulls| nulls.null_count() > 0);
    for (block, values) in keys.values().chunks(1 << 30).enumerate() {
        if let Some(nulls) = nulls {
            let bits = nulls.inner().slice(block << 30, values.len());
            for (word, values) in bits.bit_chunks().iter_padded().zip(values.chunks(64)) {
                for (bit, key) in values.iter().enumerate() {
                    let key = key.to_usize().unwrap_or(texts).min(texts);
                    counts[key][bit & 3] += u32::from(word >> bit & 1 == 1);
                }
            }
        } else {
            let (fours, rest) = values.as_chunks::<4>();
            for four in fours {
                for (lane, key) in four.iter().enumerate() {
                    counts[key.to_usize().unwrap_or(texts).min(texts)][lane] += 1;
                }
            }
            for key in rest {
                counts[key.to_usize().unwrap_or(texts).min(texts)][0] += 1;
            }
        }
        for (total, counts) in totals.iter_mut().zip(&mut counts) {
            *total += std::mem::take(counts).iter().map(|count| u64::from(*count)).sum::<u64>();
        }
    }
    match totals.pop() {
        Some(0) => Ok(totals),
        _ => Err(OUTSIDE.to_owned()),
    }
}

/// The text number of each row, if it has one.
pub(super) fn key_rows(keys: &dyn Array, texts: usize) -> Result<Vec<Option<usize>>, String> {
    with_keys!(keys, rows_of, texts)
}

fn rows_of<K: ArrowDictionaryKeyType>(keys: &PrimitiveArray<K>, texts: usize) -> Result<Vec<Option<usize>>, String> {
    let check = |key: Option<K::Native>| match key {
        None => Ok(None),
        Some(key) => key.to_usize().filter(|key| *key < texts).map(Some).ok_or_else(|| OUTSIDE.to_owned()),
    };
    keys.iter().map(check).collect()
}

/// Keys and texts of a dictionary array of texts.
pub(super) fn parts(array: &ArrayRef) -> Option<(&dyn Array, &ArrayRef)> {
    array.as_any_dictionary_opt().map(|dictionary| (dictionary.keys(), dictionary.values()))
}
