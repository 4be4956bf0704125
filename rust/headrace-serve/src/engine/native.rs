//! Graphs that are one tree ensemble, and what becomes of its sums, without ONNX Runtime.
//!
//! A call into ONNX Runtime costs more than to walk a few hundred trees for a row. Read are graphs of the form
//!
//! ```text
//! float32 [N, F] ── Cast? ── TreeEnsemble ── element by element, softmax, squeeze ── Cast? ── [N] or [N, K]
//! ```
//!
//! which are those of this project's exporter without categories, and regressors of others'. Sums and what follows are
//! float64, and rounded once. Whether that gives what ONNX Runtime gives is tried before it is used ([`super::choice`]).

use std::collections::HashMap;
use std::sync::Arc;

use prost::Message as _;

use super::forest::{Forest, Parts};
use super::proto::{self, Attribute, Constant, Graph};
use super::{Engine, Port};
use crate::tensor::{Data, Kind, Tensor};

/// An engine of one thread; the trees are shared by all.
#[derive(Debug, Clone)]
pub(super) struct Native {
    forest: Arc<Forest>,
    steps: Arc<[Step]>,
    inputs: [Port; 1],
    outputs: [Port; 1],
}

/// Numbers beside the rows': one for all, or one a column.
#[derive(Debug, Clone, PartialEq)]
enum Other {
    Same(Vec<f64>),
    /// What an earlier step gave; 0 are the sums.
    Earlier(usize),
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    /// With the value on the left, or on the right.
    Pair(Pair, Other, bool),
    Each(Each),
    Softmax,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Pair {
    Add,
    Sub,
    Mul,
    Div,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Each {
    Abs,
    Exp,
    Log,
    Neg,
    Reciprocal,
    /// To float32 and back.
    Narrow,
    Same,
    Sigmoid,
}

impl Native {
    /// Of a graph with these inputs and outputs; `None` if it is of another form.
    pub(super) fn read(onnx: &[u8], inputs: &[Port], outputs: &[Port]) -> Option<Self> {
        let ([input], [output]) = (inputs, outputs) else { return None };
        let (Kind::F32, [None, Some(features)]) = (input.kind, input.shape.as_slice()) else { return None };
        let graph = proto::Model::decode(onnx).ok()?.graph?;
        let mut reading = Reading::of(&graph, &input.name)?;
        let forest = Forest::new(&reading.trees()?, *features)?;
        let widths = reading.rest(forest.targets())?;
        let fits = match output.shape.as_slice() {
            [None] => reading.flat && widths == 1,
            [None, Some(width)] => !reading.flat && *width == widths,
            _ => false,
        };
        if !fits || reading.value != output.name || !matches!(output.kind, Kind::F32 | Kind::F64) {
            return None;
        }
        Some(Self {
            forest: Arc::new(forest),
            steps: reading.steps.into(),
            inputs: [input.clone()],
            outputs: [output.clone()],
        })
    }

    /// Rows that ask every question of the trees where it is decided: at the threshold and beside it, and without a value.
    pub(super) fn hard_rows(&self, rows: usize) -> Tensor {
        let features = self.forest.features;
        Tensor { shape: vec![rows, features], data: Data::F32(self.forest.hard_rows(rows)) }
    }
}

impl Engine for Native {
    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    fn name(&self) -> &'static str {
        "trees"
    }

    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
        let [Tensor { shape, data: Data::F32(values) }] = inputs else {
            return Err("the trees take one tensor of float32".to_owned());
        };
        let features = self.forest.features;
        let rows = match shape.as_slice() {
            [rows, width] if *width == features && rows.checked_mul(features) == Some(values.len()) => *rows,
            _ => return Err(format!("the trees take rows of {features} features, not the shape {shape:?}")),
        };
        let mut made = vec![self.forest.scores(values)];
        for step in &*self.steps {
            let next = step.of(&made, rows)?;
            // Only a square of what was before needs it later.
            made.push(next);
        }
        let result = made.pop().unwrap_or_default();
        let port = &self.outputs[0];
        let shape = match port.shape.get(1) {
            Some(_) => vec![rows, result.len().checked_div(rows).unwrap_or_else(|| port.shape[1].unwrap_or_default())],
            None => vec![rows],
        };
        #[expect(clippy::cast_possible_truncation, reason = "the graph rounds to float32, once")]
        let data = match port.kind {
            Kind::F32 => Data::F32(result.into_iter().map(|value| value as f32).collect()),
            _ => Data::F64(result),
        };
        Ok(vec![Tensor { shape, data }])
    }
}

