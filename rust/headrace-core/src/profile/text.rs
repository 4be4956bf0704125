//! Texts: how long they are, how many words they have, and which.
//!
//! A word is a longest run of letters and digits (Unicode's `Alphabetic`, `Nd`, `Nl`, `No`), in small letters.

use arrow_array::{Array, ArrayRef};

use super::count::{Damage, OFFSETS, Weights, Workspace, count_values};
use super::counts::{ColumnCounts, LaneCounts};
use super::dictionary;
use super::plan::{ColumnPlan, LaneBins};
use super::read::Texts;

/// The most words with a bin of their own.
pub(super) const MAX_WORDS: usize = 256;

/// Calls `visit` for each word; gives how many characters and how many words there are.
pub(super) fn measure(text: &[u8], mut visit: impl FnMut(&[u8])) -> (usize, usize) {
    let text = String::from_utf8_lossy(text);
    let mut words = 0;
    for word in text.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty()) {
        words += 1;
        if word.bytes().any(|byte| byte >= 0x80 || byte.is_ascii_uppercase()) {
            visit(word.to_lowercase().as_bytes());
        } else {
            visit(word.as_bytes());
        }
    }
    (text.chars().count(), words)
}

/// Calls `visit` for each row that is not null, in order.
pub(super) fn each_text(array: &ArrayRef, mut visit: impl FnMut(usize, &[u8])) -> Result<(), Damage> {
    if let Some((keys, texts)) = dictionary::parts(array) {
        let words = Texts::of(texts);
        for (row, number) in dictionary::key_rows(keys, texts.len())?.into_iter().enumerate() {
            if let Some(number) = number.filter(|number| texts.is_valid(*number)) {
                visit(row, words.get(number).ok_or(OFFSETS)?);
            }
        }
        return Ok(());
    }
    let words = Texts::of(array);
    for row in (0..array.len()).filter(|row| array.is_valid(*row)) {
        visit(row, words.get(row).ok_or(OFFSETS)?);
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "lengths")]
pub(super) fn count(
    plan: &ColumnPlan,
    array: &ArrayRef,
    weights: Weights<'_>,
    counts: &mut ColumnCounts,
    workspace: &mut Workspace,
) -> Result<(), Damage> {
    let ([length_lane, tokens_lane, words_lane], [length_counts, tokens_counts, LaneCounts::Nominal { cells }]) =
        (plan.lanes.as_slice(), counts.lanes.as_mut_slice())
    else {
        return Ok(());
    };
    let LaneBins::Nominal(bins) = &words_lane.bins else { return Ok(()) };
    let (mut lengths, mut tokens, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    each_text(array, |row, text| {
        let weight = weights.map_or(1, |weights| weights.get(row).copied().unwrap_or(0));
        let (length, words) = measure(text, |word| {
            let cell = &mut cells[bins.cell(word)];
            *cell = cell.saturating_add(weight);
        });
        lengths.push(length as f64);
        tokens.push(words as f64);
        kept.push(weight);
    })?;
    let kept = weights.map(|_| kept.as_slice());
    count_values(length_lane, &lengths, kept, length_counts, workspace);
    count_values(tokens_lane, &tokens, kept, tokens_counts, workspace);
    Ok(())
}
