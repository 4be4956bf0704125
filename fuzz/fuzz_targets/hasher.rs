//! Whatever buffers come as columns of strings: an error, or what a map for each row gives; never a panic.
#![no_main]

use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, LargeStringArray, RecordBatch, StringArray, StringViewArray};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use headrace_core::hasher::{Frame, Hasher, Mode, Options, Secret};
use headrace_core::murmur::murmur3;
use libfuzzer_sys::fuzz_target;

fn column(kind: u8, rows: usize, marks: &[u8], data: &[u8], nulls: Option<NullBuffer>) -> ArrayRef {
    let mark = |row: usize| i32::from(marks[row % marks.len()]);
    // Offsets may lead back and outside of the data, as views may, and the data need not be UTF-8.
    let small: Vec<i32> = (0..=rows).scan(0, |end, row| {
        *end += mark(row) % 16 - mark(row) / 250;
        Some(*end)
    }).collect();
    let bytes = Buffer::from(data);
    match kind % 3 {
        0 => {
            // SAFETY: it is not safe, which is what is tested; headrace-core itself has no unsafe code.
            let offsets = unsafe { OffsetBuffer::new_unchecked(ScalarBuffer::from(small)) };
            Arc::new(unsafe { StringArray::new_unchecked(offsets, bytes, nulls) })
        }
        1 => {
            let wide: Vec<i64> = small.into_iter().map(i64::from).collect();
            // SAFETY: as above.
            let offsets = unsafe { OffsetBuffer::new_unchecked(ScalarBuffer::from(wide)) };
            Arc::new(unsafe { LargeStringArray::new_unchecked(offsets, bytes, nulls) })
        }
        _ => {
            let views: Vec<u128> = (0..rows)
                .map(|row| {
                    let mut view = [0; 16];
                    let from = row * 7 % data.len().max(1);
                    let part = &data[from..data.len().min(from + 12)];
                    view[4..4 + part.len()].copy_from_slice(part);
                    u128::from_le_bytes(view) | u128::from(marks[row % marks.len()] % 20)
                })
                .collect();
            // SAFETY: as above.
            Arc::new(unsafe { StringViewArray::new_unchecked(ScalarBuffer::from(views), vec![bytes], nulls) })
        }
    }
}

/// The value, if it is where it should be and is text.
fn value(array: &ArrayRef, row: usize) -> Option<String> {
    let text = |bytes: Option<&[u8]>| bytes.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
    if let Some(array) = array.as_any().downcast_ref::<StringArray>() {
        let (from, to) = (array.value_offsets()[row], array.value_offsets()[row + 1]);
        return text(array.value_data().get(usize::try_from(from).ok()?..usize::try_from(to).ok()?));
    }
    if let Some(array) = array.as_any().downcast_ref::<LargeStringArray>() {
        let (from, to) = (array.value_offsets()[row], array.value_offsets()[row + 1]);
        return text(array.value_data().get(usize::try_from(from).ok()?..usize::try_from(to).ok()?));
    }
    let array = array.as_any().downcast_ref::<StringViewArray>()?;
    let view = array.views()[row].to_le_bytes();
    let number = |at: usize| u32::from_le_bytes([view[at], view[at + 1], view[at + 2], view[at + 3]]) as usize;
    let length = number(0);
    if length <= 12 {
        return text(view.get(4..4 + length));
    }
    text(array.data_buffers().get(number(8))?.get(number(12)..number(12).checked_add(length)?))
}

fuzz_target!(|input: &[u8]| {
    let [mode, columns, width, rows, cut, repeat, rest @ ..] = input else { return };
    if rest.len() < 8 {
        return;
    }
    // Now and then so many rows that values are remembered.
    let rows = usize::from(*rows) * if *repeat == 7 { 40 } else { 1 };
    let (marks, data) = rest.split_at(rest.len() / 4);
    let nulls = |number: usize| {
        (number % 2 == 1).then(|| (0..rows).map(|row| data[row % data.len()] % 5 > 0).collect::<NullBuffer>())
    };
    let names = ["", "c", "é=", "a longer name"];
    let arrays: Vec<(&str, ArrayRef)> = (0..usize::from(*columns) % 4 + 1)
        .map(|number| {
            (names[number], column(marks[number % marks.len()], rows, marks, &data[number % data.len()..], nulls(number)))
        })
        .collect();
    let Ok(whole) = RecordBatch::try_from_iter_with_nullable(arrays.iter().map(|(name, array)| (*name, array.clone(), true)))
    else {
        return;
    };
    let cut = usize::from(*cut) % (rows + 1);
    let parts = [whole.slice(0, cut), whole.slice(cut, rows - cut)];
    let places = [1, 2, 10, 1 << 18, i32::MAX][usize::from(*width) % 5];
    let mode = [Mode::Sklearn, Mode::Spark, Mode::Keyed(Secret([7; 16]))][usize::from(*mode) % 3].clone();
    let plain = mode == Mode::Sklearn;
    let hasher = Hasher::new(Options { columns: places, mode, signed: true, categorical: HashSet::new() })
        .expect("the options are valid");
    let one = NonZeroUsize::MIN;
    let made = hasher.sparse::<f64>(Frame::Named, &whole.schema(), std::slice::from_ref(&whole), one);
    let cut = hasher.sparse::<f64>(Frame::Named, &whole.schema(), &parts, one);
    assert_eq!(made.as_ref().ok(), cut.as_ref().ok());
    let Ok(made) = made else { return };
    assert_eq!(made.rows(), rows);
    for row in 0..rows {
        let mut sums = BTreeMap::new();
        for (name, array) in arrays.iter().filter(|(_, array)| array.is_valid(row)) {
            let value = value(array, row).expect("what is no text is an error");
            let hash = murmur3(format!("{name}={value}").as_bytes(), 0);
            let place = i32::try_from(i64::from(hash).abs() % i64::from(places)).expect("it is smaller");
            *sums.entry(place).or_insert(0.0) += if hash < 0 { -1.0 } else { 1.0 };
        }
        let span = usize::try_from(made.indptr[row]).unwrap()..usize::try_from(made.indptr[row + 1]).unwrap();
        let found = made.indices[span.clone()].iter().copied().zip(made.data[span].iter().copied());
        if plain {
            assert_eq!(found.collect::<Vec<_>>(), sums.into_iter().collect::<Vec<_>>());
        } else {
            assert!(found.count() <= arrays.len());
        }
    }
});
