//! Profiles against brute force, and the laws that windows obey.

mod bytes;
mod counts;
mod laws;

use std::num::NonZeroUsize;
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray, StringViewArray,
};
use headrace_core::profile::{Options, Profile, Threads, Window};
use proptest::prelude::*;

/// A row of every plain kind of column.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) number: Option<f64>,
    pub(crate) integer: Option<i64>,
    pub(crate) flag: Option<bool>,
    pub(crate) text: Option<String>,
    pub(crate) weight: f64,
}

pub(crate) fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => -10.0..10.0_f64,
        3 => (0..5).prop_map(f64::from),
        1 => any::<f64>(),
        1 => prop::sample::select(vec![
            -0.0, 0.0, f64::NAN, -f64::NAN, f64::from_bits(0x7ff0_0000_0000_0001), f64::INFINITY, f64::NEG_INFINITY,
            f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, -5e-324, 1e300, 1e-300,
        ]),
    ]
}

pub(crate) fn row() -> impl Strategy<Value = Row> {
    let text = prop_oneof![4 => "[abc]", 2 => "[a-z]{2,20}", 1 => "\\PC{0,30}"];
    (
        prop::option::weighted(0.9, number()),
        prop::option::weighted(0.9, -3..40_i64),
        prop::option::weighted(0.8, any::<bool>()),
        prop::option::weighted(0.9, text),
        prop_oneof![Just(1.0), 0.0..3.0_f64, Just(65_536.0)],
    )
        .prop_map(|(number, integer, flag, text, weight)| Row { number, integer, flag, text, weight })
}

pub(crate) fn rows(most: usize) -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec(row(), 0..most)
}

/// Rows as a frame; texts as strings, views or a dictionary.
pub(crate) fn batch(rows: &[Row], layout: usize) -> RecordBatch {
    let texts = || rows.iter().map(|row| row.text.as_deref());
    let text: ArrayRef = match layout % 3 {
        0 => Arc::new(texts().collect::<StringArray>()),
        1 => Arc::new(texts().collect::<StringViewArray>()),
        _ => Arc::new(texts().collect::<DictionaryArray<Int32Type>>()),
    };
    RecordBatch::try_from_iter_with_nullable([
        ("number", Arc::new(rows.iter().map(|row| row.number).collect::<Float64Array>()) as ArrayRef, true),
        ("integer", Arc::new(rows.iter().map(|row| row.integer).collect::<Int64Array>()), true),
        ("flag", Arc::new(rows.iter().map(|row| row.flag).collect::<BooleanArray>()), true),
        ("text", text, true),
        ("weight", Arc::new(rows.iter().map(|row| Some(row.weight)).collect::<Float64Array>()), true),
    ])
    .unwrap()
}

pub(crate) fn threads(count: usize) -> Threads {
    Threads::new(NonZeroUsize::new(count).unwrap())
}

pub(crate) fn options(weighted: bool) -> Options {
    Options {
        columns: Some(["number", "integer", "flag", "text"].map(str::to_owned).to_vec()),
        weight: weighted.then(|| "weight".to_owned()),
        segments: Some("text".to_owned()),
        pairs: vec![("number".to_owned(), "text".to_owned()), ("flag".to_owned(), "integer".to_owned())],
        ..Options::default()
    }
}

/// A profile of the batch, cut into pieces of these lengths.
pub(crate) fn fit(batch: &RecordBatch, cuts: &[usize], options: &Options, count: usize) -> Profile {
    let pieces = pieces(batch, cuts);
    let mut threads = threads(count);
    Profile::fit(&batch.schema(), || pieces.iter().cloned().map(Ok), options.clone(), &mut threads).unwrap()
}

pub(crate) fn pieces(batch: &RecordBatch, cuts: &[usize]) -> Vec<RecordBatch> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (batch.num_rows() + 1)).collect();
    ends.push(batch.num_rows());
    ends.sort_unstable();
    let starts = std::iter::once(0).chain(ends.clone());
    starts.zip(&ends).map(|(start, end)| batch.slice(start, end - start)).collect()
}

pub(crate) fn counted(profile: &Profile, batch: &RecordBatch, cuts: &[usize], count: usize) -> Window {
    let mut window = profile.window();
    let mut threads = threads(count);
    let reader = window.reader(&batch.schema(), true).unwrap();
    for piece in pieces(batch, cuts) {
        window.update(&piece, &reader, &mut threads).unwrap();
    }
    window
}
