//! Embeddings: their norm, and the mean of random Fourier features (Rahimi and Recht 2007).
//!
//! `φ(x) = √(2/D) cos(ω·x + b)`, `D` = 256 of them. The squared distance of two means is the squared maximum mean discrepancy
//! of a kernel that is the Gaussian one but for its tails: `ω` is a sum of twelve uniform numbers, which is computed alike
//! everywhere, over the bandwidth, the median distance of a sample of the reference. So is the cosine: a polynomial. Each
//! is rounded to 2^-30 and summed as an integer, so means do not depend on how rows were cut or merged.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float16Type, Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;

use super::FEATURES;
use super::count::{Damage, Weights, Workspace, count_values};
use super::counts::{ColumnCounts, LaneCounts};
use super::plan::{ColumnPlan, LaneBins};
use super::sample::mix;

/// A cosine of 1.
const ONE: f64 = 1_073_741_824.0;
/// Longer vectors are refused: their frequencies would take more than 32 MB.
pub(super) const MAX_DIMENSION: usize = 1 << 14;
const ROUND: f64 = 6_755_399_441_055_744.0;
/// Vectors that the bandwidth is taken from.
const SAMPLED: usize = 256;

/// The frequencies for vectors of one length.
#[derive(Clone)]
pub(super) struct Features {
    dimension: usize,
    bandwidth: f64,
    /// In turns a unit, `FEATURES` for each dimension.
    frequencies: Vec<f64>,
    phases: Vec<f64>,
}

impl std::fmt::Debug for Features {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Features(dimension {}, bandwidth {})", self.dimension, self.bandwidth)
    }
}

impl PartialEq for Features {
    fn eq(&self, other: &Self) -> bool {
        (self.dimension, self.bandwidth) == (other.dimension, other.bandwidth)
    }
}

impl Features {
    /// The bandwidth is positive and finite, the dimension at most [`MAX_DIMENSION`].
    pub(super) fn new(dimension: usize, bandwidth: f64) -> Self {
        let scale = 1.0 / (bandwidth * std::f64::consts::TAU);
        let frequencies = (0..dimension * FEATURES).map(|index| gaussian(index as u64) * scale).collect();
        let phases = (0..FEATURES).map(|index| unit(mix(mix(index as u64) ^ u64::MAX))).collect();
        Self { dimension, bandwidth, frequencies, phases }
    }

    pub(super) fn parts(&self) -> (usize, f64) {
        (self.dimension, self.bandwidth)
    }

    fn add(&self, vector: &[f64], turns: &mut [f64; FEATURES], weight: u64, sums: &mut [i128]) {
        turns.copy_from_slice(&self.phases);
        for (value, frequencies) in vector.iter().zip(self.frequencies.chunks_exact(FEATURES)) {
            for (turn, frequency) in turns.iter_mut().zip(frequencies) {
                *turn += value * frequency;
            }
        }
        for (sum, turn) in sums.iter_mut().zip(turns) {
            #[allow(clippy::cast_possible_truncation, reason = "at most 2^30")]
            let cosine = (cosine(*turn) * ONE) as i64;
            *sum += i128::from(cosine) * i128::from(weight);
        }
    }

    /// The means of the features.
    #[allow(clippy::cast_precision_loss, reason = "the one rounding of exact sums")]
    pub(super) fn means(weight: u64, sums: &[i128]) -> Vec<f64> {
        let scale = (2.0 / FEATURES as f64).sqrt() / ONE;
        let n = if weight == 0 { 1.0 } else { weight as f64 };
        sums.iter().map(|sum| *sum as f64 / n * scale).collect()
    }
}

/// A number from 0 to 1.
#[allow(clippy::cast_precision_loss, reason = "53 bits")]
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / 9_007_199_254_740_992.0
}

/// Twelve uniform numbers, less their mean: mean 0, variance 1.
fn gaussian(index: u64) -> f64 {
    let words = [3 * index, 3 * index + 1, 3 * index + 2].map(mix);
    let sum: u64 = words.iter().map(|word| (0..4).map(|part| word >> (16 * part) & 0xffff).sum::<u64>()).sum();
    #[allow(clippy::cast_precision_loss, reason = "below 2^20")]
    let sum = sum as f64;
    (sum + 6.0) / 65_536.0 - 6.0
}

/// Of an angle in turns: `1 - 2 sin²(πr)` with `|r| ≤ 1/2`, the sine by its series up to the thirteenth power. Off by less
/// than 2^-29.
fn cosine(turns: f64) -> f64 {
    let rest = turns - ((turns + ROUND) - ROUND);
    let x = rest * std::f64::consts::PI;
    let s = x * x;
    let series = [1.0 / 6_227_020_800.0, -1.0 / 39_916_800.0, 1.0 / 362_880.0, -1.0 / 5_040.0, 1.0 / 120.0, -1.0 / 6.0];
    let sine = x * (1.0 + s * series.iter().fold(0.0, |sum, term| sum * s + term));
    1.0 - 2.0 * sine * sine
}

