//! What is looked at before a model is served.

use super::Package;
use crate::engine::Port;
use crate::error::StartError;
use crate::tensor::{Data, Kind};

/// Each input has an axis for rows.
pub(super) fn check_axes(inputs: &[Port]) -> Result<(), StartError> {
    let failed = |reason: String, hint| Err(StartError::Unfit { reason, hint });
    if inputs.is_empty() {
        return failed(
            "the model has no inputs".to_owned(),
            "Make the graph with an input whose first axis is the rows.",
        );
    }
    match inputs.iter().find(|port| port.shape.is_empty()) {
        Some(port) => failed(
            format!("the model's input '{}' has no axis for rows, or does not say its shape", port.name.escape_debug()),
            "Give it a shape whose first axis is the rows, such as ['n', 4].",
        ),
        None => Ok(()),
    }
}

/// Graph, plan, classes and golden rows of a package belong together.
pub(super) fn check_graph(package: &Package, inputs: &[Port], outputs: &[Port]) -> Result<(), StartError> {
    let failed = |reason: String| Err(StartError::Model { reason });
    let width = package.plan.outputs().len();
    let classes = package.classes.as_ref().map(Data::len);
    let fits = |port: &Port, shape: &[Option<usize>]| port.kind == Kind::F32 && port.shape == shape;
    let given: &[Option<usize>] = &classes.map_or(vec![None], |classes| vec![None, Some(classes)]);
    match (inputs, outputs) {
        ([input], [output]) if fits(input, &[None, Some(width)]) && fits(output, given) => {}
        _ => {
            return failed(format!(
                "the model and the feature plan do not belong together: the plan gives {width} features, the model takes {inputs:?} and gives {outputs:?}"
            ));
        }
    }
    let golden = &package.golden;
    let scores = classes.unwrap_or(1);
    if golden.rows == 0
        || golden.features.len() != golden.rows * width
        || golden.scores.len() != golden.rows * scores
        || golden.names.len() != scores
    {
        return Err(StartError::Golden {
            reason: "the golden rows are damaged: their shape is not the model's".to_owned(),
        });
    }
    Ok(())
}
