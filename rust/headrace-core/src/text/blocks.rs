//! Which of 64 bytes belong to word characters, by vectors.

use fearless_simd::Simd;

/// The 64 bytes of a text from `at`, which may be one before its beginning; zero beyond its bounds.
#[inline]
fn sixty_four(bytes: &[u8], at: usize, before: usize) -> [u8; 64] {
    if let Some(block) = at.checked_sub(before).and_then(|start| bytes.get(start..)?.first_chunk::<64>()) {
        return *block;
    }
    let mut block = [0; 64];
    let skipped = before.saturating_sub(at);
    let rest = bytes.get((at + skipped).saturating_sub(before)..).unwrap_or_default();
    let length = rest.len().min(64 - skipped);
    block[skipped..skipped + length].copy_from_slice(&rest[..length]);
    block
}

/// The 64 bytes of a text from `at`: a bit for each byte that begins a character that was not looked at, and a bit for
/// each byte of the word characters that were, which are copied in lower case if they should be. `carried` are the bits
/// that go on in the next block.
///
/// Looked at are those that need no table: ASCII, the Latin letters of U+00C0 to U+00FF, Cyrillic ones up to U+045F, and
/// the Han and Hangul characters of which all with the same first byte are letters.
#[inline(always)]
#[allow(clippy::inline_always, reason = "compiled for the vectors of its caller")]
pub(super) fn block<S: Simd>(
    simd: S,
    bytes: &[u8],
    at: usize,
    copy: &mut [u8; 64],
    lowercase: bool,
    carried: &mut u64,
) -> (u64, u64) {
    let array = sixty_four(bytes, at, 0);
    let here = simd.load_array_u8x64(array);
    let high = simd.simd_ge_u8x64(here, simd.splat_u8x64(0x80));
    let ascii = ascii_block(simd, &array, copy, lowercase);
    if simd.to_bitmask_mask8x64(high) == 0 {
        return (0, ascii | std::mem::take(carried));
    }
    let before = simd.load_array_u8x64(sixty_four(bytes, at, 1));
    let behind = simd.load_array_u8x64(sixty_four(bytes, at + 1, 0));
    let is = |value| simd.simd_eq_u8x64(here, simd.splat_u8x64(value));
    let latin = is(0xC3);
    // U+00D7 and U+00F7 are signs.
    let signs = simd.simd_eq_u8x64(behind | 0x20, simd.splat_u8x64(0xB7));
    let first = is(0xD0);
    let cyrillic = first | (is(0xD1) & simd.simd_lt_u8x64(behind, simd.splat_u8x64(0xA0)));
    let han = simd.simd_lt_u8x64(here - 0xE5, simd.splat_u8x64(5))
        | (is(0xE4) & simd.simd_ge_u8x64(behind, simd.splat_u8x64(0xB8)));
    let three = han | simd.simd_lt_u8x64(here - 0xEB, simd.splat_u8x64(2));
    if lowercase {
        let within = |value, from: u8, count: u8| simd.simd_lt_u8x64(value - from, simd.splat_u8x64(count));
        let was = |value| simd.simd_eq_u8x64(before, simd.splat_u8x64(value));
        let zero = simd.splat_u8x64(0);
        let when = |mask, added: u8| simd.select_u8x64(mask, simd.splat_u8x64(added), zero);
        // U+00C0 to U+00DE, and U+0410 to U+041F: the lower case stands 32 behind.
        let latin = was(0xC3) & within(here, 0x80, 0x1F) & !simd.simd_eq_u8x64(here, simd.splat_u8x64(0x97));
        let near = was(0xD0) & within(here, 0x90, 0x10);
        // U+0420 to U+042F: 32 behind, under the next first byte.
        let far = was(0xD0) & within(here, 0xA0, 0x10);
        // U+0400 to U+040F: 80 behind, under the next first byte.
        let farthest = was(0xD0) & within(here, 0x80, 0x10);
        let next = first & (within(behind, 0x80, 0x10) | within(behind, 0xA0, 0x10));
        let added = when(latin | near, 0x20) | when(far, 0xE0) | when(farthest, 0x10) | when(next, 1);
        let lower = simd.load_array_ref_u8x64(copy) + added;
        simd.store_array_u8x64(lower, copy);
    }
    let pairs = simd.to_bitmask_mask8x64((latin & !signs) | cyrillic);
    let triples = simd.to_bitmask_mask8x64(three);
    let known = simd.to_bitmask_mask8x64(latin | cyrillic | three);
    let leads = simd.to_bitmask_mask8x64(simd.simd_ge_u8x64(here, simd.splat_u8x64(0xC0)));
    let found = ascii | pairs | pairs << 1 | triples | triples << 1 | triples << 2 | *carried;
    *carried = pairs >> 63 | triples >> 63 | triples >> 62;
    (leads & !known, found)
}

/// A bit for each word character; letters are copied as small ones if they should be.
#[inline(always)]
#[allow(clippy::inline_always, reason = "compiled for the vectors of its caller")]
pub(super) fn ascii_block<S: Simd>(simd: S, block: &[u8; 64], copy: &mut [u8; 64], lowercase: bool) -> u64 {
    let block = simd.load_array_ref_u8x64(block);
    let letters = simd.simd_lt_u8x64((block | 0x20) - b'a', simd.splat_u8x64(26));
    let digits = simd.simd_lt_u8x64(block - b'0', simd.splat_u8x64(10));
    let joints = simd.simd_eq_u8x64(block, simd.splat_u8x64(b'_'));
    let small = simd.select_u8x64(letters, simd.splat_u8x64(if lowercase { 0x20 } else { 0 }), simd.splat_u8x64(0));
    simd.store_array_u8x64(block | small, copy);
    simd.to_bitmask_mask8x64(letters | digits | joints)
}
