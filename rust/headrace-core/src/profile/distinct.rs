//! How many different values a column has: `HyperLogLog` (Flajolet and others 2007) with 2^12 registers and the estimator of
//! Ertl 2017 (arXiv 1702.01284), which needs neither tables nor a correction for small counts. Standard error 1.6 %.

#![allow(clippy::inline_always, reason = "only what is inlined is compiled for the processor at hand")]

pub(super) const REGISTERS: usize = 1 << 12;
const RANKS: usize = 53;
/// So many numbers are hashed before one is looked at.
const BLOCK: usize = 256;

/// Merging is the maximum of registers, so the order of values does not count.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Distinct(Box<[u8; REGISTERS]>);

impl std::fmt::Debug for Distinct {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Distinct({})", self.estimate())
    }
}

impl Default for Distinct {
    fn default() -> Self {
        Self(Box::new([0; REGISTERS]))
    }
}

impl Distinct {
    /// From a hash with 64 good bits.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "12 bits, and a rank of at most 53")]
    pub(super) fn add(&mut self, hash: u64) {
        let rank = ((hash << 12) | (1 << 11)).leading_zeros() as u8 + 1;
        let register = &mut self.0[(hash >> 52) as usize];
        if rank > *register {
            *register = rank;
        }
    }

    /// Hashed several at a time where the processor can.
    #[inline(always)]
    pub(super) fn add_numbers(&mut self, values: &[f64]) {
        let mut hashes = [0; BLOCK];
        for block in values.chunks(BLOCK) {
            for (hash, value) in hashes.iter_mut().zip(block) {
                *hash = hash_of(*value);
            }
            for hash in &hashes[..block.len()] {
                self.add(*hash);
            }
        }
    }

    pub(super) fn registers(&self) -> &[u8; REGISTERS] {
        &self.0
    }

    /// Registers hold ranks up to 53.
    pub(super) fn from_registers(registers: &[u8]) -> Option<Self> {
        let registers: Box<[u8; REGISTERS]> = registers.to_vec().into_boxed_slice().try_into().ok()?;
        registers.iter().all(|rank| usize::from(*rank) <= RANKS).then_some(Self(registers))
    }

    #[allow(clippy::cast_precision_loss, reason = "an estimate")]
    pub(super) fn estimate(&self) -> f64 {
        let mut histogram = [0_u32; RANKS + 1];
        for rank in self.0.iter() {
            histogram[usize::from(*rank).min(RANKS)] += 1;
        }
        let m = REGISTERS as f64;
        let mut z = m * tau(1.0 - f64::from(histogram[RANKS]) / m);
        for count in histogram[1..RANKS].iter().rev() {
            z = 0.5 * (z + f64::from(*count));
        }
        z += m * sigma(f64::from(histogram[0]) / m);
        if z.is_infinite() { 0.0 } else { m * m / (2.0 * std::f64::consts::LN_2 * z) }
    }
}

/// Each bit of a value in about half of the bits of its hash: the finaliser of murmur3. Whole numbers as floats differ in
/// their high bits only, which must come down before anything is multiplied.
#[inline(always)]
fn hash_of(value: f64) -> u64 {
    let bits = (value + 0.0).to_bits();
    let bits = (bits ^ (bits >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let bits = (bits ^ (bits >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    bits ^ (bits >> 33)
}

/// Of the registers that are empty.
fn sigma(x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut x, mut y, mut z) = (x, 1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z <= before {
            return z;
        }
    }
}

/// Of the registers that are full.
fn tau(x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut x, mut y, mut z) = (x, 1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z >= before {
            return z / 3.0;
        }
    }
}