/// Calls `visit` for each vector that is not null, in order. A null inside one is a NaN.
pub(super) fn each_vector(array: &ArrayRef, mut visit: impl FnMut(usize, &[f64])) -> Result<(), Damage> {
    let mut buffer = Vec::new();
    for row in (0..array.len()).filter(|row| array.is_valid(*row)) {
        let items = match array.data_type() {
            DataType::List(_) => {
                let offsets = array.as_list::<i32>().value_offsets();
                (array.as_list::<i32>().values(), i64::from(offsets[row]), i64::from(offsets[row + 1]))
            }
            DataType::LargeList(_) => {
                let offsets = array.as_list::<i64>().value_offsets();
                (array.as_list::<i64>().values(), offsets[row], offsets[row + 1])
            }
            _ => {
                let list = array.as_fixed_size_list();
                let start = i64::from(list.value_length()) * i64::try_from(row).unwrap_or(0);
                (list.values(), start, start + i64::from(list.value_length()))
            }
        };
        let (values, start, end) = items;
        let span = usize::try_from(start).unwrap_or(usize::MAX)..usize::try_from(end).unwrap_or(usize::MAX);
        if span.start > span.end || span.end > values.len() {
            return Err("a list's offsets point outside its items".to_owned());
        }
        buffer.clear();
        match values.data_type() {
            DataType::Float64 => buffer.extend_from_slice(&values.as_primitive::<Float64Type>().values()[span.clone()]),
            DataType::Float32 => {
                let items = &values.as_primitive::<Float32Type>().values()[span.clone()];
                buffer.extend(items.iter().map(|value| f64::from(*value)));
            }
            _ => {
                let items = &values.as_primitive::<Float16Type>().values()[span.clone()];
                buffer.extend(items.iter().map(|value| f64::from(*value)));
            }
        }
        if values.null_count() > 0 {
            for (value, item) in buffer.iter_mut().zip(span) {
                if values.is_null(item) {
                    *value = f64::NAN;
                }
            }
        }
        visit(row, &buffer);
    }
    Ok(())
}

/// The Euclidean norm; NaN or infinite if a value is.
pub(super) fn norm(vector: &[f64]) -> f64 {
    let sum: f64 = vector.iter().map(|value| value * value).sum();
    sum.sqrt()
}

pub(super) fn count(
    plan: &ColumnPlan,
    array: &ArrayRef,
    weights: Weights<'_>,
    counts: &mut ColumnCounts,
    workspace: &mut Workspace,
) -> Result<(), Damage> {
    let ([norm_lane, feature_lane], [norm_counts, LaneCounts::Features { weight: total, sums }]) =
        (plan.lanes.as_slice(), counts.lanes.as_mut_slice())
    else {
        return Ok(());
    };
    let LaneBins::Features(features) = &feature_lane.bins else { return Ok(()) };
    let (mut norms, mut kept) = (Vec::new(), Vec::new());
    let mut turns = [0.0; FEATURES];
    let mut wrong = None;
    each_vector(array, |row, vector| {
        if vector.len() != features.dimension && wrong.is_none() {
            wrong = Some((row, vector.len()));
        }
        if wrong.is_some() {
            return;
        }
        let weight = weights.map_or(1, |weights| weights.get(row).copied().unwrap_or(0));
        let norm = norm(vector);
        norms.push(norm);
        kept.push(weight);
        if norm.is_finite() {
            features.add(vector, &mut turns, weight, sums);
            *total += weight;
        }
    })?;
    if let Some((row, length)) = wrong {
        return Err(format!(
            "the vector of row {row} has {length} values, the reference's have {}",
            features.dimension
        ));
    }
    count_values(norm_lane, &norms, weights.map(|_| kept.as_slice()), norm_counts, workspace);
    Ok(())
}

/// Vectors by which the bandwidth is chosen: those of rows whose number is a multiple of a power of two, which grows.
#[derive(Debug, Clone, Default)]
pub(super) struct Vectors {
    kept: Vec<Vec<f64>>,
    seen: u64,
    h: u32,
    pub(super) dimension: Option<usize>,
}

impl Vectors {
    /// A finite vector, of the same length as those before.
    pub(super) fn push(&mut self, vector: &[f64]) {
        if self.seen & ((1 << self.h) - 1) == 0 {
            self.kept.push(vector.to_vec());
            if self.kept.len() == 2 * SAMPLED {
                self.h += 1;
                self.kept = std::mem::take(&mut self.kept).into_iter().step_by(2).collect();
            }
        }
        self.seen += 1;
    }

    /// The median distance of the kept vectors from their neighbours in the sample's order, 1 if all are the same.
    pub(super) fn bandwidth(&self) -> f64 {
        let some = &self.kept[..self.kept.len().min(SAMPLED)];
        let mut distances = Vec::new();
        for (index, a) in some.iter().enumerate() {
            for b in &some[..index] {
                distances.push(a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt());
            }
        }
        distances.sort_unstable_by(f64::total_cmp);
        let median = distances.get(distances.len() / 2).copied().unwrap_or(1.0);
        if median.is_normal() { median } else { 1.0 }
    }
}
