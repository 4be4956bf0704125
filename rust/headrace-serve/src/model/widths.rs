//! How wide the rows of a graph are that does not say so.

use std::time::{Duration, Instant};

use crate::engine::{Engine, Port};
use crate::probe::probe;

/// Widths that are tried, and for how long.
const WIDEST: usize = 2048;
const TIME: Duration = Duration::from_millis(500);

/// An input of which the graph does not say how wide its rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Width {
    /// Its position.
    pub(super) input: usize,
    /// The least width that can be computed.
    pub(super) least: usize,
    /// Whether it is the only one.
    pub(super) only: bool,
}

impl Width {
    /// The inputs with the least width filled in.
    pub(super) fn filled(self, inputs: &[Port]) -> Vec<Port> {
        let mut inputs = inputs.to_vec();
        if let Some(width) = inputs.get_mut(self.input).and_then(|port| port.shape.get_mut(1)) {
            *width = Some(self.least);
        }
        inputs
    }
}

/// Whether the graph leaves more open than the number of rows.
pub(super) fn is_open(port: &Port) -> bool {
    port.shape.iter().skip(1).any(Option::is_none)
}

/// Finds out by trying, where there is one such input, and it is a table.
pub(super) fn find(engine: &mut dyn Engine, inputs: &[Port]) -> Option<Width> {
    let mut open = (0..).zip(inputs).filter(|(_, port)| is_open(port)).map(|(input, _)| input);
    let (input, None) = (open.next()?, open.next()) else { return None };
    if inputs.get(input)?.shape.len() != 2 {
        return None;
    }
    let mut takes = |width: usize| {
        let filled = Width { input, least: width, only: false }.filled(inputs);
        probe(&filled).is_some_and(|rows| engine.run(&rows).is_ok())
    };
    let began = Instant::now();
    let least = (1..=WIDEST).take_while(|_| began.elapsed() < TIME).find(|width| takes(*width))?;
    Some(Width { input, least, only: !takes(least + 1) })
}
