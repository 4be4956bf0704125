//! What is watched of a version: all that must be known of it once it may be gone.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use headrace_core::plan::Plan;
use headrace_core::profile::Profile;

/// What a package was made on, to count live rows on its bins.
#[derive(Debug)]
pub struct References {
    /// Of the raw inputs.
    pub inputs: Profile,
    /// Of what the model says.
    pub scores: Option<Profile>,
    /// Which outputs are watched, and under which name.
    pub score_columns: Vec<(usize, String)>,
}

/// A version, for whoever watches.
#[derive(Debug)]
pub struct Subject {
    /// Name of the model.
    pub model: String,
    /// Its version.
    pub version: String,
    /// Names of what it takes.
    pub inputs: Vec<String>,
    /// What reads raw rows, and the columns that it finds in them; none where a graph takes tensors.
    pub plan: Option<(Arc<Plan>, SchemaRef)>,
    /// What it was made on, if its package says so.
    pub references: Option<References>,
}

impl Subject {
    /// Raw rows, which were predicted before, as typed columns: the values that the plan reads. None where there is no
    /// plan, or a row cannot be read.
    pub fn table<'a>(&self, rows: impl Iterator<Item = &'a [u8]>) -> Option<RecordBatch> {
        let (plan, schema) = self.plan.as_ref()?;
        plan.table(schema, rows).ok()
    }
}
