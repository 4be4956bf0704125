//! The hashes of tokens, many at a time.

use fearless_simd::Simd;

use crate::murmur::{Prefix, murmur3, murmur3_eight};

/// So many tokens are hashed together.
pub(super) const HASHED: usize = 128;
/// A token with more bytes than this is hashed by itself.
const SHORT: usize = 16;

/// Many tokens on the way to their hashes.
#[derive(Debug)]
pub(super) struct Hashing {
    /// The first four bytes of each, the next four bytes of each, ...
    words: Box<[[u32; HASHED]; 4]>,
    lengths: Box<[u32; HASHED]>,
    hashes: Box<[u32; HASHED]>,
    long: Box<[usize; HASHED]>,
}

impl Default for Hashing {
    fn default() -> Self {
        Self {
            words: Box::new([[0; HASHED]; 4]),
            lengths: Box::new([0; HASHED]),
            hashes: Box::new([0; HASHED]),
            long: Box::new([0; HASHED]),
        }
    }
}

impl Hashing {
    /// The hashes of at most [`HASHED`] tokens. Behind each lie 16 bytes of whatever.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "compiled for the vectors of its caller")]
    #[allow(clippy::cast_possible_truncation, reason = "a length of at most 16, and parts of a word")]
    pub(super) fn hash<S: Simd>(&mut self, simd: S, text: &[u8], spans: &[[usize; 2]]) -> &[u32] {
        let Self { words, lengths, hashes, long } = self;
        let [first, second, third, fourth] = &mut **words;
        let spans = &spans[..spans.len().min(HASHED)];
        let mut count = 0;
        for (number, [start, end]) in spans.iter().enumerate() {
            let bytes = (end - start).min(SHORT);
            let read = text[*start..].first_chunk::<16>().map_or(0, |bytes| u128::from_le_bytes(*bytes));
            let (low, high) = KEPT[bytes];
            let (low, high) = (read as u64 & low, (read >> 64) as u64 & high);
            first[number] = low as u32;
            second[number] = (low >> 32) as u32;
            third[number] = high as u32;
            fourth[number] = (high >> 32) as u32;
            lengths[number] = bytes as u32;
            long[count] = number;
            count += usize::from(end - start > SHORT);
        }
        let words = eights(first).iter().zip(eights(second)).zip(eights(third)).zip(eights(fourth));
        let all = words.zip(eights(lengths)).zip(hashes.as_chunks_mut::<8>().0).take(spans.len().div_ceil(8));
        for (((((first, second), third), fourth), lengths), hashes) in all {
            *hashes = murmur3_eight(simd, [first, second, third, fourth], lengths);
        }
        for number in &long[..count] {
            let [start, end] = spans[*number];
            hashes[*number] = murmur3(&text[start..end], 0).cast_unsigned();
        }
        &hashes[..spans.len()]
    }
}

#[inline]
fn eights(words: &[u32; HASHED]) -> &[[u32; 8]] {
    words.as_chunks().0
}

/// The bytes of a token that a hash reads, and no others, by the token's length.
const KEPT: [(u64, u64); SHORT + 1] = {
    let mut kept = [(0, 0); SHORT + 1];
    let mut length = 0;
    while length <= SHORT {
        let bits = if length < 16 { (1_u128 << (8 * length)) - 1 } else { u128::MAX };
        #[allow(clippy::cast_possible_truncation, reason = "the low half, and the high half")]
        {
            kept[length] = (bits as u64, (bits >> 64) as u64);
        }
        length += 1;
    }
    kept
};

/// The hash of a token, with at least 16 bytes from its start in `text`.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "a length of at most twelve")]
pub(super) fn hash_token(empty: Prefix, text: &[u8], start: usize, end: usize) -> i32 {
    let length = end - start;
    if let (Some((low, high)), Some(bytes)) = (KEPT[..13].get(length), text[start..].first_chunk::<16>()) {
        let bytes = u128::from_le_bytes(*bytes);
        empty.hash_short::<3>(bytes as u64 & low, (bytes >> 64) as u64 & high, length as u32)
    } else {
        empty.hash(&text[start..end])
    }
}
