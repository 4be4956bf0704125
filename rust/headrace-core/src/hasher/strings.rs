//! Keys of strings, read where they lie, a block of rows at a time.
//!
//! A block whose longest value has at most twelve bytes is hashed without branches. Nothing is taken on trust: offsets
//! and views may point anywhere, and bytes that should be text may not be.

use arrow_array::types::ByteViewType;
use arrow_array::{Array as _, GenericByteArray, GenericByteViewArray, types::ByteArrayType};
use arrow_buffer::{ArrowNativeType as _, Buffer, NullBuffer};
use std::ops::Range;

use super::memo::Memo;
use super::scheme::{ABSENT, Key, Keys, Scheme};

/// What a view holds itself, and what the branchless hash takes.
const SHORT: usize = 12;
const NOT_ASCII: u128 = 0x8080_8080_8080_8080_8080_8080_8080_8080;

/// The low bytes, by how many.
const MASKS: [u128; 16] = {
    let mut masks = [0; 16];
    let mut length = 1;
    while length < 16 {
        masks[length] = (1 << (8 * length)) - 1;
        length += 1;
    }
    masks
};

/// What is wrong, in which row of the array.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    NotUtf8 { row: usize, byte: usize },
    Damaged(&'static str),
    BeyondCalendar { row: usize },
}

