//! Keys: what a column, or a cross of columns, says as text, turned into a code; positions of a vocabulary, or hashes.
//! A code is found once for all the steps that look up the same key, and once for each entry of a dictionary.

use std::ops::Range;

use super::column::{Column, Numbers, Texts, Trouble, Values, view_bytes, wide, write_key};
use super::number::fill_nulls;
use super::types::{ColumnType, Family, Width};
use super::vocabulary::{INLINE, Vocabulary};
use crate::murmur::Prefix;

/// Between the parts of a cross.
const SEPARATOR: char = '\u{1f}';
/// The code of a missing value among hashes.
pub(super) const NO_HASH: u32 = u32::MAX;
/// An entry of a dictionary that is no UTF-8.
const BAD: u32 = u32::MAX - 1;
/// The bit of a hash code that says that the hash is below zero.
pub(super) const NEGATIVE: u32 = 1 << 31;

/// From columns to codes.
#[derive(Debug)]
pub(super) struct Coder {
    /// The columns, and their types in the plan.
    pub(super) inputs: Vec<(usize, ColumnType)>,
    pub(super) coding: Coding,
}

#[derive(Debug)]
pub(super) enum Coding {
    Vocabulary(Vocabulary),
    /// Sizes are at most 2^24, so that a code has room for the sign.
    Hash {
        prefix: Prefix,
        size: u32,
    },
}

impl Coding {
    pub(super) fn missing(&self) -> u32 {
        match self {
            Self::Vocabulary(vocabulary) => vocabulary.missing(),
            Self::Hash { .. } => NO_HASH,
        }
    }

    /// The code of a text, if it is one. What the vocabulary knows needs no check.
    #[inline]
    fn of_bytes(&self, bytes: &[u8]) -> Option<u32> {
        match self {
            Self::Vocabulary(vocabulary) => {
                let code = vocabulary.of_bytes(bytes);
                (code != vocabulary.unseen() || std::str::from_utf8(bytes).is_ok()).then_some(code)
            }
            Self::Hash { prefix, size } => {
                std::str::from_utf8(bytes).is_ok().then(|| hash_code(prefix.hash(bytes), *size))
            }
        }
    }
}

/// scikit-learn's index of a hash, and in the top bit its sign.
#[inline]
fn hash_code(hash: i32, size: u32) -> u32 {
    (hash.unsigned_abs() % size) | if hash < 0 { NEGATIVE } else { 0 }
}

/// Codes of the entries of a dictionary.
pub(super) type Table = Vec<u32>;

