//! The content hash of a frame: equal content, equal hash, however the frame lies in memory.
//!
//! # What counts
//!
//! Column order, column names, logical types, the number of rows, which values are null, and every value bit for bit:
//! `-0.0` is not `0.0`, and a NaN is its payload. Of a type count the unit, time zone, precision, scale, fixed length,
//! the names of struct fields, the name and metadata of an extension type, and the categories of a polars `Enum`.
//!
//! # What does not count
//!
//! Slices, chunks and padding; whatever lies under a null; an absent validity bitmap as against one that is all set;
//! 32-bit, 64-bit or view offsets of strings, binaries and lists; the name of a list's item field; `nullable`; any other
//! metadata. A dictionary column hashes by the values its keys stand for, so that order, repetition and unused entries
//! of the dictionary do not count; it never equals a plain column, because a categorical feature is not a string
//! feature to whoever reads the type. If the dictionary is *ordered*, the position of each value counts too: `low < high`
//! is not `high < low`.
//!
//! # The encoding, version 1
//!
//! SHA-256 over `"headrace.frame\0" ‖ 1u8 ‖ columns ‖ rows`, and for each column `name ‖ type ‖ node`. Integers are
//! `u64` little-endian, strings are framed by their byte length. `type` is a self-delimiting tree of tags (`hash/types.rs`).
//! `node` is 32 bytes: SHA-256 over `"headrace.node\0" ‖ rows`, and then by shape:
//!
//! | shape | lanes, each 32 bytes |
//! |---|---|
//! | null | none |
//! | boolean | validity, values: bits, least significant first, a null is 0 |
//! | fixed width | validity, values: the little-endian bytes of the values that are not null |
//! | string, binary | validity, values: LEB128 length and bytes of each value that is not null |
//! | list, map | validity, lengths: LEB128 for each list that is not null, node of the items of those lists |
//! | fixed-size list | validity, node of the items of the lists that are not null |
//! | struct | validity, a node for each field, over the rows where the struct is not null |
//! | dictionary | node of the values that the keys stand for; if ordered, also the keys: LEB128 for each that is not null |
//!
//! A lane is the SHA-256 of a byte stream. The streams are concatenations over the rows, so batches may be cut anywhere;
//! together with the row count and the type they determine the column, so two frames of different content meet only if
//! SHA-256 does.
//!
//! # Cost
//!
//! Memory is bounded by the batch in hand: buffers are hashed where they lie, and a column keeps a few hundred bytes of
//! state. Columns are hashed in parallel by as many threads as the caller says; the hash does not depend on it.

mod column;
mod sink;
mod types;

use std::fmt;
use std::num::NonZeroUsize;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, Schema, SchemaRef};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use column::Node;
use types::put_framed;

/// Version of the encoding. Whoever changes a byte of it raises this number.
pub const ENCODING_VERSION: u8 = 1;

/// Below this many values in a batch, waking threads costs more than it saves.
const PARALLEL_VALUES: usize = 1 << 16;

/// The content hash of a frame: 32 bytes, shown as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrameDigest([u8; 32]);

impl FrameDigest {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for FrameDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for FrameDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FrameDigest({self})")
    }
}

/// Hashes a frame batch by batch.
#[derive(Debug)]
pub struct FrameHasher {
    schema: SchemaRef,
    columns: Vec<Node>,
    rows: u64,
    threads: usize,
    pool: Option<ThreadPool>,
}

impl FrameHasher {
    /// A hasher for frames of this schema that uses at most `threads` threads.
    ///
    /// Fails with [`Error::UnsupportedType`] for unions, run-end encoding and types newer than this crate.
    pub fn new(schema: SchemaRef, threads: NonZeroUsize) -> Result<Self> {
        let columns = schema
            .fields()
            .iter()
            .map(|field| {
                Node::new(field).map_err(|data_type| Error::UnsupportedType { column: field.name().clone(), data_type })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { threads: threads.get().min(columns.len()), schema, columns, rows: 0, pool: None })
    }

    /// Feeds the next rows. They must have the schema's columns and types; after an error the hasher is of no more use.
    pub fn update(&mut self, batch: &RecordBatch) -> Result<()> {
        self.check(batch)?;
        self.rows += batch.num_rows() as u64;
        let arrays = batch.columns();
        if self.threads > 1 && batch.num_rows().saturating_mul(arrays.len()) >= PARALLEL_VALUES {
            let columns = &mut self.columns;
            let pool = match &mut self.pool {
                Some(pool) => pool,
                vacant => vacant.insert(start_pool(self.threads)?),
            };
            let outcomes: Vec<_> = pool.install(|| {
                columns.par_iter_mut().with_max_len(1).zip(arrays).map(|(node, array)| node.update(array)).collect()
            });
            self.first_damage(outcomes)
        } else {
            let outcomes = self.columns.iter_mut().zip(arrays).map(|(node, array)| node.update(array)).collect();
            self.first_damage(outcomes)
        }
    }

    /// The hash of everything fed so far.
    #[must_use]
    pub fn finish(self) -> FrameDigest {
        let mut frame = Sha256::new();
        frame.update(b"headrace.frame\0");
        frame.update([ENCODING_VERSION]);
        frame.update((self.columns.len() as u64).to_le_bytes());
        frame.update(self.rows.to_le_bytes());
        for (field, node) in self.schema.fields().iter().zip(self.columns) {
            let mut head = Vec::new();
            put_framed(&mut head, field.name().as_bytes());
            types::describe(field, &mut head);
            frame.update(&head);
            frame.update(node.finish());
        }
        FrameDigest(frame.finalize().into())
    }

    fn check(&self, batch: &RecordBatch) -> Result<()> {
        let schema = batch.schema_ref();
        if schema.fields().len() != self.columns.len() {
            return Err(Error::SchemaMismatch {
                found: format!("{} columns", schema.fields().len()),
                expected: self.columns.len().to_string(),
            });
        }
        let mut pairs = schema.fields().iter().zip(self.schema.fields());
        match pairs.find(|(found, want)| found.name() != want.name() || found.data_type() != want.data_type()) {
            None => Ok(()),
            Some((found, want)) => Err(Error::SchemaMismatch {
                found: format!("a column {:?} of type {}", found.name(), found.data_type()),
                expected: format!("{:?} of type {}", want.name(), want.data_type()),
            }),
        }
    }

    /// The leftmost column's error, so that the message does not depend on which thread was first.
    fn first_damage(&self, outcomes: Vec<Result<(), String>>) -> Result<()> {
        for (field, outcome) in self.schema.fields().iter().zip(outcomes) {
            outcome.map_err(|reason| Error::DamagedColumn { column: field.name().clone(), reason })?;
        }
        Ok(())
    }
}

/// Hashes a whole stream of batches of this schema, at most one batch of it in memory.
pub fn frame_digest(
    schema: &Schema,
    batches: impl IntoIterator<Item = Result<RecordBatch, ArrowError>>,
    threads: NonZeroUsize,
) -> Result<FrameDigest> {
    let mut hasher = FrameHasher::new(schema.clone().into(), threads)?;
    for batch in batches {
        hasher.update(&batch.map_err(Error::Producer)?)?;
    }
    Ok(hasher.finish())
}

fn start_pool(threads: usize) -> Result<ThreadPool> {
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("headrace-hash-{index}"))
        .build()
        .map_err(|error| Error::Threads { threads, reason: error.to_string() })
}
