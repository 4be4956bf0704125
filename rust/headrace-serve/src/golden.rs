//! Golden rows: what a package's model gave when the package was made.

use crate::engine::Engine;
use crate::error::StartError;
use crate::tensor::{Data, Tensor};

/// Features and the scores that belong to them, row after row.
#[derive(Debug, Clone, PartialEq)]
pub struct Golden {
    /// `rows` times as many as the model has features.
    pub features: Vec<f32>,
    /// `rows` times as many as the model has outputs.
    pub scores: Vec<f64>,
    /// How many.
    pub rows: usize,
    /// How far a score may be off, times the greater of 1 and the score. 0: not at all.
    pub tolerance: f64,
    /// Names of a row's scores.
    pub names: Vec<String>,
}

impl Golden {
    /// The features as what the model takes.
    #[must_use]
    pub fn input(&self) -> Tensor {
        let width = self.features.len() / self.rows.max(1);
        Tensor { shape: vec![self.rows, width], data: Data::F32(self.features.clone()) }
    }

    /// Computes the rows again, together and one by one.
    pub fn replay(&self, engine: &mut dyn Engine) -> Result<(), StartError> {
        let input = self.input();
        self.compare(engine, &input, 0)?;
        (0..self.rows).try_for_each(|row| self.compare(engine, &input.slice(row, row + 1), row))
    }

    fn compare(&self, engine: &mut dyn Engine, input: &Tensor, first: usize) -> Result<(), StartError> {
        let failed = |reason: String| StartError::Golden { reason };
        let outputs = engine
            .run(std::slice::from_ref(input))
            .map_err(|reason| failed(format!("golden row {first} cannot be computed: {reason}")))?;
        let width = self.names.len().max(1);
        let expected = &self.scores[first * width..(first + input.rows()) * width];
        let Some(Data::F32(found)) = outputs.first().map(|output| &output.data) else {
            return Err(failed("the model gives no float32 scores".to_owned()));
        };
        if found.len() != expected.len() {
            return Err(failed(format!("golden rows gave {} scores, and give {}", expected.len(), found.len())));
        }
        for (index, (found, expected)) in found.iter().map(|score| f64::from(*score)).zip(expected).enumerate() {
            if !self.same(found, *expected) {
                let (row, name) = (first + index / width, &self.names[index % width]);
                return Err(failed(format!(
                    "golden row {row} gives the score '{}' as {found}, and gave {expected} when the package was made",
                    name.escape_debug()
                )));
            }
        }
        Ok(())
    }

    fn same(&self, found: f64, expected: f64) -> bool {
        if self.tolerance > 0.0 {
            let near = (found - expected).abs() <= self.tolerance * expected.abs().max(1.0);
            return near || found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
        }
        found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan())
    }
}
