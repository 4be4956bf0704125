//! The hash of texts inside profiles. It decides bits of filters and registers, so it is part of the format: whoever
//! changes it raises the format's version. Folded multiplication, as in wyhash by Wang Yi (public domain).

const KEYS: [u64; 3] = [0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db, 0x8ebc_6af0_9c88_c6e3];

#[inline]
#[allow(clippy::cast_possible_truncation, reason = "both halves are used")]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[inline]
fn word(bytes: &[u8]) -> u64 {
    bytes.first_chunk::<8>().map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

#[inline]
fn half(bytes: &[u8]) -> u64 {
    bytes.first_chunk::<4>().map_or(0, |chunk| u64::from(u32::from_le_bytes(*chunk)))
}

/// 64 good bits of `bytes`.
#[inline]
pub(super) fn hash64(bytes: &[u8]) -> u64 {
    let length = bytes.len();
    let mut state = KEYS[0];
    let mut rest = bytes;
    while let Some((head, tail)) = rest.split_first_chunk::<16>()
        && !tail.is_empty()
    {
        state = fold(word(head) ^ KEYS[1], word(&head[8..]) ^ state);
        rest = tail;
    }
    // Up to 16 bytes are left; the two reads overlap where there are fewer.
    let (a, b) = match rest.len() {
        8.. => (word(rest), word(&rest[rest.len() - 8..])),
        4.. => (half(rest), half(&rest[rest.len() - 4..])),
        1.. => {
            let middle = u64::from(rest[rest.len() / 2]);
            (u64::from(rest[0]) << 16 | middle << 8 | u64::from(rest[rest.len() - 1]), 0)
        }
        0 => (0, 0),
    };
    fold(KEYS[1] ^ length as u64, fold(a ^ KEYS[1], b ^ state) ^ KEYS[2])
}
