//! Many rows at once: a table is cut into pieces, which wait for engines as requests do, so that others come in between.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::accents::arrow::Table;
use crate::error::Refusal;
use crate::inputs::Inputs;
use crate::model::{Model, Output};
use crate::shadow::Shadows;
use crate::tensor::{Tensor, join};

/// Rows of a piece. Long enough for what a run costs beside its rows to vanish, short enough for who waits behind it.
const PIECE: NonZeroUsize = NonZeroUsize::new(1024).unwrap();
/// Pieces that wait or are computed at the same time.
const WINDOW: usize = 8;

/// Computes all the rows of a table, or refuses them all.
pub async fn predict(
    model: &Arc<Model>,
    worker: usize,
    table: Table,
    most: usize,
    limit: Duration,
    shadows: &Shadows,
) -> Result<Vec<Output>, Refusal> {
    let end = Instant::now() + limit;
    let table = if model.batched { table } else { table.joined()? };
    let rows = if model.batched { model.piece(PIECE) } else { usize::MAX };
    let pieces = table.pieces(rows);
    let mut answers: Vec<Option<Vec<Output>>> = pieces.iter().map(|_| None).collect();
    let mut running = JoinSet::new();
    // A shadow gets the pieces, and misses those that it has no time for.
    let tried = |inputs: &Inputs, outputs: &[Output]| shadows.offer(worker, model, inputs, outputs);
    for (number, (first, piece)) in pieces.into_iter().enumerate() {
        // What waits already may be ours.
        while running.len() >= WINDOW || (!running.is_empty() && model.scheduler.admit(limit).is_err()) {
            keep(&mut running, &mut answers, &tried).await?;
        }
        let kept = model.is_shaded().then(|| Inputs { table: Some(piece.clone()), ..Inputs::default() });
        let reader = Arc::clone(model);
        let inputs = tokio::task::spawn_blocking(move || reader.columns(&piece, first, most)).await;
        let inputs = inputs.map_err(|_| Refusal::Bad("the table cannot be read".to_owned()))??;
        let model = Arc::clone(model);
        running.spawn_local(async move {
            let left = end.saturating_duration_since(Instant::now());
            let answer = model.compute_part(worker, inputs, left).await.map_err(|refusal| refusal.within(limit));
            (number, kept, answer)
        });
    }
    while !running.is_empty() {
        keep(&mut running, &mut answers, &tried).await?;
    }
    let outputs = joined(answers.into_iter().flatten().collect())?;
    model.metrics.answered(outputs.first().map_or(0, |output| output.tensor.rows()));
    Ok(outputs)
}

/// The number of a piece, what its shadows are tried on, and its answer.
type Piece = (usize, Option<Inputs>, Result<Vec<Output>, Refusal>);

/// Waits for the next piece that is ready, and keeps its answer.
async fn keep(
    running: &mut JoinSet<Piece>,
    answers: &mut [Option<Vec<Output>>],
    tried: &impl Fn(&Inputs, &[Output]),
) -> Result<(), Refusal> {
    match running.join_next().await {
        Some(Ok((number, kept, answer))) => {
            let answer = answer?;
            if let Some(inputs) = kept {
                tried(&inputs, &answer);
            }
            answers[number] = Some(answer);
            Ok(())
        }
        Some(Err(_)) => Err(Refusal::Failed("the engine failed".to_owned())),
        None => Ok(()),
    }
}

/// The answers of all pieces as one.
fn joined(mut answers: Vec<Vec<Output>>) -> Result<Vec<Output>, Refusal> {
    if answers.len() == 1 {
        return Ok(answers.pop().unwrap_or_default());
    }
    let names: Vec<Arc<str>> =
        answers.first().map(|first| first.iter().map(|output| Arc::clone(&output.name)).collect()).unwrap_or_default();
    let parts: Vec<Vec<Tensor>> =
        answers.into_iter().map(|part| part.into_iter().map(|output| output.tensor).collect()).collect();
    let parts: Vec<&[Tensor]> = parts.iter().map(Vec::as_slice).collect();
    let tensors = join(&parts)
        .ok_or_else(|| Refusal::Failed("the model's outputs differ in more than their number of rows".to_owned()))?;
    Ok(names.into_iter().zip(tensors).map(|(name, tensor)| Output { name, tensor }).collect())
}
