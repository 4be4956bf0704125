//! Random draws that are the same on every machine and can be written down.

use super::state::{Reader, Writer, refuse};
use crate::Result;

const WORDS: usize = 624;
const MIDDLE: usize = 397;

/// A source of random bits.
#[derive(Debug, Clone)]
pub(super) enum Random {
    /// `SplitMix64` (Steele, Lea and Flood 2014): a state of eight bytes.
    Split(u64),
    /// MT19937 (Matsumoto and Nishimura 1998), seeded and read as `CPython`'s `random.Random` does.
    Mersenne(Box<Mersenne>),
}

#[derive(Debug, Clone)]
pub(super) struct Mersenne {
    words: [u32; WORDS],
    next: usize,
}

impl Mersenne {
    /// As `random.Random(seed)`: the seed's 32-bit words are the key of `init_by_array`.
    #[expect(clippy::cast_possible_truncation, reason = "the key is the seed's words, the position one of 624")]
    pub(super) fn new(seed: u64) -> Self {
        let high = (seed >> 32) as u32;
        let key: &[u32] = if high == 0 { &[seed as u32] } else { &[seed as u32, high] };
        let mut words = [0_u32; WORDS];
        words[0] = 19_650_218;
        for index in 1..WORDS {
            let before = words[index - 1];
            words[index] = 1_812_433_253_u32.wrapping_mul(before ^ (before >> 30)).wrapping_add(index as u32);
        }
        let mut index = 1;
        let mut advance = |words: &mut [u32; WORDS], factor: u32, add: u32| {
            let before = words[index - 1];
            words[index] = (words[index] ^ (before ^ (before >> 30)).wrapping_mul(factor)).wrapping_add(add);
            index += 1;
            if index == WORDS {
                words[0] = words[WORDS - 1];
                index = 1;
            }
            index as u32
        };
        for step in 0..WORDS {
            let place = step % key.len();
            advance(&mut words, 1_664_525, key[place].wrapping_add(place as u32));
        }
        // The second round subtracts the index it works on, which the first round left at 2.
        let mut at = 2_u32;
        for _ in 1..WORDS {
            at = advance(&mut words, 1_566_083_941, at.wrapping_neg());
        }
        words[0] = 0x8000_0000;
        Self { words, next: WORDS }
    }

    fn word(&mut self) -> u32 {
        if self.next == WORDS {
            for index in 0..WORDS {
                let joined = (self.words[index] & 0x8000_0000) | (self.words[(index + 1) % WORDS] & 0x7fff_ffff);
                let twist = if joined & 1 == 0 { 0 } else { 0x9908_b0df };
                self.words[index] = self.words[(index + MIDDLE) % WORDS] ^ (joined >> 1) ^ twist;
            }
            self.next = 0;
        }
        let mut word = self.words[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }
}

impl Random {
    /// A number below `bound`, which is at least 1 and below 2^31: bits are drawn until they make one.
    fn below(&mut self, bound: usize) -> usize {
        let bits = usize::BITS - bound.leading_zeros();
        loop {
            let drawn = match self {
                Self::Split(state) => {
                    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                    let mut mixed = *state;
                    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                    (mixed ^ (mixed >> 31)) >> (64 - bits)
                }
                Self::Mersenne(state) => u64::from(state.word() >> (32 - bits)),
            };
            match usize::try_from(drawn) {
                Ok(index) if index < bound => return index,
                _ => {}
            }
        }
    }

    /// `count` different numbers below `bound`, into `chosen`, in the order in which `CPython`'s `random.sample` draws
    /// them: from a pool that closes up, or, where that would be much larger, again until one is new.
    pub(super) fn sample(&mut self, bound: usize, count: usize, pool: &mut Vec<usize>, chosen: &mut Vec<usize>) {
        chosen.clear();
        let set_size = 21 + if count > 5 { power_of_four(3 * count) } else { 0 };
        if bound <= set_size {
            pool.clear();
            pool.extend(0..bound);
            for drawn in 0..count {
                let index = self.below(bound - drawn);
                chosen.push(pool[index]);
                pool[index] = pool[bound - drawn - 1];
            }
        } else {
            // A number is taken where its place in the pool says so.
            pool.clear();
            pool.resize(bound, 0);
            while chosen.len() < count {
                let index = self.below(bound);
                if pool[index] == 0 {
                    pool[index] = 1;
                    chosen.push(index);
                }
            }
        }
    }

    pub(super) fn write(&self, to: &mut Writer) {
        match self {
            Self::Split(state) => to.count(*state),
            Self::Mersenne(state) => {
                to.size(state.next);
                state.words.iter().for_each(|&word| to.word(word));
            }
        }
    }

    /// What `write` wrote of a source of the same kind as this one.
    pub(super) fn read(&mut self, from: &mut Reader<'_>) -> Result<()> {
        match self {
            Self::Split(state) => *state = from.count()?,
            Self::Mersenne(state) => {
                state.next = from.size(WORDS)?;
                for word in &mut state.words {
                    *word = from.word()?;
                }
                if state.words[1..].iter().all(|&word| word == 0) && state.words[0] & 0x8000_0000 == 0 {
                    return refuse("their random numbers have run dry");
                }
            }
        }
        Ok(())
    }
}

/// The smallest power of four that is not less.
fn power_of_four(least: usize) -> usize {
    let two = least.next_power_of_two();
    if two.trailing_zeros().is_multiple_of(2) { two } else { two * 2 }
}
