//! `MurmurHash3_x86_32` by Austin Appleby (public domain), the one hash of features: scikit-learn, Spark 3, river and the
//! contrib operator of ONNX Runtime compute the same on bytes.
//!
//! The algorithm takes four bytes at a time, so what a column's name contributes is computed once ([`Prefix`]).
#![allow(clippy::cast_possible_truncation, reason = "the algorithm is defined on the low 32 bits")]

use std::hint::select_unpredictable;

use fearless_simd::{Simd, u32x8};

const C1: u32 = 0xcc9e_2d51;
const C2: u32 = 0x1b87_3593;

#[inline]
fn mix_block(state: u32, block: u32) -> u32 {
    let scrambled = block.wrapping_mul(C1).rotate_left(15).wrapping_mul(C2);
    (state ^ scrambled).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64)
}

#[inline]
fn finish(state: u32, tail: u32, length: u32) -> u32 {
    // An empty tail scrambles to zero.
    let mut hash = state ^ tail.wrapping_mul(C1).rotate_left(15).wrapping_mul(C2) ^ length;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

/// Up to three bytes, little-endian.
#[inline]
fn tail_of(bytes: &[u8]) -> u32 {
    match *bytes {
        [] => 0,
        [a] => u32::from(a),
        [a, b] => u32::from(u16::from_le_bytes([a, b])),
        [a, b, c, ..] => u32::from_le_bytes([a, b, c, 0]),
    }
}

/// The hash of `bytes` as scikit-learn and Spark read it: a signed number.
#[must_use]
#[inline]
pub fn murmur3(bytes: &[u8], seed: u32) -> i32 {
    Prefix::new(&[], seed).hash(bytes)
}

/// The state after some first bytes, from which the hash of those bytes and any others goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    state: u32,
    /// The bytes that do not fill a block, little-endian; those beyond `pending_bytes` are zero.
    pending: u32,
    pending_bytes: u32,
    length: u32,
}

impl Prefix {
    /// After `bytes`.
    #[must_use]
    pub fn new(bytes: &[u8], seed: u32) -> Self {
        Self { state: seed, pending: 0, pending_bytes: 0, length: 0 }.then(bytes)
    }

    /// After these bytes too.
    #[must_use]
    pub fn then(self, bytes: &[u8]) -> Self {
        let (state, pending, pending_bytes) = self.absorb(bytes);
        Self { state, pending, pending_bytes, length: self.length.wrapping_add(length_of(bytes)) }
    }

    /// The hash of what came before and `bytes`.
    #[must_use]
    #[inline]
    pub fn hash(self, bytes: &[u8]) -> i32 {
        let (state, pending, _) = self.absorb(bytes);
        finish(state, pending, self.length.wrapping_add(length_of(bytes))).cast_signed()
    }

    /// How many bytes wait for a block to be filled: 0 to 3.
    #[must_use]
    pub fn waiting(self) -> u32 {
        self.pending_bytes
    }

    /// [`Prefix::hash`] of at most twelve bytes, without a branch: `low` and `high` are the bytes, little-endian and
    /// zero beyond `length`. `BLOCKS` is at least the number of blocks that `length` and what is pending can fill.
    #[must_use]
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a call a value takes as long as the hash")]
    pub fn hash_short<const BLOCKS: usize>(self, low: u64, high: u64, length: u32) -> i32 {
        debug_assert!(length <= 12 && (self.pending_bytes + length) / 4 <= BLOCKS as u32);
        let shift = 8 * self.pending_bytes;
        let joined_low = u64::from(self.pending) | (low << shift);
        // Shifted twice because a shift by 64 is none.
        let joined_high = (low >> 1 >> (63 - shift)) | (high << shift);
        let words = [joined_low as u32, (joined_low >> 32) as u32, joined_high as u32, (joined_high >> 32) as u32];
        let total = self.pending_bytes + length;
        let (mut state, mut tail) = (self.state, words[0]);
        for block in 0..BLOCKS {
            // Which lengths come next is not to be foreseen, so both ways are computed.
            let filled = total >= 4 * (block as u32 + 1);
            state = select_unpredictable(filled, mix_block(state, words[block]), state);
            tail = select_unpredictable(filled, words[block + 1], tail);
        }
        finish(state, tail, self.length.wrapping_add(length)).cast_signed()
    }

