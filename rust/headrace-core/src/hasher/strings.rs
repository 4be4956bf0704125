//! Keys of strings, read where they lie, a block of rows at a time.
//!
//! Values of at most twelve bytes are hashed side by side ([`super::lanes`]), longer ones one by one. Nothing is taken on trust: offsets
//! and views may point anywhere, and bytes that should be text may not be.

use arrow_array::types::ByteViewType;
use arrow_array::{Array as _, GenericByteArray, GenericByteViewArray, types::ByteArrayType};
use arrow_buffer::{ArrowNativeType as _, Buffer, NullBuffer};
use fearless_simd::{Level, dispatch};
use std::ops::Range;

use super::lanes::{LANES, Lanes, SHORT};
use super::scheme::{ABSENT, Key, Keys, Scheme};

const NOT_ASCII: u32 = 0x8080_8080;

/// What is wrong, in which row of the array.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    NotUtf8 { row: usize, byte: usize },
    Damaged(&'static str),
    BeyondCalendar { row: usize },
    NullItem { row: usize },
}

impl Fault {
    /// The same in another row.
    pub(super) fn at(self, row_of: impl FnOnce(usize) -> usize) -> Self {
        match self {
            Self::NotUtf8 { row, byte } => Self::NotUtf8 { row: row_of(row), byte },
            Self::BeyondCalendar { row } => Self::BeyondCalendar { row: row_of(row) },
            Self::NullItem { row } => Self::NullItem { row: row_of(row) },
            Self::Damaged(reason) => Self::Damaged(reason),
        }
    }
}

const OUTSIDE: Fault = Fault::Damaged("an offset points outside its data");

/// Appends a key a row. `text`: the bytes must be UTF-8.
pub(super) fn viewed<T: ByteViewType>(
    array: &GenericByteViewArray<T>,
    rows: Range<usize>,
    scheme: &Scheme,
    text: bool,
    out: &mut Vec<Key>,
) -> Result<(), Fault> {
    let nulls = array.nulls().map(|nulls| nulls.slice(rows.start, rows.len()));
    let views = Views { views: &array.views()[rows.clone()], buffers: array.data_buffers() };
    keys(&views, rows.start, nulls.as_ref(), scheme, text, out)
}

/// As [`viewed`], for values that lie end to end.
pub(super) fn offset<T: ByteArrayType>(
    array: &GenericByteArray<T>,
    rows: Range<usize>,
    scheme: &Scheme,
    text: bool,
    out: &mut Vec<Key>,
) -> Result<(), Fault> {
    let nulls = array.nulls().map(|nulls| nulls.slice(rows.start, rows.len()));
    let offsets = array.value_offsets().get(rows.start..=rows.end).ok_or(OUTSIDE)?;
    let data = array.value_data();
    // Counted, because a search that stops at the first cannot look at several at once.
    let falls = dispatch!(Level::new(), _ => offsets.windows(2).filter(|pair| pair[0] > pair[1]).count());
    let inside =
        |offset: Option<&T::Offset>| offset.and_then(|offset| offset.to_usize()).is_some_and(|at| at <= data.len());
    if falls > 0 || !inside(offsets.first()) || !inside(offsets.last()) {
        return Err(OUTSIDE);
    }
    keys(&Offsets { offsets, data }, rows.start, nulls.as_ref(), scheme, text, out)
}

/// Some rows of strings.
trait Values {
    fn len(&self) -> usize;
    /// The length of a value and, if it has at most twelve bytes, these and then anything.
    fn words(&self, row: usize) -> [u32; 4];
    /// Calls `then` with the value, or gives none if there is none where it should be.
    fn with<R>(&self, row: usize, then: impl FnOnce(&[u8]) -> R) -> Option<R>;
}

struct Views<'a> {
    views: &'a [u128],
    buffers: &'a [Buffer],
}

impl Values for Views<'_> {
    fn len(&self) -> usize {
        self.views.len()
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "part of a loop that is compiled for several processors")]
    #[allow(clippy::cast_possible_truncation, reason = "four numbers of 32 bits")]
    fn words(&self, row: usize) -> [u32; 4] {
        let view = self.views[row];
        [view as u32, (view >> 32) as u32, (view >> 64) as u32, (view >> 96) as u32]
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "four numbers of 32 bits")]
    fn with<R>(&self, row: usize, then: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let view = self.views[row];
        let length = view as u32 as usize;
        if length <= SHORT {
            return (view >> 32).to_le_bytes().get(..length).map(then);
        }
        let (buffer, start) = ((view >> 64) as u32 as usize, (view >> 96) as u32 as usize);
        self.buffers.get(buffer)?.get(start..start.checked_add(length)?).map(then)
    }
}

struct Offsets<'a, O> {
    offsets: &'a [O],
    data: &'a [u8],
}

impl<O: arrow_array::OffsetSizeTrait> Values for Offsets<'_, O> {
    fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "part of a loop that is compiled for several processors")]
    #[allow(clippy::cast_possible_truncation, reason = "four numbers of 32 bits")]
    fn words(&self, row: usize) -> [u32; 4] {
        let (start, end) = (self.offsets[row].as_usize(), self.offsets[row + 1].as_usize());
        let mut word = [0; 16];
        if let Some(bytes) = self.data.get(start..start + 16) {
            word.copy_from_slice(bytes);
        } else {
            let rest = &self.data[start..];
            word[..rest.len()].copy_from_slice(rest);
        }
        let bytes = u128::from_le_bytes(word);
        [(end - start).min(u32::MAX as usize) as u32, bytes as u32, (bytes >> 32) as u32, (bytes >> 64) as u32]
    }

    #[inline]
    fn with<R>(&self, row: usize, then: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.data.get(self.offsets[row].as_usize()..self.offsets[row + 1].as_usize()).map(then)
    }
}

