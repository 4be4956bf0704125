//! From bytes to a column and a sign: what a column's name contributes is computed once, and what is left a value.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher24;

use super::lanes::{LANES, Lanes};
use super::{Mode, Options};
use crate::murmur::Prefix;

/// A column of the result, shifted left, and in the lowest bit whether the value is negative.
pub(super) type Key = u32;

/// No value. The largest column is 2^31 - 2, so that no key is this.
pub(super) const ABSENT: Key = Key::MAX;

/// The column of a key.
#[inline]
#[allow(clippy::cast_possible_wrap, reason = "31 bits")]
pub(super) fn column_of(key: Key) -> i32 {
    (key >> 1) as i32
}

/// `value` with the key's sign. Negated and not multiplied, so that NaN turns its sign as scikit-learn's does.
#[inline]
pub(super) fn signed(value: f64, key: Key) -> f64 {
    if key & 1 == 1 { -value } else { value }
}

/// How a 32-bit hash becomes a key.
#[derive(Debug, Clone, Copy)]
struct Fold {
    columns: u32,
    /// `columns - 1` if that is a mask.
    mask: u32,
    is_mask: bool,
    /// 2^64 / columns, rounded up: the remainder by two multiplications (Lemire, Kaser, Kurz 2019).
    reciprocal: u64,
    signed: bool,
    /// Modulo of the signed hash, as Spark has it, in place of that of its absolute value.
    euclid: bool,
}

impl Fold {
    fn new(columns: i32, signed: bool, euclid: bool) -> Self {
        let columns = columns.unsigned_abs();
        Self {
            columns,
            mask: columns - 1,
            is_mask: columns.is_power_of_two(),
            reciprocal: (u64::MAX / u64::from(columns)).wrapping_add(1),
            signed,
            euclid,
        }
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "a remainder is smaller than the divisor")]
    fn modulo(self, number: u32) -> u32 {
        if self.is_mask {
            number & self.mask
        } else {
            let fraction = self.reciprocal.wrapping_mul(u64::from(number));
            ((u128::from(fraction) * u128::from(self.columns)) >> 64) as u32
        }
    }

    #[inline]
    fn key(self, hash: i32) -> Key {
        // |i32::MIN| is 2^31 here, as scikit-learn has it.
        let rest = self.modulo(hash.unsigned_abs());
        let negative = u32::from(hash < 0);
        if self.euclid {
            return (if negative == 1 && rest > 0 { self.columns - rest } else { rest }) << 1;
        }
        (rest << 1) | (negative & u32::from(self.signed))
    }
}

/// The key of what follows some first bytes.
pub(super) trait Keys: Clone + Sync {
    fn key(&self, bytes: &[u8]) -> Key;

    /// [`Keys::key`] of short values, none of which is longer than `longest`; of those that are not short, any key.
    fn lanes(&self, lanes: &Lanes, longest: u32, keys: &mut [Key; LANES]);
}

/// `MurmurHash3` after a prefix.
#[derive(Debug, Clone)]
pub(super) struct Murmur {
    prefix: Prefix,
    fold: Fold,
}

impl Keys for Murmur {
    #[inline]
    fn key(&self, bytes: &[u8]) -> Key {
        self.fold.key(self.prefix.hash(bytes))
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "part of a loop that is compiled for several processors")]
    fn lanes(&self, lanes: &Lanes, longest: u32, keys: &mut [Key; LANES]) {
        let hashes = lanes.hashes(self.prefix, longest);
        // Told apart out here, so that the loop has one way.
        let fold = self.fold;
        if fold.is_mask && !fold.euclid {
            let (mask, sign) = (fold.mask, u32::from(fold.signed));
            for (key, hash) in keys.iter_mut().zip(hashes) {
                *key = ((hash.unsigned_abs() & mask) << 1) | ((hash.cast_unsigned() >> 31) & sign);
            }
        } else {
            for (key, hash) in keys.iter_mut().zip(hashes) {
                *key = fold.key(hash);
            }
        }
    }
}

/// `MurmurHash3` itself in place of a key: its 32 bits. -1 is [`ABSENT`], so nulls are to be told otherwise.
#[derive(Debug, Clone)]
pub(super) struct Bare {
    prefix: Prefix,
}

impl Keys for Bare {
    #[inline]
    fn key(&self, bytes: &[u8]) -> Key {
        self.prefix.hash(bytes).cast_unsigned()
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "part of a loop that is compiled for several processors")]
    fn lanes(&self, lanes: &Lanes, longest: u32, keys: &mut [Key; LANES]) {
        *keys = lanes.hashes(self.prefix, longest).map(i32::cast_unsigned);
    }
}

/// `SipHash-2-4` after a prefix.
#[derive(Clone)]
pub(super) struct Sip {
    prefix: SipHasher24,
    columns: u64,
    signed: bool,
}