    /// [`Prefix::hash`] of at most twelve bytes, little-endian, in steps of 32 bits without a branch: the compiler does
    /// many of them in one instruction where this is called in a loop. Whatever lies beyond `length` does not count.
    /// `BLOCKS` is as in [`Prefix::hash_short`]; with a greater `length` the result is of no use.
    #[must_use]
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a call is no loop that the compiler sees through")]
    pub fn hash_words<const BLOCKS: usize>(self, words: [u32; 3], length: u32) -> i32 {
        let shift = 8 * self.pending_bytes;
        // Shifted twice because a shift by 32 is none.
        let over = |word: u32| word >> 1 >> (31 - shift);
        let joined = [
            self.pending | (words[0] << shift),
            over(words[0]) | (words[1] << shift),
            over(words[1]) | (words[2] << shift),
            over(words[2]),
        ];
        let total = self.pending_bytes.wrapping_add(length);
        let (mut state, mut tail) = (self.state, joined[0]);
        for block in 0..BLOCKS {
            let filled = total >= 4 * (block as u32 + 1);
            state = if filled { mix_block(state, joined[block]) } else { state };
            tail = if filled { joined[block + 1] } else { tail };
        }
        tail &= (1 << (8 * (total % 4))) - 1;
        finish(state, tail, self.length.wrapping_add(length)).cast_signed()
    }

    #[inline]
    fn absorb(self, bytes: &[u8]) -> (u32, u32, u32) {
        let mut state = self.state;
        let (blocks, rest) = bytes.as_chunks::<4>();
        if self.pending_bytes == 0 {
            for block in blocks {
                state = mix_block(state, u32::from_le_bytes(*block));
            }
            return (state, tail_of(rest), rest.len() as u32);
        }
        // The pending bytes are the low end of each block, and the high end of the new bytes stays pending.
        let shift = 8 * self.pending_bytes;
        let mut pending = self.pending;
        for block in blocks {
            let new = u32::from_le_bytes(*block);
            state = mix_block(state, pending | (new << shift));
            pending = new >> (32 - shift);
        }
        let rest_bytes = rest.len() as u32;
        let joined = u64::from(pending) | (u64::from(tail_of(rest)) << shift);
        if self.pending_bytes + rest_bytes < 4 {
            (state, joined as u32, self.pending_bytes + rest_bytes)
        } else {
            (mix_block(state, joined as u32), (joined >> 32) as u32, self.pending_bytes + rest_bytes - 4)
        }
    }
}

/// The algorithm counts bytes modulo 2^32.
#[inline]
fn length_of(bytes: &[u8]) -> u32 {
    bytes.len() as u32
}

/// The hashes, with seed 0, of eight values of at most 16 bytes: the first four bytes of each, little-endian and zero
/// beyond the value's length, the next four bytes, and so on.
#[inline(always)]
#[allow(clippy::inline_always, reason = "compiled for the vectors of its caller")]
pub(crate) fn murmur3_eight<S: Simd>(simd: S, words: [&[u32; 8]; 4], lengths: &[u32; 8]) -> [u32; 8] {
    let rotated = |value: u32x8<S>, by: u32| value << by | value >> (32 - by);
    let lengths = simd.load_array_ref_u32x8(lengths);
    let mut state = simd.splat_u32x8(0);
    for (words, end) in words.into_iter().zip([4, 8, 12, 16]) {
        // What is not there is zero, and scrambles to zero.
        let tail = state ^ (rotated(simd.load_array_ref_u32x8(words) * C1, 15) * C2);
        let block = rotated(tail, 13) * 5 + 0xe654_6b64;
        state = simd.select_u32x8(simd.simd_ge_u32x8(lengths, simd.splat_u32x8(end)), block, tail);
    }
    let mut hash = state ^ lengths;
    hash = (hash ^ hash >> 16) * 0x85eb_ca6b;
    hash = (hash ^ hash >> 13) * 0xc2b2_ae35;
    simd.as_array_u32x8(hash ^ hash >> 16)
}

#[cfg(test)]
mod tests {
    use fearless_simd::{Level, dispatch};
    use proptest::prelude::*;

    use super::*;

    /// As the paper's code has it: one byte at a time where bytes are left.
    fn reference(bytes: &[u8], seed: u32) -> i32 {
        let mut state = seed;
        for block in bytes.chunks(4) {
            let mut word = [0; 4];
            word[..block.len()].copy_from_slice(block);
            let mut k = u32::from_le_bytes(word).wrapping_mul(0xcc9e_2d51);
            k = k.rotate_left(15).wrapping_mul(0x1b87_3593);
            state ^= k;
            if block.len() == 4 {
                state = state.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
            }
        }
        state ^= bytes.len() as u32;
        state ^= state >> 16;
        state = state.wrapping_mul(0x85eb_ca6b);
        state ^= state >> 13;
        state = state.wrapping_mul(0xc2b2_ae35);
        (state ^ (state >> 16)).cast_signed()
    }

