//! The keys of values that come over and over: where a column has few different ones, finding a key takes less than making
//! it.

use super::scheme::Key;

const SLOT_BITS: u32 = 12;
const SLOTS: usize = 1 << SLOT_BITS;
/// Values after which it pays to begin.
const FIRST: usize = 1 << 12;
/// So many may be looked for in vain, besides one in [`MISSED`] of all: making the key is then quicker.
const GRACE: usize = 1 << 11;
const MISSED: usize = 8;

#[derive(Debug, Clone, Copy)]
struct Slot {
    tag: u128,
    key: Key,
}

/// What is known of one column.
#[derive(Debug, Default)]
pub(super) struct Memo {
    slots: Option<Box<[Slot; SLOTS]>>,
    asked: usize,
    missed: usize,
}

/// A memo that is in use.
pub(super) struct Known<'a> {
    slots: &'a mut [Slot; SLOTS],
    missed: &'a mut usize,
}

impl Memo {
    /// For `count` values more, or none where it would not pay. `empty` is the key of the tag 0.
    pub(super) fn open(&mut self, count: usize, empty: impl FnOnce() -> Key) -> Option<Known<'_>> {
        self.asked += count;
        if self.asked <= FIRST {
            return None;
        }
        if self.missed > GRACE + self.asked / MISSED {
            self.slots = None;
            return None;
        }
        if self.slots.is_none() {
            self.slots = vec![Slot { tag: 0, key: empty() }; SLOTS].into_boxed_slice().try_into().ok();
        }
        self.slots.as_deref_mut().map(|slots| Known { slots, missed: &mut self.missed })
    }
}

impl Known<'_> {
    /// The key of a tag; `make` gives it, and whether it may be remembered.
    #[inline]
    pub(super) fn key(&mut self, tag: u128, make: impl FnOnce() -> (Key, bool)) -> Key {
        let slot = &mut self.slots[place(tag)];
        if slot.tag == tag {
            return slot.key;
        }
        *self.missed += 1;
        let (key, keeps) = make();
        if keeps {
            *slot = Slot { tag, key };
        }
        key
    }
}

/// The upper bits of a product, which depend on all bits of the tag.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "the parts of a tag, and fewer bits than an index has")]
fn place(tag: u128) -> usize {
    let folded = (tag as u64) ^ (tag >> 32) as u64 ^ ((tag >> 96) as u64).rotate_left(13);
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SLOT_BITS)) as usize
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn remembers_each_tag_as_itself(tags in proptest::collection::vec((0..300_u128, 0..=12_u32), 1..2000)) {
            let mut memo = Memo { asked: FIRST, ..Memo::default() };
            let mut known = memo.open(tags.len(), || 0).unwrap();
            for (bytes, length) in tags {
                let expected = (bytes as u32) << 4 | length;
                let tag = bytes << 40 | u128::from(length);
                prop_assert_eq!(known.key(tag, || (expected, bytes % 3 > 0)), expected);
            }
        }
    }

    #[test]
    fn gives_up_where_every_value_is_new() {
        let mut memo = Memo::default();
        assert!(memo.open(FIRST, || 0).is_none(), "too few");
        let mut made = 0;
        for block in 0..100 {
            let Some(mut known) = memo.open(1000, || 0) else { break };
            for value in 1..=1000 {
                known.key(block * 1000 + value, || {
                    made += 1;
                    (0, true)
                });
            }
        }
        assert!((GRACE..8000).contains(&made), "{made}");
        assert!(memo.open(1, || 0).is_none());
        assert!(memo.slots.is_none());
    }
}
