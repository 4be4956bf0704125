//! Byte streams and bit streams that end in a SHA-256, fed in any number of pieces.

use arrow_buffer::BooleanBuffer;
use sha2::{Digest as _, Sha256};

/// Pieces smaller than this are gathered before they are hashed: a call costs more than a copy.
const SCRATCH: usize = 4096;

/// Gathers small pieces in front of a hash, and hands large ones through without a copy.
///
/// Lives for one update only, so that the columns of a very wide frame do not each keep a buffer.
pub(super) struct Sink<'a> {
    hash: &'a mut Sha256,
    scratch: [u8; SCRATCH],
    len: usize,
}

impl<'a> Sink<'a> {
    pub(super) fn new(hash: &'a mut Sha256) -> Self {
        Self { hash, scratch: [0; SCRATCH], len: 0 }
    }

    #[inline]
    pub(super) fn put(&mut self, bytes: &[u8]) {
        if let Some(room) = self.scratch.get_mut(self.len..self.len + bytes.len()) {
            room.copy_from_slice(bytes);
            self.len += bytes.len();
        } else {
            self.spill(bytes);
        }
    }

    #[cold]
    fn spill(&mut self, bytes: &[u8]) {
        self.flush();
        if let Some(room) = self.scratch.get_mut(..bytes.len()) {
            room.copy_from_slice(bytes);
            self.len = bytes.len();
        } else {
            self.hash.update(bytes);
        }
    }

    /// LEB128: seven bits a byte, least significant first, the high bit says that more follow.
    #[inline]
    pub(super) fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.put(&[value.to_le_bytes()[0] | 0x80]);
            value >>= 7;
        }
        self.put(&[value.to_le_bytes()[0]]);
    }

    fn flush(&mut self) {
        self.hash.update(&self.scratch[..self.len]);
        self.len = 0;
    }
}

impl Drop for Sink<'_> {
    fn drop(&mut self) {
        self.flush();
    }
}

/// A stream of bits, least significant first, that batches may cut anywhere.
#[derive(Debug, Default)]
pub(super) struct BitLane {
    hash: Sha256,
    /// Bits that do not fill a word yet; those at and above `pending` are zero.
    word: u64,
    pending: u32,
}

impl BitLane {
    pub(super) fn extend(&mut self, bits: &BooleanBuffer) {
        let chunks = bits.bit_chunks();
        let (mut word, pending) = (self.word, self.pending);
        let mut sink = Sink::new(&mut self.hash);
        for chunk in chunks.iter() {
            sink.put(&(word | chunk << pending).to_le_bytes());
            word = chunk.checked_shr(u64::BITS - pending).unwrap_or(0);
        }
        drop(sink);
        self.word = word;
        // At most 63 bits are left.
        let left = u32::try_from(chunks.remainder_len()).unwrap_or(0);
        self.append(chunks.remainder_bits(), left);
    }

    pub(super) fn extend_with_ones(&mut self, mut count: usize) {
        let mut sink = Sink::new(&mut self.hash);
        let word = self.word | u64::MAX << self.pending;
        let carry = u64::MAX.checked_shr(u64::BITS - self.pending).unwrap_or(0);
        let mut first = true;
        while count >= 64 {
            sink.put(&(if first { word } else { u64::MAX }).to_le_bytes());
            first = false;
            count -= 64;
        }
        drop(sink);
        if !first {
            self.word = carry;
        }
        let left = u32::try_from(count).unwrap_or(0);
        self.append((1 << left) - 1, left);
    }

    /// Appends the lowest `count` < 64 bits of `bits`; the others must be zero.
    fn append(&mut self, bits: u64, count: u32) {
        self.word |= bits << self.pending;
        let total = self.pending + count;
        if total >= u64::BITS {
            self.hash.update(self.word.to_le_bytes());
            self.word = bits.checked_shr(u64::BITS - self.pending).unwrap_or(0);
            self.pending = total - u64::BITS;
        } else {
            self.pending = total;
        }
    }

    pub(super) fn finish(mut self) -> [u8; 32] {
        let bytes = self.pending.div_ceil(u8::BITS) as usize;
        self.hash.update(&self.word.to_le_bytes()[..bytes]);
        self.hash.finalize().into()
    }
}