impl Coder {
    /// Codes of a dictionary's entries, if the column has one that is not much larger than the batch.
    pub(super) fn table(&self, columns: &[Column<'_>], rows: usize) -> Option<Table> {
        let [(input, _)] = self.inputs.as_slice() else { return None };
        let Values::Texts(Texts::Dictionary(_, values, size)) = &columns.get(*input)?.values else { return None };
        let Values::Texts(texts) = &values.values else { return None };
        (*size <= rows.saturating_mul(2)).then(|| {
            (0..*size)
                .map(|entry| match texts.bytes(entry) {
                    _ if values.is_null(entry) => self.coding.missing(),
                    Ok(Some(bytes)) => self.coding.of_bytes(bytes).unwrap_or(BAD),
                    _ => BAD,
                })
                .collect()
        })
    }

    /// Codes of rows. What lies under a null is anything; `fault` is told of the input and the row that has no key.
    pub(super) fn codes(
        &self,
        columns: &[Column<'_>],
        table: Option<&Table>,
        rows: &Range<usize>,
        out: &mut Vec<u32>,
        fault: &mut dyn FnMut(usize, usize, Trouble),
    ) {
        out.clear();
        out.resize(rows.len(), self.coding.missing());
        if let [(input, key)] = self.inputs.as_slice() {
            let column = &columns[*input];
            let mut fault = |row: usize, trouble: Trouble| {
                if !column.is_null(row) {
                    fault(*input, row, trouble);
                }
            };
            match (&column.values, &self.coding) {
                (Values::Missing, _) => return,
                (Values::Texts(texts), _) => self.code_texts(texts, column, table, rows, out, &mut fault),
                (Values::Numbers(numbers), Coding::Vocabulary(vocabulary)) => {
                    self.code_numbers(vocabulary, numbers, column, key, rows, out);
                }
                (Values::Booleans(values), Coding::Vocabulary(vocabulary)) => {
                    for (row, out) in rows.clone().zip(out.iter_mut()) {
                        *out = vocabulary.of_boolean(values.at(row));
                    }
                }
                _ => self.code_written(column, key, rows, out, &mut fault),
            }
            fill_nulls(column.nulls, rows, out, self.coding.missing());
        } else {
            self.code_cross(columns, rows, out, fault);
        }
    }

    fn code_texts(
        &self,
        texts: &Texts<'_>,
        column: &Column<'_>,
        table: Option<&Table>,
        rows: &Range<usize>,
        out: &mut [u32],
        fault: &mut dyn FnMut(usize, Trouble),
    ) {
        match (texts, table, &self.coding) {
            (Texts::Dictionary(keys, ..), Some(table), _) => {
                for (row, out) in rows.clone().zip(out.iter_mut()) {
                    match table.get(keys.at(row)) {
                        Some(code) if *code != BAD => *out = *code,
                        _ => {
                            if let Some(trouble) = trouble_of(texts, row) {
                                fault(row, trouble);
                            }
                        }
                    }
                }
            }
            (Texts::Views { views, buffers }, _, Coding::Vocabulary(vocabulary)) => {
                for ((row, view), out) in rows.clone().zip(&views[rows.clone()]).zip(out.iter_mut()) {
                    #[expect(clippy::cast_possible_truncation, reason = "the length is the lowest 32 bits")]
                    let length = *view as u32 as usize;
                    if length <= INLINE {
                        // Bytes beyond the text are zero; with others the view is none of the vocabulary's, and is
                        // looked at by its bytes below.
                        *out = vocabulary.of_inline(*view);
                        if *out != vocabulary.unseen() {
                            continue;
                        }
                    }
                    match view_bytes(view, buffers) {
                        Ok(bytes) => match self.coding.of_bytes(bytes) {
                            Some(code) => *out = code,
                            None => fault(row, Trouble::of_bytes(bytes)),
                        },
                        Err(trouble) => fault(row, trouble),
                    }
                }
            }
            _ => {
                for (row, out) in rows.clone().zip(out.iter_mut()) {
                    if column.is_null(row) {
                        continue;
                    }
                    match texts.bytes(row) {
                        Ok(None) => {}
                        Ok(Some(bytes)) => match self.coding.of_bytes(bytes) {
                            Some(code) => *out = code,
                            None => fault(row, Trouble::of_bytes(bytes)),
                        },
                        Err(trouble) => fault(row, trouble),
                    }
                }
            }
        }
    }

    fn code_numbers(
        &self,
        vocabulary: &Vocabulary,
        numbers: &Numbers<'_>,
        column: &Column<'_>,
        key: &ColumnType,
        rows: &Range<usize>,
        out: &mut [u32],
    ) {
        macro_rules! whole {
            ($values:expr) => {
                for (value, out) in $values[rows.clone()].iter().zip(out.iter_mut()) {
                    *out = vocabulary.of_integer((*value).into());
                }
            };
        }
        match numbers {
            _ if key.family == Family::Float && key.width != Width::Decimal => {
                for (row, out) in rows.clone().zip(out.iter_mut()) {
                    if !column.is_null(row) {
                        let value = rounded_to(key.width, super::number::real(numbers, row));
                        *out = if value.is_nan() { vocabulary.missing() } else { vocabulary.of_float(value) };
                    }
                }
            }
            _ if key.family == Family::Float => self.code_written(column, key, rows, out, &mut |_, _| {}),
            Numbers::I8(values) => whole!(values),
            Numbers::I16(values) => whole!(values),
            Numbers::I32(values) => whole!(values),
            Numbers::I64(values) => whole!(values),
            Numbers::U8(values) => whole!(values),
            Numbers::U16(values) => whole!(values),
            Numbers::U32(values) => whole!(values),
            Numbers::U64(values) => whole!(values),
            Numbers::Wide { bytes, signed } => {
                for (row, out) in rows.clone().zip(out.iter_mut()) {
                    let value = wide(bytes, row);
                    // What an unsigned number has beyond the signed ones stands in no vocabulary.
                    *out = if *signed || value >= 0 { vocabulary.of_integer(value) } else { vocabulary.unseen() };
                }
            }
            // Floats of an integer column became integers before.
            _ => {}
        }
    }

    /// By way of the text, for what has no faster way.
    fn code_written(
        &self,
        column: &Column<'_>,
        key: &ColumnType,
        rows: &Range<usize>,
        out: &mut [u32],
        fault: &mut dyn FnMut(usize, Trouble),
    ) {
        let mut text = String::new();
        for (row, out) in rows.clone().zip(out.iter_mut()) {
            if column.is_missing(row) {
                continue;
            }
            text.clear();
            match write_key(&mut text, column, row, key) {
                Ok(()) => *out = self.coding.of_bytes(text.as_bytes()).unwrap_or(*out),
                Err(trouble) => fault(row, trouble),
            }
        }
    }

    fn code_cross(
        &self,
        columns: &[Column<'_>],
        rows: &Range<usize>,
        out: &mut [u32],
        fault: &mut dyn FnMut(usize, usize, Trouble),
    ) {
        let (mut text, mut part) = (String::new(), String::new());
        for (row, out) in rows.clone().zip(out.iter_mut()) {
            text.clear();
            let mut present = true;
            for (index, (input, key)) in self.inputs.iter().enumerate() {
                let column = &columns[*input];
                if index > 0 {
                    text.push(SEPARATOR);
                }
                if column.is_missing(row) {
                    present = false;
                    continue;
                }
                part.clear();
                match write_key(&mut part, column, row, key) {
                    Ok(()) => escape(&mut text, &part),
                    Err(trouble) => fault(*input, row, trouble),
                }
            }
            if present {
                *out = self.coding.of_bytes(text.as_bytes()).unwrap_or(*out);
            }
        }
    }
}

/// A part of a cross, so that no two lists of parts are written alike.
fn escape(out: &mut String, part: &str) {
    if !part.contains(['\\', SEPARATOR]) {
        out.push_str(part);
        return;
    }
    for character in part.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            SEPARATOR => out.push_str("\\u"),
            _ => out.push(character),
        }
    }
}

/// A float in the width of the plan's type.
#[inline]
fn rounded_to(width: Width, value: f64) -> f64 {
    match width {
        Width::Half => super::column::to_half(value).to_f64(),
        #[expect(clippy::cast_possible_truncation, reason = "rounded to the type of the plan")]
        Width::Single => f64::from(value as f32),
        Width::Double | Width::Decimal => value,
    }
}

#[cold]
fn trouble_of(texts: &Texts<'_>, row: usize) -> Option<Trouble> {
    texts.text(row).err()
}