impl Step {
    /// What it makes of the last value.
    fn of(&self, made: &[Vec<f64>], rows: usize) -> Result<Vec<f64>, String> {
        let last = made.last().map_or(&[][..], Vec::as_slice);
        Ok(match self {
            Self::Each(each) => last.iter().map(|value| each.of(*value)).collect(),
            Self::Softmax => {
                let mut values = last.to_vec();
                if let Some(width) = last.len().checked_div(rows) {
                    values.chunks_exact_mut(width).for_each(softmax);
                }
                values
            }
            Self::Pair(pair, other, left) => {
                let of = |value: f64, other: f64| if *left { pair.of(value, other) } else { pair.of(other, value) };
                match other {
                    Other::Same(row) => match row.as_slice() {
                        [one] => last.iter().map(|value| of(*value, *one)).collect(),
                        row if last.len() == rows => {
                            last.iter().flat_map(|value| row.iter().map(move |one| of(*value, *one))).collect()
                        }
                        row => last.iter().zip(row.iter().cycle()).map(|(value, one)| of(*value, *one)).collect(),
                    },
                    Other::Earlier(index) => {
                        let other = made.get(*index).ok_or("a step of the trees' graph comes before what it needs")?;
                        last.iter().zip(other).map(|(value, other)| of(*value, *other)).collect()
                    }
                }
            }
        })
    }
}

impl Pair {
    fn of(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Sub => left - right,
            Self::Mul => left * right,
            Self::Div => left / right,
        }
    }
}

impl Each {
    fn of(self, value: f64) -> f64 {
        match self {
            Self::Abs => value.abs(),
            Self::Exp => value.exp(),
            Self::Log => value.ln(),
            Self::Neg => -value,
            Self::Reciprocal => value.recip(),
            #[expect(clippy::cast_possible_truncation, reason = "that is what it is for")]
            Self::Narrow => f64::from(value as f32),
            Self::Same => value,
            Self::Sigmoid => (1.0 + (-value).exp()).recip(),
        }
    }
}

fn softmax(row: &mut [f64]) {
    let greatest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for value in row.iter_mut() {
        *value = (*value - greatest).exp();
        sum += *value;
    }
    for value in row {
        *value /= sum;
    }
}

/// Follows a graph from its input to its output.
struct Reading<'a> {
    nodes: &'a [proto::Node],
    constants: HashMap<&'a str, &'a Constant>,
    /// The name of the last value.
    value: &'a str,
    /// Its names before, from the sums on.
    earlier: Vec<&'a str>,
    steps: Vec<Step>,
    /// Whether its second axis is gone.
    flat: bool,
}

impl<'a> Reading<'a> {
    fn of(graph: &'a Graph, input: &'a str) -> Option<Self> {
        let constants = graph.initializer.iter().map(|constant| (constant.name.as_str(), constant)).collect();
        let mut nodes = graph.node.as_slice();
        let mut value = input;
        if let Some(first) = nodes.first().filter(|first| first.op_type == "Cast") {
            let ([from], [to]) = (first.input.as_slice(), first.output.as_slice()) else { return None };
            // From float32, so nothing is lost.
            if from != value || !matches!(cast_to(first)?, proto::FLOAT | proto::DOUBLE) {
                return None;
            }
            value = to;
            nodes = &nodes[1..];
        }
        Some(Self { nodes, constants, value, earlier: Vec::new(), steps: Vec::new(), flat: false })
    }