impl Fault {
    /// The same in another row.
    pub(super) fn at(self, row_of: impl FnOnce(usize) -> usize) -> Self {
        match self {
            Self::NotUtf8 { row, byte } => Self::NotUtf8 { row: row_of(row), byte },
            Self::BeyondCalendar { row } => Self::BeyondCalendar { row: row_of(row) },
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
    memo: &mut Memo,
    out: &mut Vec<Key>,
) -> Result<(), Fault> {
    let nulls = array.nulls().map(|nulls| nulls.slice(rows.start, rows.len()));
    let views = Views { views: &array.views()[rows.clone()], buffers: array.data_buffers() };
    keys(&views, rows.start, nulls.as_ref(), scheme, text, memo, out)
}

/// As [`viewed`], for values that lie end to end.
pub(super) fn offset<T: ByteArrayType>(
    array: &GenericByteArray<T>,
    rows: Range<usize>,
    scheme: &Scheme,
    text: bool,
    memo: &mut Memo,
    out: &mut Vec<Key>,
) -> Result<(), Fault> {
    let nulls = array.nulls().map(|nulls| nulls.slice(rows.start, rows.len()));
    let offsets = array.value_offsets().get(rows.start..=rows.end).ok_or(OUTSIDE)?;
    let data = array.value_data();
    let ascending = offsets.windows(2).filter(|pair| pair[0] > pair[1]).count() == 0;
    let inside =
        |offset: Option<&T::Offset>| offset.and_then(|offset| offset.to_usize()).is_some_and(|at| at <= data.len());
    if !ascending || !inside(offsets.first()) || !inside(offsets.last()) {
        return Err(OUTSIDE);
    }
    keys(&Offsets { offsets, data }, rows.start, nulls.as_ref(), scheme, text, memo, out)
}

/// Some rows of strings.
trait Values {
    fn len(&self) -> usize;
    /// At least the length of the longest value, those under nulls too.
    fn longest(&self) -> usize;
    /// A value of at most twelve bytes, zero beyond its length.
    fn short(&self, row: usize) -> (u128, u32);
    /// What two values of at most twelve bytes have in common only if they are the same, and with no longer one.
    fn tag(&self, row: usize) -> u128;
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

    #[allow(clippy::cast_possible_truncation, reason = "the length is the low 32 bits of a view")]
    fn longest(&self) -> usize {
        self.views.iter().map(|view| *view as u32).max().unwrap_or(0) as usize
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "the length is the low 32 bits of a view")]
    fn short(&self, row: usize) -> (u128, u32) {
        let view = self.views[row];
        let length = view as u32;
        ((view >> 32) & MASKS[length as usize % 16], length)
    }

    // What lies beyond the length is zero as a rule; where it is not, a value has more than one tag.
    #[inline]
    fn tag(&self, row: usize) -> u128 {
        self.views[row]
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

    fn longest(&self) -> usize {
        self.offsets.windows(2).map(|pair| pair[1] - pair[0]).max().map_or(0, O::as_usize)
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "at most twelve")]
    fn short(&self, row: usize) -> (u128, u32) {
        let (start, end) = (self.offsets[row].as_usize(), self.offsets[row + 1].as_usize());
        let length = end - start;
        let mut word = [0; 16];
        if let Some(bytes) = self.data.get(start..start + 16) {
            word.copy_from_slice(bytes);
        } else {
            word[..length].copy_from_slice(&self.data[start..end]);
        }
        let bytes = u128::from_le_bytes(word);
        (bytes & MASKS[length % 16], length as u32)
    }

    #[inline]
    fn tag(&self, row: usize) -> u128 {
        if self.offsets[row + 1].as_usize() - self.offsets[row].as_usize() > SHORT {
            return u128::MAX;
        }
        let (bytes, length) = self.short(row);
        (bytes << 32) | u128::from(length)
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
    memo: &mut Memo,
    out: &mut Vec<Key>,
) -> Result<(), Fault> {
    match scheme {
        Scheme::Murmur(murmur) => keys_by(values, first_row, nulls, murmur, text, memo, out),
        Scheme::Sip(sip) => keys_by(values, first_row, nulls, sip, text, memo, out),
        Scheme::Bare(bare) => keys_by(values, first_row, nulls, bare, text, memo, out),
    }
}

fn keys_by<V: Values, K: Keys>(
    values: &V,
    first_row: usize,
    nulls: Option<&NullBuffer>,
    scheme: &K,
    text: bool,
    memo: &mut Memo,
    out: &mut Vec<Key>,
) -> Result<(), Fault> {
    let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
    let is_null = |row| nulls.is_some_and(|nulls| nulls.is_null(row));
    let begin = out.len();
    let known = memo.open(values.len(), || scheme.key(&[]));
    let longest = if known.is_some() { 0 } else { values.longest() };
    let ascii = if let Some(mut known) = known {
        let (mut ascii, mut inside) = (true, true);
        out.extend((0..values.len()).map(|row| {
            known.key(values.tag(row), || {
                let Some((key, plain, short)) =
                    values.with(row, |bytes| (scheme.key(bytes), bytes.is_ascii(), bytes.len() <= SHORT))
                else {
                    inside &= is_null(row);
                    return (ABSENT, false);
                };
                ascii &= plain;
                // What is not ASCII is to be looked at in every block, and so it is not remembered.
                (key, plain && short)
            })
        }));
        if !inside {
            return Err(OUTSIDE);
        }
        hide(&mut out[begin..], nulls);
        ascii
    } else if longest <= SHORT {
        let seen = match (scheme.pending() as usize + longest) / 4 {
            0 => short_keys::<_, _, 0>(values, scheme, out),
            1 => short_keys::<_, _, 1>(values, scheme, out),
            2 => short_keys::<_, _, 2>(values, scheme, out),
            _ => short_keys::<_, _, 3>(values, scheme, out),
        };
        hide(&mut out[begin..], nulls);
        seen & NOT_ASCII == 0
    } else {
        let mut ascii = true;
        for row in 0..values.len() {
            if is_null(row) {
                out.push(ABSENT);
            } else {
                let made = values.with(row, |bytes| (scheme.key(bytes), bytes.is_ascii())).ok_or(OUTSIDE)?;
                out.push(made.0);
                ascii &= made.1;
            }
        }
        ascii
    };
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

/// Appends the keys, and gives all bytes that were seen, one over the other.
fn short_keys<V: Values, K: Keys, const BLOCKS: usize>(values: &V, scheme: &K, out: &mut Vec<Key>) -> u128 {
    // By itself, so that the loop finds it in registers.
    let scheme = scheme.clone();
    let mut seen = 0;
    out.extend((0..values.len()).map(|row| {
        let (bytes, length) = values.short(row);
        seen |= bytes;
        scheme.short::<BLOCKS>(bytes, length)
    }));
    seen
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