    #[test]
    fn published_vectors() {
        let vectors: [(&[u8], u32, i32); 21] = [
            (b"", 0, 0),
            (b"", 1, 0x514E_28B7),
            (b"", 0xffff_ffff, 0x81F1_6F39_u32.cast_signed()),
            (b"foo", 0, -156_908_512),
            (b"foo", 42, -1_322_301_282),
            (b"bar", 0, 1_158_584_717),
            (b"Hello World!", 42, 3_565_178),
            (b"test", 0, -1_167_338_989),
            (&3_i32.to_le_bytes(), 0, 847_579_505),
            (&3_i32.to_le_bytes(), 42, -1_823_081_949),
            (&4_i32.to_le_bytes(), 0, 1_889_779_975),
            (&[0x21, 0x43, 0x65, 0x87], 0, 0xF55B_516B_u32.cast_signed()),
            (&[0x21, 0x43, 0x65], 0, 0x7E4A_8634),
            (&[0x21, 0x43], 0, 0xA0F7_B07A_u32.cast_signed()),
            (&[0x21], 0, 0x7266_1CF4),
            ("é".as_bytes(), 0, 269_551_495),
            ("日本".as_bytes(), 0, -992_347_838),
            (b"cat=a", 0, 125_031_837),
            (b"cat=flbvtm30", 0, i32::MIN),
            (b"cat=atsgpk6w", 0, i32::MIN),
            (b"cat=dloviw8l", 0, i32::MAX),
        ];
        for (bytes, seed, expected) in vectors {
            assert_eq!(murmur3(bytes, seed), expected, "{bytes:?} with seed {seed}");
        }
    }

    /// The check of the author's test suite: hashes of 0, 0 1, 0 1 2, ... under falling seeds, hashed together.
    #[test]
    fn verification_value() {
        let mut hashes = Vec::new();
        for length in 0..=255_u8 {
            let key: Vec<u8> = (0..length).collect();
            hashes.extend_from_slice(&murmur3(&key, 256 - u32::from(length)).to_le_bytes());
        }
        assert_eq!(murmur3(&hashes, 0).cast_unsigned(), 0xB0F5_7EE3);
    }

    proptest! {
        #[test]
        fn equals_the_reference(bytes: Vec<u8>, seed: u32) {
            prop_assert_eq!(murmur3(&bytes, seed), reference(&bytes, seed));
        }

        #[test]
        fn short_values(prefix: Vec<u8>, value in proptest::collection::vec(any::<u8>(), 0..=12), seed: u32) {
            let mut padded = [0; 16];
            padded[..value.len()].copy_from_slice(&value);
            let bytes = u128::from_le_bytes(padded);
            let (low, high, length) = (bytes as u64, (bytes >> 64) as u64, value.len() as u32);
            let start = Prefix::new(&prefix, seed);
            let expected = reference(&[prefix.as_slice(), &value].concat(), seed);
            prop_assert_eq!(start.hash_short::<3>(low, high, length), expected);
            match (start.waiting() + length) / 4 {
                0 => prop_assert_eq!(start.hash_short::<0>(low, high, length), expected),
                1 => prop_assert_eq!(start.hash_short::<1>(low, high, length), expected),
                2 => prop_assert_eq!(start.hash_short::<2>(low, high, length), expected),
                _ => {}
            }
            // Anything may lie beyond the value.
            let word = |at: usize| {
                let bytes = [0, 1, 2, 3].map(|byte| value.get(at + byte).copied().unwrap_or(prefix.len() as u8 | 0x81));
                u32::from_le_bytes(bytes)
            };
            let words = [word(0), word(4), word(8)];
            prop_assert_eq!(start.hash_words::<3>(words, length), expected);
            match (start.waiting() + length) / 4 {
                0 => prop_assert_eq!(start.hash_words::<0>(words, length), expected),
                1 => prop_assert_eq!(start.hash_words::<1>(words, length), expected),
                2 => prop_assert_eq!(start.hash_words::<2>(words, length), expected),
                _ => {}
            }
        }

        #[test]
        fn eight_short_values(values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..=16), 8)) {
            let word = |value: &Vec<u8>, word: usize| {
                (0..4).fold(0, |all, at| all | u32::from(value.get(4 * word + at).copied().unwrap_or(0)) << (8 * at))
            };
            let words: [[u32; 8]; 4] = std::array::from_fn(|at| std::array::from_fn(|value| word(&values[value], at)));
            let lengths = std::array::from_fn(|value| values[value].len() as u32);
            let expected: Vec<i32> = values.iter().map(|value| reference(value, 0)).collect();
            for level in [Level::new(), Level::baseline()] {
                let hashes = dispatch!(level, simd => murmur3_eight(simd, words.each_ref(), &lengths));
                prop_assert_eq!(hashes.map(u32::cast_signed).to_vec(), expected.clone());
            }
        }

        #[test]
        fn a_prefix_is_the_same_bytes(parts: [Vec<u8>; 3], seed: u32) {
            let [first, second, third] = &parts;
            let prefix = Prefix::new(first, seed).then(second);
            prop_assert_eq!(prefix.hash(third), reference(&parts.concat(), seed));
        }
    }
}
