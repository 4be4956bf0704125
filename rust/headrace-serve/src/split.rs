//! How the requests of an endpoint are shared out between versions.

use std::sync::atomic::{AtomicU64, Ordering};

/// 2^64 over the golden ratio: multiples of it come round to every part of the circle equally often, however few there are.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Weights, and whose turn it is.
#[derive(Debug)]
pub struct Split {
    /// Sums of the weights up to each.
    sums: Vec<u64>,
    turn: AtomicU64,
}

impl Split {
    /// `None` where all weights are 0.
    #[must_use]
    pub fn new(weights: &[u32]) -> Option<Self> {
        let mut sum = 0;
        let sums: Vec<u64> = weights
            .iter()
            .map(|weight| {
                sum += u64::from(*weight);
                sum
            })
            .collect();
        (sum > 0).then_some(Self { sums, turn: AtomicU64::new(0) })
    }

    /// The next in turn: each as often as its weight says, without a run of luck.
    pub fn next(&self) -> usize {
        self.at(self.turn.fetch_add(GOLDEN, Ordering::Relaxed))
    }

    /// The same for the same key as long as the weights are the same. Keys move only from versions that lose weight, and
    /// only as many, if all but the first and the last keep theirs.
    #[must_use]
    pub fn of(&self, endpoint: &str, key: &[u8]) -> usize {
        self.at(point(endpoint, key))
    }

    /// The heaviest; the first of them.
    #[must_use]
    pub fn main(&self) -> usize {
        let mut best = (0, 0);
        for (index, sum) in self.sums.iter().enumerate() {
            let weight = sum - index.checked_sub(1).map_or(0, |before| self.sums[before]);
            if weight > best.1 {
                best = (index, weight);
            }
        }
        best.0
    }

    fn at(&self, point: u64) -> usize {
        let total = self.sums.last().copied().unwrap_or_default();
        // The circle of 2^64 points, scaled to the sum of the weights.
        let place = (u128::from(point) * u128::from(total)) >> 64;
        self.sums.partition_point(|sum| u128::from(*sum) <= place)
    }
}

/// Where on the circle a key lies: FNV-1a of the endpoint's name and the key, and the finish of `MurmurHash3` over it, since
/// FNV's high bits are poor. By the name as well, so that two endpoints do not try their news on the same people.
fn point(endpoint: &str, key: &[u8]) -> u64 {
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    for byte in endpoint.bytes().chain([0]).chain(key.iter().copied()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    hash ^ (hash >> 33)
}
