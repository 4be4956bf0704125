//! Whether tensors have the shapes that a graph takes.

use super::widths::Width;
use super::{Model, shown};
use crate::engine::Port;
use crate::error::Refusal;
use crate::tensor::{Data, Tensor};

impl Model {
    /// Whether the graph takes such tensors.
    pub(super) fn check_shapes(&self, tensors: &[Tensor]) -> Result<(), Refusal> {
        let rows = tensors.first().map_or(0, Tensor::rows);
        for (position, (port, tensor)) in self.ports().iter().zip(tensors).enumerate() {
            let name = port.name.escape_debug();
            let fits = port.shape.len() == tensor.shape.len()
                && port
                    .shape
                    .iter()
                    .zip(&tensor.shape)
                    .all(|(wanted, found)| wanted.is_none_or(|wanted| wanted == *found));
            if !fits {
                let (found, wanted) = (&tensor.shape, shown(&port.shape));
                return Err(Refusal::Bad(format!("the input '{name}' has the shape {found:?}, expected {wanted:?}")));
            }
            if let Some(Width { least, .. }) = self.width.filter(|width| width.input == position) {
                let found = tensor.width();
                if found < least {
                    return Err(Refusal::Bad(format!(
                        "the input '{name}' has {found} columns, expected {least} or more"
                    )));
                }
            }
            if tensor.rows() != rows {
                let found = tensor.rows();
                return Err(Refusal::Bad(format!("the input '{name}' has {found} rows, the others have {rows}")));
            }
            if matches!(&tensor.data, Data::Text(texts) if texts.iter().any(|text| text.contains('\0'))) {
                return Err(Refusal::Bad(format!(
                    "the input '{name}' holds a NUL, which ONNX Runtime takes in no text"
                )));
            }
        }
        Ok(())
    }

    /// What shapes there are, for a person, where the graph leaves them open.
    pub(super) fn open_shapes(&self, tensors: &[Tensor]) -> String {
        if !self.open {
            return String::new();
        }
        let one = |(port, tensor): (&Port, &Tensor)| format!("'{}' of {:?}", port.name.escape_debug(), tensor.shape);
        let shapes: Vec<String> = self.ports().iter().zip(tensors).take(20).map(one).collect();
        shapes.join(", ")
    }
}
