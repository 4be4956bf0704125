//! From a prediction to whoever watches.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;

use crate::error::Refusal;
use crate::http::{Reply, Service};
use crate::inputs::{Inputs, RawRows};
use crate::model::{Model, Output};
use crate::shadow::Shadows;
use crate::tap::{Record, now};
use crate::tensor::Tensor;

/// What was told, and what it was made from.
pub(crate) struct Predicted {
    pub(crate) outputs: Vec<Output>,
    pub(crate) raw: Option<RawRows>,
    pub(crate) table: Vec<RecordBatch>,
    pub(crate) tensors: Vec<Tensor>,
}

impl Service {
    /// Computes, keeps what a watcher looks at, and leaves the model's shadows what they are tried on.
    pub(crate) async fn predict(
        &self,
        worker: usize,
        model: &Model,
        inputs: Inputs,
        limit: Duration,
    ) -> Result<Predicted, Refusal> {
        let tried = Shadows::kept(model, &inputs);
        let Inputs { tensors, raw, .. } = inputs;
        let kept = if model.is_watched() { model.kept(&tensors) } else { Vec::new() };
        let outputs = model.predict(worker, tensors, limit).await?;
        if let Some(tried) = tried {
            self.shadows.offer(worker, model, &tried, &outputs);
        }
        Ok(Predicted { outputs, raw, table: Vec::new(), tensors: kept })
    }

    /// A reply that has its request's name; what was predicted is left to the watcher.
    pub(crate) fn watched(&self, reply: Reply, model: &Model, id: Arc<str>, predicted: Predicted) -> Reply {
        if let Some(tap) = self.tap.as_ref().filter(|_| model.is_watched()) {
            let Predicted { outputs, raw, table, tensors } = predicted;
            let (subject, id) = (Arc::clone(&model.subject), Arc::clone(&id));
            tap.leave(Record { subject, id, time: now(), raw, table, tensors, outputs });
        }
        Reply { id: Some(id), ..reply }
    }
}
