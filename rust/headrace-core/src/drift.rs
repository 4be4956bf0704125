//! Drift: has the distribution of a column changed, by how much, and how sure is that.
//!
//! Two ways in: [`samples`] compares raw numbers, [`column_drift`] the counts that a profile hands over. Every answer
//! carries the sizes of both sides, what the bins can hide, a p-value or an interval that holds with few rows, and the
//! change that would have been seen. [`judge`] reads the answers of many columns together.
//!
//! A verdict is never taken from a p-value of "nothing changed": with a million rows something always has. It asks
//! whether the change exceeds a size that matters, and says so if the rows cannot tell.

mod buckets;
mod column;
pub mod counts;
mod divergences;
mod draws;
mod judge;
pub mod kolmogorov;
mod missing;
mod ordered;
mod paths;
mod problem;
mod rates;
pub mod samples;
mod shape;
mod special;
mod values;

use std::collections::BTreeMap;

use rayon::ThreadPoolBuilder;
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::profile::{BinnedColumn, EmbeddedColumn};

pub use column::{ColumnDrift, Measure, Part, Settings, column_drift, embedded_drift};
pub use judge::{Correction, Verdict, adjust, judge, leading};
pub use problem::Problem;
pub use rates::Rates;
pub use special::chi2_sf;

/// [`column_drift`] and [`embedded_drift`] of many columns, in the order given, by at most `threads` threads. `deltas` are
/// those of columns for which the general one does not hold; each must be of a column.
pub fn compare(
    columns: &[BinnedColumn],
    embedded: &[EmbeddedColumn],
    settings: &Settings,
    deltas: &BTreeMap<String, f64>,
    threads: usize,
) -> Result<Vec<ColumnDrift>> {
    settings.check()?;
    let of = |name: &str| match deltas.get(name) {
        None => Ok(*settings),
        Some(delta) => {
            let own = Settings { delta: *delta, ..*settings };
            own.check().map(|()| own)
        }
    };
    let known = |name: &String| columns.iter().any(|c| c.name == *name) || embedded.iter().any(|c| c.name == *name);
    if let Some(name) = deltas.keys().filter(|name| !known(name)).min() {
        return Err(Problem::NoSuchColumn { column: name.clone(), what: "a delta" }.into());
    }
    let binned = |column: &BinnedColumn| column_drift(column, &of(&column.name)?);
    let vectors = |column: &EmbeddedColumn| embedded_drift(column, &of(&column.name)?);
    if threads > 1 && columns.len() > 1 {
        let threads = threads.min(columns.len());
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("headrace-drift-{index}"))
            .build()
            .map_err(|error| Error::Threads { threads, reason: error.to_string() })?;
        // Collected first, so that the error that is told is the leftmost column's.
        let outcomes: Vec<_> = pool.install(|| columns.par_iter().map(binned).collect());
        outcomes.into_iter().chain(embedded.iter().map(vectors)).collect()
    } else {
        columns.iter().map(binned).chain(embedded.iter().map(vectors)).collect()
    }
}