    /// The ensemble, which comes next.
    fn trees(&mut self) -> Option<Parts> {
        let (node, rest) = self.nodes.split_first()?;
        let ([from], [to]) = (node.input.as_slice(), node.output.as_slice()) else { return None };
        if node.domain != "ai.onnx.ml" || from != self.value {
            return None;
        }
        self.nodes = rest;
        self.value = to;
        self.earlier.push(to);
        Parts::read(node)
    }

    /// What becomes of the sums; how many values a row then has.
    fn rest(&mut self, targets: usize) -> Option<usize> {
        let mut width = targets;
        let mut widths = vec![width];
        for node in self.nodes {
            let [to] = node.output.as_slice() else { return None };
            if !node.domain.is_empty() && node.domain != "ai.onnx" {
                return None;
            }
            let step = self.step(node, width)?;
            if let Step::Pair(_, other, _) = &step {
                width = match other {
                    Other::Same(row) if row.len() == 1 || row.len() == width => width,
                    Other::Same(row) if width == 1 && !self.flat => row.len(),
                    Other::Earlier(index) if widths.get(*index) == Some(&width) => width,
                    _ => return None,
                };
            }
            self.steps.push(step);
            self.value = to;
            self.earlier.push(to);
            widths.push(width);
        }
        Some(width)
    }

    fn step(&mut self, node: &'a proto::Node, width: usize) -> Option<Step> {
        let pair = match node.op_type.as_str() {
            "Add" => Pair::Add,
            "Sub" => Pair::Sub,
            "Mul" => Pair::Mul,
            "Div" => Pair::Div,
            _ => return self.alone(node, width),
        };
        let [left, right] = node.input.as_slice() else { return None };
        let (other, is_left) = if left == self.value { (right, true) } else { (left, false) };
        if !is_left && right != self.value {
            return None;
        }
        Some(Step::Pair(pair, self.other(other)?, is_left))
    }

    fn other(&self, name: &str) -> Option<Other> {
        if let Some(constant) = self.constants.get(name) {
            // One number for all, or one a column: [K], [1, K].
            let flat_enough = match constant.dims.as_slice() {
                [] | [1] => true,
                [_] | [1, _] => !self.flat,
                _ => false,
            };
            return constant.reals().filter(|values| flat_enough && !values.is_empty()).map(Other::Same);
        }
        Some(Other::Earlier(self.earlier.iter().position(|earlier| *earlier == name)?))
    }

    /// A step that has one value to work on.
    fn alone(&mut self, node: &'a proto::Node, width: usize) -> Option<Step> {
        if node.input.first().map(String::as_str) != Some(self.value) {
            return None;
        }
        let each = match (node.op_type.as_str(), node.input.get(1)) {
            ("Squeeze", Some(axes)) => {
                let axes = self.constants.get(axes.as_str())?;
                let one = axes.raw_data == 1_i64.to_le_bytes() || axes.int64_data == [1];
                if !one || width != 1 || self.flat {
                    return None;
                }
                self.flat = true;
                Each::Same
            }
            ("Softmax", None) => {
                let axis = attribute(node, "axis").map_or(-1, |axis| axis.i);
                return (matches!(axis, 1 | -1) && !self.flat).then_some(Step::Softmax);
            }
            ("Cast", None) => match cast_to(node)? {
                proto::FLOAT => Each::Narrow,
                proto::DOUBLE => Each::Same,
                _ => return None,
            },
            ("Identity", None) => Each::Same,
            ("Abs", None) => Each::Abs,
            ("Exp", None) => Each::Exp,
            ("Log", None) => Each::Log,
            ("Neg", None) => Each::Neg,
            ("Reciprocal", None) => Each::Reciprocal,
            ("Sigmoid", None) => Each::Sigmoid,
            _ => return None,
        };
        Some(Step::Each(each))
    }
}

fn attribute<'a>(node: &'a proto::Node, name: &str) -> Option<&'a Attribute> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

fn cast_to(node: &proto::Node) -> Option<i32> {
    i32::try_from(attribute(node, "to")?.i).ok()
}
