//! An engine that doubles a column of numbers, fails where one is negative, and panics where one is -7.

use std::sync::{Arc, Mutex};

use headrace_serve::engine::{Engine, Port};
use headrace_serve::tensor::{Data, Kind, Tensor};

/// Rows of each run, in order.
pub(crate) type Runs = Arc<Mutex<Vec<usize>>>;

#[derive(Debug)]
pub(crate) struct Fake {
    ports: Vec<Port>,
    runs: Runs,
}

impl Fake {
    pub(crate) fn new(runs: &Runs) -> Self {
        let port = Port { name: "x".to_owned(), kind: Kind::F64, shape: vec![None] };
        Self { ports: vec![port], runs: Arc::clone(runs) }
    }
}

impl Engine for Fake {
    fn inputs(&self) -> &[Port] {
        &self.ports
    }

    fn outputs(&self) -> &[Port] {
        &self.ports
    }

    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
        let values = numbers(&inputs[0]);
        self.runs.lock().unwrap().push(values.len());
        assert!(!values.contains(&-7.0), "as asked");
        if values.iter().any(|value| *value < 0.0) {
            return Err("a number is negative".to_owned());
        }
        let data = Data::F64(values.iter().map(|value| value * 2.0).collect());
        Ok(vec![Tensor { shape: inputs[0].shape.clone(), data }])
    }
}

pub(crate) fn column(values: Vec<f64>) -> Tensor {
    Tensor { shape: vec![values.len()], data: Data::F64(values) }
}

pub(crate) fn numbers(tensor: &Tensor) -> &[f64] {
    let Data::F64(values) = &tensor.data else { panic!("not numbers") };
    values
}
