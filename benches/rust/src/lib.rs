//! Columns and texts to measure with: seeded, of one shape each.
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "data")]

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, Float64Array, ListArray, RecordBatch, StringViewArray};

/// A number that looks random and is the same in every run (`SplitMix64`).
fn scatter(index: usize) -> u64 {
    let mut z = (index as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One column of `rows` rows for each shape, by name.
#[must_use]
pub fn shapes(rows: usize) -> Vec<(&'static str, ArrayRef)> {
    let word = |index: usize| ["EWR", "LGA", "JFK", "a longer one than a view holds"][(scatter(index) % 4) as usize];
    vec![
        ("float64", Arc::new((0..rows).map(|index| Some(f64::from_bits(scatter(index)))).collect::<Float64Array>())),
        (
            "float64, a third null",
            Arc::new(
                (0..rows)
                    .map(|index| (!scatter(index).is_multiple_of(3)).then(|| f64::from_bits(scatter(index))))
                    .collect::<Float64Array>(),
            ),
        ),
        ("string", Arc::new((0..rows).map(|index| Some(word(index))).collect::<StringViewArray>())),
        ("categorical", Arc::new((0..rows).map(|index| Some(word(index))).collect::<DictionaryArray<Int32Type>>())),
        (
            "list of 4 int32",
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(
                (0..rows / 4).map(|row| Some((0..4).map(move |index| i32::try_from(row + index).ok()))),
            )),
        ),
    ]
}

/// A batch of one column.
///
/// # Panics
/// Never: a batch of one column always fits itself.
#[must_use]
pub fn batch(column: &ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([("x", Arc::clone(column), true)]).expect("one column is a batch")
}

/// Texts of about a hundred words, drawn from 20,000 as natural languages draw them (Zipf), by the kind of their letters.
#[must_use]
pub fn texts(documents: usize) -> Vec<(&'static str, Vec<String>)> {
    const WORDS: usize = 20_000;
    let word = |letters: &[char], index: usize| -> String {
        let length = 1 + (scatter(index) % 5 + scatter(index + WORDS) % 5) as usize;
        let letter = |place: usize| letters[(scatter(index * 31 + place) % letters.len() as u64) as usize];
        (0..length).map(letter).collect()
    };
    let latin: Vec<char> = ('a'..='z').collect();
    let mixed: Vec<char> = "abcdefghijklmnoprstuéüабвгдежзийклмнопрстуфхцч日本語".chars().collect();
    [("ASCII", latin), ("mixed Unicode", mixed)]
        .into_iter()
        .map(|(kind, letters)| {
            let texts = (0..documents).map(|document| {
                let mut text = String::new();
                for place in 0..50 + scatter(document) % 100 {
                    let chance = scatter(document * 1_000 + place as usize) as f64 / u64::MAX as f64;
                    // The inverse of a distribution whose density falls as one over the rank.
                    let rank = (WORDS as f64).powf(chance) as usize - 1;
                    text.push_str(&word(&letters, rank));
                    text.push(' ');
                }
                text
            });
            (kind, texts.collect())
        })
        .collect()
}
