//! Which class a row's scores are for.

use crate::tensor::Data;

/// The first of the greatest; the first that is not a number, if there is one, as numpy has it.
pub(super) fn greatest(scores: &[f32]) -> usize {
    let mut best = 0;
    for (index, score) in scores.iter().enumerate() {
        if score.is_nan() {
            return index;
        }
        if *score > scores[best] {
            best = index;
        }
    }
    best
}

/// The class of each row, by its number.
pub(super) fn pick(classes: &Data, best: &[usize]) -> Data {
    fn of<T: Clone>(values: &[T], best: &[usize]) -> Vec<T> {
        best.iter().map(|index| values[*index].clone()).collect()
    }
    match classes {
        Data::F32(values) => Data::F32(of(values, best)),
        Data::F64(values) => Data::F64(of(values, best)),
        Data::I32(values) => Data::I32(of(values, best)),
        Data::I64(values) => Data::I64(of(values, best)),
        Data::Bool(values) => Data::Bool(of(values, best)),
        Data::Text(values) => Data::Text(of(values, best)),
    }
}
