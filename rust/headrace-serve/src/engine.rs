//! What computes: a graph that is ready to be run.

pub mod choice;
mod ensemble;
mod forest;
mod native;
pub mod onnx;
mod proto;

use crate::tensor::{Kind, Tensor};

/// An input or output of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Type of its values.
    pub kind: Kind,
    /// Lengths of its axes; `None` is any.
    pub shape: Vec<Option<usize>>,
}

/// Runs a graph. One thread at a time has it: a server has as many as it has workers.
pub trait Engine: Send {
    /// What it takes, in order.
    fn inputs(&self) -> &[Port];

    /// What it gives, in order.
    fn outputs(&self) -> &[Port];

    /// What it is called where people look which one it is.
    fn name(&self) -> &'static str {
        "onnxruntime"
    }

    /// Computes. `inputs` are in order and have the types of [`Engine::inputs`]; `Err` says in a line why it failed.
    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, String>;
}
