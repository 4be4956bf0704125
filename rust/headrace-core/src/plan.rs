//! The feature plan: a fitted document that says how raw rows become what a model takes, and the one code that executes it
//! in training and in serving.
//!
//! [`Plan::parse`] checks a document, all of it, and builds what is looked up: hash maps, tables, time zones. What is
//! executed after that depends on nothing but the row: not on other rows, nor on how a frame is chunked, sliced or typed
//! within the declared casts, nor on the number of threads. What each step computes stands in
//! `python/headrace/compute/plan/document.py`.
//!
//! - `json`, `document`, `program`: from text to what is executed, and whatever is wrong with it. `known`: columns that it
//!   never saw.
//! - `types`, `read`, `column`: Arrow arrays as typed columns; the declared casts.
//! - `number`, `keys`, `vocabulary`, `clock`, `zone`: what the steps compute.
//! - `run`: blocks, threads, and the shapes of the result. `row`, `iso`: one row of JSON; `table`: rows of JSON as columns.

mod clock;
mod column;
mod document;
mod iso;
mod json;
mod keys;
mod known;
mod nearest;
mod number;
mod program;
mod read;
mod row;
mod run;
mod table;
mod types;
mod vocabulary;
mod zone;

use std::num::NonZeroUsize;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use hashbrown::HashMap;

pub use run::Order;
pub use types::{UNREADABLE, WIDE_INTEGER};

use crate::error::{Error, Result};
use crate::sparse::Csr;
use document::Document;
use known::Known;
use program::Program;

/// A feature plan, checked and ready.
#[derive(Debug)]
pub struct Plan {
    program: Program,
    names: HashMap<Box<str>, usize>,
    known: Known,
    fingerprint: String,
}

/// What [`Plan::row`] works with, kept from row to row.
#[derive(Debug)]
pub struct Scratch(run::Scratch);

/// SHA-256 over the canonical JSON of what a document computes, as 64 hexadecimal digits; the document need not be a
/// valid plan, nor state a fingerprint.
pub fn fingerprint(json: &str) -> Result<String> {
    json::fingerprint(&json::parse(json)?)
}

impl Plan {
    /// Checks a document, all of it.
    pub fn parse(json: &str) -> Result<Self> {
        let parsed = json::parse(json)?;
        let document = Document::read(&parsed)?;
        let program = program::build(&document)?;
        let fingerprint = json::fingerprint(&parsed)?;
        if parsed.get("fingerprint").and_then(serde_json::Value::as_str) != Some(&fingerprint) {
            return Err(json::invalid("its content does not have the fingerprint that it states"));
        }
        let names = row::names(&program);
        Ok(Self { program, names, known: Known::of(&document), fingerprint })
    }

    /// Names of the outputs, in order.
    #[must_use]
    pub fn outputs(&self) -> &[String] {
        &self.program.outputs
    }

    /// The SHA-256 of what the plan computes, as 64 hexadecimal digits.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Refuses columns that the plan neither reads nor saw when it was fitted: who sends them means something by them that
    /// the plan does not. [`Plan::matrix`] and [`Plan::row`] by themselves read past them, as a server does. A plan of
    /// before it was written down which columns were there refuses nothing, nor is anything said of extra columns where one
    /// that is read is not there.
    pub fn check_columns(&self, names: &[&str]) -> Result<()> {
        self.known.check(names)
    }

    /// The same for the keys of a row as [`Plan::row`] takes it.
    pub fn check_keys(&self, json: &[u8]) -> Result<()> {
        self.known.check_row(json)
    }

    /// All the outputs of a frame as float32, rows in the order of the frame; every NaN is 0x7fc00000.
    pub fn matrix(
        &self,
        schema: &SchemaRef,
        batches: &[RecordBatch],
        order: Order,
        threads: NonZeroUsize,
    ) -> Result<Vec<f32>> {
        program::check_width(self.program.outputs.len())?;
        run::matrix(&self.program, schema, batches, order, threads)
    }

    /// The same, with zeros left out; NaN is kept.
    pub fn sparse(&self, schema: &SchemaRef, batches: &[RecordBatch], threads: NonZeroUsize) -> Result<Csr<f32>> {
        run::sparse(&self.program, schema, batches, threads)
    }

    /// What [`Plan::row`] works with.
    #[must_use]
    pub fn scratch(&self) -> Scratch {
        Scratch(run::Scratch::new(&self.program))
    }

    /// Appends the outputs of one row, a JSON object with a value a column; the same bits as [`Plan::matrix`] gives.
    ///
    /// Numbers for columns of numbers, true and false, text; dates, datetimes and times of day as ISO 8601 text (with an
    /// offset from UTC if and only if the column has a zone); durations in seconds; decimals as numbers or text; "NaN",
    /// "Infinity" and "-Infinity" for floats; null.
    /// An absent column is an error, another key is ignored.
    pub fn row(&self, json: &[u8], scratch: &mut Scratch, out: &mut Vec<f32>) -> Result<()> {
        program::check_width(self.program.outputs.len())?;
        row::row(&self.program, &self.names, json, &mut scratch.0, out)
    }

    /// Names and types of what [`Plan::table`] gives.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        table::schema(&self.program)
    }

    /// Rows as [`Plan::row`] takes them, as a batch with `schema`, which is [`Plan::schema`]: the raw columns with the
    /// same values as the plan reads. The first row that cannot be read is an error.
    pub fn table<'a>(&self, schema: &SchemaRef, rows: impl Iterator<Item = &'a [u8]>) -> Result<RecordBatch> {
        table::table(&self.program, &self.names, schema, rows)
    }
}

impl Error {
    /// Whether a plan is at fault, and not the data.
    #[must_use]
    pub fn is_of_plan(&self) -> bool {
        matches!(self, Self::InvalidPlan { .. } | Self::OldPlan { .. } | Self::NewerPlan { .. })
    }
}
