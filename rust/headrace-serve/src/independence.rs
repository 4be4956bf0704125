//! Whether the rows of a model depend on each other, which is found by trying.

use crate::engine::Engine;
use crate::tensor::{Data, Tensor, join, split};

/// Share of a value by which it may differ between batches of different sizes, which are computed in another order. Of
/// the same size, and at the same place in it, it must not.
const ROUNDING: f64 = 1e-4;
const NONE: f64 = 1e-6;

/// Whether no row, of any of the `probes`, depends on the others. The first is also computed row by row. Rows that the
/// model refuses say nothing; where it takes none, rows are not known to be independent.
pub fn rows_are_independent(engine: &mut dyn Engine, probes: &[Vec<Tensor>]) -> bool {
    let mut known = false;
    for (number, probe) in probes.iter().enumerate() {
        let Ok(together) = engine.run(probe) else {
            // Unless it takes each of them.
            if each_alone(engine, probe).is_some() {
                return false;
            }
            continue;
        };
        // Numbers of other sizes may be rounded by more than a probability differs.
        let alone = number > 0 || same_alone(engine, probe, &together);
        if !alone || !same_among_others(engine, probe, &together) {
            return false;
        }
        known = true;
    }
    known
}

fn each_alone(engine: &mut dyn Engine, probe: &[Tensor]) -> Option<Vec<Vec<Tensor>>> {
    let rows = probe.first().map_or(0, Tensor::rows);
    (0..rows).map(|row| engine.run(&part(probe, row)).ok()).collect()
}

fn same_alone(engine: &mut dyn Engine, probe: &[Tensor], together: &[Tensor]) -> bool {
    let rows = probe.first().map_or(0, Tensor::rows);
    let (Some(expected), Some(found)) = (split(together, &vec![1; rows]), each_alone(engine, probe)) else {
        return false;
    };
    found.iter().zip(&expected).all(|(found, expected)| {
        found.len() == expected.len()
            && found.iter().zip(expected).all(|(a, b)| a.shape == b.shape && near(&a.data, &b.data, ROUNDING, 1.0))
    })
}

/// Every second row stays where it is, and its neighbours become like it; then the others stay.
fn same_among_others(engine: &mut dyn Engine, probe: &[Tensor], together: &[Tensor]) -> bool {
    let rows = probe.first().map_or(0, Tensor::rows);
    let Some(expected) = split(together, &vec![1; rows]) else { return false };
    (0..2.min(rows)).all(|kept| {
        let stays = |row: usize| row % 2 == kept;
        let shown = |row: usize| match row {
            row if stays(row) => row,
            row if row > 0 => row - 1,
            row => (row + 1).min(rows - 1),
        };
        let parts: Vec<Vec<Tensor>> = (0..rows).map(|row| part(probe, shown(row))).collect();
        let parts: Vec<&[Tensor]> = parts.iter().map(Vec::as_slice).collect();
        let Some(found) = join(&parts).and_then(|batch| engine.run(&batch).ok()) else { return false };
        let Some(found) = split(&found, &vec![1; rows]) else { return false };
        (0..rows).filter(|row| stays(*row)).all(|row| {
            let (found, expected) = (&found[row], &expected[row]);
            found.len() == expected.len()
                && found.iter().zip(expected).all(|(a, b)| a.shape == b.shape && near(&a.data, &b.data, NONE, 0.0))
        })
    })
}

fn part(probe: &[Tensor], row: usize) -> Vec<Tensor> {
    probe.iter().map(|input| input.slice(row, row + 1)).collect()
}

fn near(a: &Data, b: &Data, share: f64, least: f64) -> bool {
    let close = |a: f64, b: f64| {
        a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()) || (a - b).abs() <= share * b.abs().max(least)
    };
    match (a, b) {
        (Data::F32(a), Data::F32(b)) => a.iter().zip(b).all(|(a, b)| close(f64::from(*a), f64::from(*b))),
        (Data::F64(a), Data::F64(b)) => a.iter().zip(b).all(|(a, b)| close(*a, *b)),
        _ => a == b,
    }
}