// The state is as good as the key.
impl std::fmt::Debug for Sip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sip").field("columns", &self.columns).field("signed", &self.signed).finish_non_exhaustive()
    }
}

impl Sip {
    fn hash(&self, bytes: &[u8]) -> u64 {
        let mut hasher = self.prefix;
        hasher.write(bytes);
        hasher.finish()
    }

    #[allow(clippy::cast_possible_truncation, reason = "a remainder is smaller than the divisor")]
    fn fold(hash: u64, columns: u64, signed: bool) -> Key {
        (((hash >> 1) % columns) as u32) << 1 | (hash as u32 & u32::from(signed))
    }
}

impl Keys for Sip {
    fn key(&self, bytes: &[u8]) -> Key {
        Self::fold(self.hash(bytes), self.columns, self.signed)
    }

    fn lanes(&self, lanes: &Lanes, _: u32, keys: &mut [Key; LANES]) {
        for (lane, key) in keys.iter_mut().enumerate() {
            *key = lanes.with(lane, |bytes| self.key(bytes));
        }
    }
}

/// What the bytes after the name are, in keyed mode: there a name and a value cannot pass for another pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing follows: the name of a number.
    Number = 0,
    /// A category.
    Category = 1,
    /// There is no name.
    Token = 2,
}

/// A hash of either kind, after a name.
#[derive(Debug, Clone)]
pub(super) enum Scheme {
    Murmur(Murmur),
    Sip(Sip),
    Bare(Bare),
}

/// A hash at its full width, from which the key for any number of columns follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full(u64);

impl Scheme {
    /// For values of `role` under `name`.
    pub(super) fn new(options: &Options, name: &[u8], role: Role) -> Self {
        let murmur = |seed, euclid: bool| {
            let prefix = Prefix::new(name, seed);
            let prefix = if role == Role::Category { prefix.then(b"=") } else { prefix };
            Self::Murmur(Murmur { prefix, fold: Fold::new(options.columns, options.signed && !euclid, euclid) })
        };
        match &options.mode {
            Mode::Sklearn => murmur(0, false),
            Mode::Spark => murmur(42, true),
            Mode::Keyed(key) => {
                let mut prefix = SipHasher24::new_with_key(&key.0);
                prefix.write(&[role as u8]);
                prefix.write(&(name.len() as u64).to_le_bytes());
                prefix.write(name);
                let columns = u64::from(options.columns.unsigned_abs());
                Self::Sip(Sip { prefix, columns, signed: options.signed })
            }
        }
    }

    /// The hash itself, of what has no name.
    pub(super) fn bare(seed: u32) -> Self {
        Self::Bare(Bare { prefix: Prefix::new(&[], seed) })
    }

    /// The key of `bytes` after the name.
    pub(super) fn key(&self, bytes: &[u8]) -> Key {
        match self {
            Self::Murmur(murmur) => murmur.key(bytes),
            Self::Sip(sip) => sip.key(bytes),
            Self::Bare(bare) => bare.key(bytes),
        }
    }

    pub(super) fn full(&self, bytes: &[u8]) -> Full {
        Full(match self {
            Self::Murmur(murmur) => u64::from(murmur.prefix.hash(bytes).cast_unsigned()),
            Self::Sip(sip) => sip.hash(bytes),
            Self::Bare(bare) => u64::from(bare.key(bytes)),
        })
    }

    /// The key of a hash among `columns` columns.
    #[allow(clippy::cast_possible_truncation, reason = "a murmur hash has 32 bits")]
    pub(super) fn key_among(options: &Options, hash: Full, columns: i32) -> Key {
        match options.mode {
            Mode::Keyed(_) => Sip::fold(hash.0, u64::from(columns.unsigned_abs()), options.signed),
            Mode::Sklearn => Fold::new(columns, options.signed, false).key((hash.0 as u32).cast_signed()),
            Mode::Spark => Fold::new(columns, false, true).key((hash.0 as u32).cast_signed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn remainders(hash: i32, columns in 1..=i32::MAX) {
            let (wide, modulus) = (i64::from(hash), i64::from(columns));
            for (signed, euclid) in [(true, false), (false, false), (false, true)] {
                let key = Fold::new(columns, signed, euclid).key(hash);
                let expected = if euclid { wide.rem_euclid(modulus) } else { wide.abs() % modulus };
                prop_assert_eq!(i64::from(column_of(key)), expected);
                prop_assert_eq!(key & 1 == 1, signed && hash < 0);
                prop_assert_ne!(key, ABSENT);
            }
        }
    }

    #[test]
    fn the_least_hash() {
        for (columns, expected) in [(10, 8), (1000, 648), (1 << 20, 0), (1_000_003, 477_207), (1, 0)] {
            let key = Fold::new(columns, true, false).key(i32::MIN);
            assert_eq!((column_of(key), key & 1), (expected, 1));
        }
    }
}
