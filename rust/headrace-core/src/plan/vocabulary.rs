//! Texts to their positions, built once a plan, and asked for each value.
//!
//! A text of up to twelve bytes is held as Arrow's string views hold it: its length and its bytes in one 128-bit number,
//! so that a look-up is a multiplication and one comparison. Whole numbers and floats are looked up as numbers; a text of
//! the vocabulary that is not how such a number is written can never be met, and is left out.

use hashbrown::HashMap;

use super::types::{ColumnType, Family, Width};
use crate::value::{write_f32, write_f64};

/// The longest text that a view holds in itself.
pub(super) const INLINE: usize = 12;

/// A text of at most [`INLINE`] bytes as a number: its length in the lowest 32 bits, its bytes above.
#[inline]
pub(super) fn inline_key(bytes: &[u8]) -> u128 {
    let mut padded = [0_u8; 16];
    padded[4..4 + bytes.len()].copy_from_slice(bytes);
    u128::from_le_bytes(padded) | bytes.len() as u128
}

/// Positions of texts.
#[derive(Debug)]
pub(super) struct Vocabulary {
    short: ShortIndex,
    long: HashMap<Box<[u8]>, u32>,
    whole: WholeIndex,
    real: HashMap<u64, u32>,
    /// Positions of `false` and `true`.
    booleans: [u32; 2],
    size: u32,
}

impl Vocabulary {
    /// `key`: the type whose values are looked up, if it is one column and no cross.
    pub(super) fn new(texts: &[&str], key: Option<&ColumnType>) -> Self {
        let size = u32::try_from(texts.len()).unwrap_or(u32::MAX);
        let unseen = size.saturating_add(1);
        let mut long = HashMap::new();
        let mut short = Vec::new();
        let (mut whole, mut real, mut booleans) = (Vec::new(), HashMap::new(), [unseen; 2]);
        for (text, position) in texts.iter().zip(0..size) {
            match key.map(|key| (key.family, key.width)) {
                Some((Family::Integer, _)) => whole.extend(canonical_integer(text).map(|value| (value, position))),
                Some((Family::Float, width @ (Width::Single | Width::Half | Width::Double))) => {
                    real.extend(canonical_float(text, width).map(|bits| (bits, position)));
                }
                Some((Family::Boolean, _)) => match *text {
                    "false" => booleans[0] = position,
                    "true" => booleans[1] = position,
                    _ => {}
                },
                _ if text.len() <= INLINE => short.push((inline_key(text.as_bytes()), position)),
                _ => {
                    long.insert(Box::from(text.as_bytes()), position);
                }
            }
        }
        Self { short: ShortIndex::new(&short), long, whole: WholeIndex::new(whole), real, booleans, size }
    }

    /// What stands for a missing value.
    #[inline]
    pub(super) fn missing(&self) -> u32 {
        self.size
    }

    /// What stands for a text that is not in it.
    #[inline]
    pub(super) fn unseen(&self) -> u32 {
        self.size + 1
    }

    /// The position of a text of at most [`INLINE`] bytes, given as [`inline_key`] gives it.
    #[inline]
    pub(super) fn of_inline(&self, key: u128) -> u32 {
        self.short.get(key).unwrap_or(self.size + 1)
    }

    #[inline]
    pub(super) fn of_bytes(&self, bytes: &[u8]) -> u32 {
        if bytes.len() <= INLINE {
            self.of_inline(inline_key(bytes))
        } else {
            self.long.get(bytes).copied().unwrap_or(self.size + 1)
        }
    }

    #[inline]
    pub(super) fn of_integer(&self, value: i128) -> u32 {
        self.whole.get(value).unwrap_or(self.size + 1)
    }

    #[inline]
    pub(super) fn of_boolean(&self, value: bool) -> u32 {
        self.booleans[usize::from(value)]
    }

    /// The position of a float, in the width of the key's type.
    #[inline]
    pub(super) fn of_float(&self, value: f64) -> u32 {
        self.real.get(&float_bits(value)).copied().unwrap_or(self.size + 1)
    }
}

/// Minus zero is zero.
fn float_bits(value: f64) -> u64 {
    (value + 0.0).to_bits()
}

fn canonical_integer(text: &str) -> Option<i128> {
    let value = text.parse::<i128>().ok()?;
    (value.to_string() == text).then_some(value)
}

fn canonical_float(text: &str, width: Width) -> Option<u64> {
    let mut written = String::new();
    let value = match text {
        "Infinity" => f64::INFINITY,
        "-Infinity" => f64::NEG_INFINITY,
        _ if width == Width::Double => text.parse::<f64>().ok()?,
        _ => f64::from(text.parse::<f32>().ok()?),
    };
    if width == Width::Double {
        write_f64(&mut written, value);
    } else {
        write_f32(&mut written, narrow(value));
    }
    (written == text).then_some(float_bits(value))
}

#[expect(clippy::cast_possible_truncation, reason = "the value was a float32 before")]
fn narrow(value: f64) -> f32 {
    value as f32
}