fn keys<V: Values>(
    values: &V,
    first_row: usize,
    nulls: Option<&NullBuffer>,
    scheme: &Scheme,
    text: bool,
    out: &mut Vec<Key>,
) -> Result<(), Fault> {
    match scheme {
        Scheme::Murmur(murmur) => keys_by(values, first_row, nulls, murmur, text, out),
        Scheme::Sip(sip) => keys_by(values, first_row, nulls, sip, text, out),
        Scheme::Bare(bare) => keys_by(values, first_row, nulls, bare, text, out),
    }
}

fn keys_by<V: Values, K: Keys>(
    values: &V,
    first_row: usize,
    nulls: Option<&NullBuffer>,
    scheme: &K,
    text: bool,
    out: &mut Vec<Key>,
) -> Result<(), Fault> {
    let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
    let is_null = |row| nulls.is_some_and(|nulls| nulls.is_null(row));
    let begin = out.len();
    let Seen { bytes, long } = dispatch!(Level::new(), _ => lane_keys(values, scheme, out));
    let mut ascii = bytes & NOT_ASCII == 0;
    if long {
        for (row, key) in out[begin..].iter_mut().enumerate().filter(|(row, _)| !is_null(*row)) {
            if values.words(row)[0] as usize > SHORT {
                let made = values.with(row, |bytes| (scheme.key(bytes), bytes.is_ascii())).ok_or(OUTSIDE)?;
                *key = made.0;
                ascii &= made.1;
            }
        }
    }
    hide(&mut out[begin..], nulls);
    if text && !ascii {
        for row in (0..values.len()).filter(|row| !is_null(*row)) {
            let read = values.with(row, |bytes| std::str::from_utf8(bytes).map(|_| ())).ok_or(OUTSIDE)?;
            read.map_err(|error| Fault::NotUtf8 { row: first_row + row, byte: error.valid_up_to() })?;
        }
    }
    Ok(())
}

fn hide(keys: &mut [Key], nulls: Option<&NullBuffer>) {
    if let Some(nulls) = nulls {
        keys.iter_mut().zip(nulls).filter(|(_, valid)| !valid).for_each(|(key, _)| *key = ABSENT);
    }
}

/// What some values have.
struct Seen {
    /// All bytes of the short ones, and what lies beyond them, one over the other.
    bytes: u32,
    /// Whether one of them is not short.
    long: bool,
}

/// Appends the keys of the short values, and anything for the others.
#[inline(always)]
#[allow(clippy::inline_always, reason = "compiled for several processors")]
fn lane_keys<V: Values, K: Keys>(values: &V, scheme: &K, out: &mut Vec<Key>) -> Seen {
    // By itself, so that the loop finds it in registers.
    let scheme = scheme.clone();
    let (mut lanes, mut keys) = (Lanes::new(), [ABSENT; LANES]);
    let (mut seen, mut long) = ([0; LANES], false);
    let mut start = 0;
    while start < values.len() {
        let count = LANES.min(values.len() - start);
        if count == LANES {
            // A number of rounds that the compiler knows.
            for lane in 0..LANES {
                lanes.set(lane, values.words(start + lane));
            }
        } else {
            for lane in 0..count {
                lanes.set(lane, values.words(start + lane));
            }
        }
        let longest = lanes.longest();
        scheme.lanes(&lanes, longest, &mut keys);
        if longest as usize > SHORT {
            long = true;
            lanes.drop_long();
        }
        let [first, second, third] = &lanes.words;
        for (lane, seen) in seen.iter_mut().enumerate() {
            *seen |= first[lane] | second[lane] | third[lane];
        }
        out.extend_from_slice(&keys[..count]);
        start += count;
    }
    Seen { bytes: seen.iter().fold(0, |all, bytes| all | bytes), long }
}

/// Calls `each` with every row that is not null and its bytes.
pub(super) fn each_viewed<T: ByteViewType>(
    array: &GenericByteViewArray<T>,
    text: bool,
    each: impl FnMut(usize, &[u8]),
) -> Result<(), Fault> {
    each_of(&Views { views: array.views(), buffers: array.data_buffers() }, array.nulls(), text, each)
}

/// As [`each_viewed`], for values that lie end to end.
pub(super) fn each_offset<T: ByteArrayType>(
    array: &GenericByteArray<T>,
    text: bool,
    each: impl FnMut(usize, &[u8]),
) -> Result<(), Fault> {
    let (offsets, data) = (array.value_offsets(), array.value_data());
    if offsets.windows(2).any(|pair| pair[0] > pair[1]) {
        return Err(OUTSIDE);
    }
    each_of(&Offsets { offsets, data }, array.nulls(), text, each)
}

fn each_of<V: Values>(
    values: &V,
    nulls: Option<&NullBuffer>,
    text: bool,
    mut each: impl FnMut(usize, &[u8]),
) -> Result<(), Fault> {
    for row in 0..values.len() {
        if nulls.is_none_or(|nulls| nulls.is_valid(row)) {
            let read = values.with(row, |bytes| {
                if text {
                    std::str::from_utf8(bytes).map_err(|error| Fault::NotUtf8 { row, byte: error.valid_up_to() })?;
                }
                each(row, bytes);
                Ok(())
            });
            read.ok_or(OUTSIDE)??;
        }
    }
    Ok(())
}
