//! Rows that are made up, to try a model of which nothing but its inputs is known.

use crate::engine::Port;
use crate::tensor::{Data, Kind, Tensor};

/// Rows with which is tried whether a model's rows are independent.
const PROBES: usize = 5;
/// Values that are made up for this, at most; a model that takes more is not tried.
const PROBE_VALUES: usize = 1_000_000;

/// A few rows for inputs of which nothing but the type is known; `None` where that would be too many values.
pub(super) fn probe(inputs: &[Port]) -> Option<Vec<Tensor>> {
    let mut left = PROBE_VALUES;
    let mut one = |port: &Port| {
        let shape = probe_shape(port);
        let count = shape.iter().try_fold(1_usize, |count, length| count.checked_mul(*length))?;
        left = left.checked_sub(count)?;
        Some(made_up(port.kind, shape, count))
    };
    inputs.iter().map(&mut one).collect()
}

fn probe_shape(port: &Port) -> Vec<usize> {
    let mut shape: Vec<usize> = port.shape.iter().map(|length| length.unwrap_or(1)).collect();
    if let (Some(rows), Some(None)) = (shape.first_mut(), port.shape.first()) {
        *rows = PROBES;
    }
    shape
}

fn made_up(kind: Kind, shape: Vec<usize>, count: usize) -> Tensor {
    // A fraction that does not come round soon, so that no two rows are alike.
    let number = |index: usize| (u32::try_from(index % 9973).map_or(0.0, f64::from) * 0.618_033_988_75).fract();
    let whole = |index: usize| i32::try_from(index % 3).unwrap_or_default();
    let data = match kind {
        #[expect(clippy::cast_possible_truncation, reason = "any number will do")]
        Kind::F32 => Data::F32((0..count).map(|index| (number(index) * 4.0 - 2.0) as f32).collect()),
        Kind::F64 => Data::F64((0..count).map(|index| number(index) * 4.0 - 2.0).collect()),
        Kind::I32 => Data::I32((0..count).map(whole).collect()),
        Kind::I64 => Data::I64((0..count).map(|index| i64::from(whole(index))).collect()),
        Kind::Bool => Data::Bool((0..count).map(|index| index % 3 == 0).collect()),
        Kind::Text => Data::Text((0..count).map(|index| format!("{}", index % 3)).collect()),
    };
    Tensor { shape, data }
}