/// Open addressing over 128-bit keys, at most a quarter full up to many entries.
#[derive(Debug)]
struct ShortIndex {
    slots: Vec<(u128, u32)>,
    shift: u32,
}

/// No text has this length.
const EMPTY: u128 = u128::MAX;

impl ShortIndex {
    fn new(entries: &[(u128, u32)]) -> Self {
        let spread = if entries.len() < 1 << 14 { 4 } else { 2 };
        let capacity = (entries.len() * spread).next_power_of_two().max(16);
        let mut made = Self { slots: vec![(EMPTY, 0); capacity], shift: 64 - capacity.trailing_zeros() };
        for (key, position) in entries {
            let mut slot = made.home(*key);
            while made.slots[slot].0 != EMPTY {
                slot = (slot + 1) & (capacity - 1);
            }
            made.slots[slot] = (*key, *position);
        }
        made
    }

    #[inline]
    fn home(&self, key: u128) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "the two halves of the key")]
        let (low, high) = (key as u64, (key >> 64) as u64);
        // Two products that do not wait for each other; what is wanted are the upper bits, on which all the lower ones act.
        let mixed = low.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ high.wrapping_mul(0xd1b5_4a32_d192_ed03);
        #[expect(clippy::cast_possible_truncation, reason = "fewer bits than the table has slots")]
        let home = (mixed >> self.shift) as usize;
        home
    }

    #[inline]
    fn get(&self, key: u128) -> Option<u32> {
        let mut slot = self.home(key);
        loop {
            let (found, position) = *self.slots.get(slot)?;
            if found == key {
                return Some(position);
            }
            if found == EMPTY {
                return None;
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }
}

/// Positions of whole numbers: a table where they lie close together.
#[derive(Debug)]
enum WholeIndex {
    Table { first: i128, positions: Vec<u32> },
    Map(HashMap<i128, u32>),
}

impl WholeIndex {
    fn new(entries: Vec<(i128, u32)>) -> Self {
        let first = entries.iter().map(|(value, _)| *value).min().unwrap_or(0);
        let last = entries.iter().map(|(value, _)| *value).max().unwrap_or(0);
        let span = usize::try_from(last.saturating_sub(first).saturating_add(1)).unwrap_or(usize::MAX);
        if span > entries.len() * 4 + 4096 {
            return Self::Map(entries.into_iter().collect());
        }
        let mut positions = vec![u32::MAX; span];
        for (value, position) in entries {
            if let Ok(index) = usize::try_from(value - first) {
                positions[index] = position;
            }
        }
        Self::Table { first, positions }
    }

    #[inline]
    fn get(&self, value: i128) -> Option<u32> {
        match self {
            Self::Table { first, positions } => {
                let index = usize::try_from(value.checked_sub(*first)?).ok()?;
                positions.get(index).copied().filter(|position| *position != u32::MAX)
            }
            Self::Map(map) => map.get(&value).copied(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::cast_precision_loss, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn position(texts: &[String], text: &str) -> u32 {
        let size = u32::try_from(texts.len()).unwrap();
        texts.iter().zip(0..).find(|(known, _)| *known == text).map_or(size + 1, |(_, position)| position)
    }

    proptest! {
        #[test]
        fn texts_are_where_they_stand(mut texts: Vec<String>, others: Vec<String>, short in "[a-c]{0,13}") {
            texts.push(short);
            texts.sort();
            texts.dedup();
            let made = Vocabulary::new(&texts.iter().map(String::as_str).collect::<Vec<_>>(), None);
            for text in texts.iter().chain(&others) {
                prop_assert_eq!(made.of_bytes(text.as_bytes()), position(&texts, text));
            }
        }

        #[test]
        fn numbers_are_looked_up_as_they_are_written(
            mut values: Vec<i64>, more in proptest::collection::vec(-9_i64..9, 0..9), floats: Vec<f64>
        ) {
            values.extend(more);
            let integers = ColumnType::parse("int64").unwrap();
            let mut texts: Vec<String> = values.iter().map(i64::to_string).collect();
            texts.extend(["01", "+1", "1.0", "", "-0", "x"].map(str::to_owned));
            texts.sort();
            texts.dedup();
            let views: Vec<&str> = texts.iter().map(String::as_str).collect();
            let made = Vocabulary::new(&views, Some(&integers));
            for value in values.iter().copied().chain(-10..10) {
                prop_assert_eq!(made.of_integer(value.into()), position(&texts, &value.to_string()));
            }
            let doubles = ColumnType::parse("float64").unwrap();
            let written = |value: f64| { let mut out = String::new(); write_f64(&mut out, value); out };
            texts.extend(floats.iter().copied().chain([0.1, -0.0, 1e21]).map(written));
            texts.sort();
            texts.dedup();
            let views: Vec<&str> = texts.iter().map(String::as_str).collect();
            let made = Vocabulary::new(&views, Some(&doubles));
            for value in floats.iter().copied().chain(values.iter().map(|value| *value as f64)).chain([0.1, -0.0, 1e21, 7.5]) {
                if !value.is_nan() {
                    prop_assert_eq!(made.of_float(value), position(&texts, &written(value)));
                }
            }
        }
    }
}
