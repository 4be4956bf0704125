//! Texts counted before they are looked up. A text of at most twelve bytes is one number, so that one which comes again
//! within a batch is found by a comparison, without a hash over its bytes and without a look at its bin.

use arrow_array::{Array, ArrayRef};

use super::count::{Damage, OFFSETS};
use super::read::Texts;

/// A text of so many bytes fits into a view of Arrow's.
const SHORT: usize = 12;
/// 24 KB with the counters: it stays in the first cache.
const SLOTS: usize = 1 << 10;

/// Calls `visit` with the texts that are there and how often, in no order; one text may be told several times.
/// Not for dictionaries, which count their keys.
pub(super) fn each_count(array: &ArrayRef, mut visit: impl FnMut(&[u8], u64)) -> Result<(), Damage> {
    let texts = Texts::of(array);
    let mut counter = Counter { keys: Box::new([0; SLOTS]), counts: Box::new([0; SLOTS]) };
    let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
    let mut add = |row: usize| {
        let text = texts.get(row).ok_or(OFFSETS)?;
        match view_of(text) {
            Some(view) => counter.add(view, &mut visit),
            None => visit(text, 1),
        }
        Ok::<_, Damage>(())
    };
    match (&texts, nulls) {
        (Texts::View(views), None) => {
            for (row, &view) in views.views().iter().enumerate() {
                if length(view) <= SHORT {
                    counter.add(view, &mut visit);
                } else {
                    visit(texts.get(row).ok_or(OFFSETS)?, 1);
                }
            }
        }
        (_, None) => (0..array.len()).try_for_each(add)?,
        (_, Some(nulls)) => nulls.valid_indices().try_for_each(&mut add)?,
    }
    for (key, count) in counter.keys.iter().zip(counter.counts.iter()).filter(|(_, count)| **count > 0) {
        told(*key, *count, &mut visit);
    }
    Ok(())
}

/// A table in which each text has one place: whoever comes first to it is counted there, the others are told at once.
struct Counter {
    keys: Box<[u128; SLOTS]>,
    counts: Box<[u64; SLOTS]>,
}

impl Counter {
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a call a row takes as long as the count")]
    fn add(&mut self, view: u128, visit: &mut impl FnMut(&[u8], u64)) {
        #[allow(clippy::cast_possible_truncation, reason = "both halves are used")]
        let folded = (view as u64 ^ (view >> 64) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        #[allow(clippy::cast_possible_truncation, reason = "ten bits")]
        let slot = (folded >> 54) as usize & (SLOTS - 1);
        let (key, count) = (&mut self.keys[slot], &mut self.counts[slot]);
        // The empty text is zero, as a place is that nobody came to.
        if *key != view {
            if *count > 0 {
                return told(view, 1, visit);
            }
            *key = view;
        }
        *count += 1;
    }
}

#[inline(never)]
fn told(view: u128, count: u64, visit: &mut impl FnMut(&[u8], u64)) {
    visit(view.to_le_bytes().get(4..4 + length(view)).unwrap_or_default(), count);
}

#[inline]
#[allow(clippy::cast_possible_truncation, reason = "the low four bytes are the length")]
fn length(view: u128) -> usize {
    view as u32 as usize
}

/// Arrow's view of a text that fits into it: the length in the low four bytes, then the text, then zeros.
#[inline]
fn view_of(text: &[u8]) -> Option<u128> {
    let word = |bytes: &[u8]| bytes.first_chunk().map_or(0, |chunk| u128::from(u64::from_le_bytes(*chunk)));
    let half = |bytes: &[u8]| bytes.first_chunk().map_or(0, |chunk| u128::from(u32::from_le_bytes(*chunk)));
    // The two reads overlap where there are fewer bytes than both have.
    let bytes = match text.len() {
        8..=SHORT => word(text) | half(&text[text.len() - 4..]) << (8 * (text.len() - 4)),
        4..8 => half(text) | half(&text[text.len() - 4..]) << (8 * (text.len() - 4)),
        0..4 => text.iter().rev().fold(0, |bytes, &byte| bytes << 8 | u128::from(byte)),
        _ => return None,
    };
    Some(bytes << 32 | text.len() as u128)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use arrow_array::{LargeStringArray, StringArray, StringViewArray};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_view_is_arrows() {
        for text in ["", "a", "ab", "abc", "abcd", "abcde", "abcdefg", "abcdefgh", "abcdefghi", "abcdefghijkl", "é€"]
        {
            let views = StringViewArray::from(vec![text]);
            assert_eq!(view_of(text.as_bytes()), Some(views.views()[0]), "{text:?}");
        }
        assert_eq!(view_of(b"abcdefghijklm"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// More different texts than places, short and long, with nulls.
        #[test]
        fn counts_are_those_of_a_map(
            texts in prop::collection::vec(prop::option::weighted(0.9, "[ab]{0,14}|é[a-d]{0,3}"), 0..4000),
        ) {
            let mut expected: HashMap<Vec<u8>, u64> = HashMap::new();
            for text in texts.iter().flatten() {
                *expected.entry(text.as_bytes().to_vec()).or_default() += 1;
            }
            let arrays: [ArrayRef; 3] = [
                Arc::new(StringViewArray::from_iter(&texts)),
                Arc::new(StringArray::from_iter(&texts)),
                Arc::new(LargeStringArray::from_iter(&texts)),
            ];
            for array in arrays {
                let mut found: HashMap<Vec<u8>, u64> = HashMap::new();
                let each = each_count(&array, |text, count| *found.entry(text.to_vec()).or_default() += count);
                prop_assert_eq!(each, Ok(()));
                prop_assert_eq!(&found, &expected);
            }
        }
    }
}
