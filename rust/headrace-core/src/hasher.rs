//! Rows of named values as rows of hashed features: scikit-learn's `FeatureHasher` bit for bit, Spark's, and one with a
//! key.
//!
//! A row is a set of columns and their values. A string (a category) is the feature `column=value` with the value 1; a
//! number is the feature `column` with its value, and nothing if it is zero; `true` is 1. Null is as if the column were
//! not there, and each item of a list is a value of its own. A date or time is a category, written as ISO 8601
//! ([`crate::value`]); so is a number whose column is named in [`Options::categorical`].
//!
//! | mode | hash of the feature's UTF-8 | column | sign |
//! |---|---|---|---|
//! | [`Mode::Sklearn`] | `MurmurHash3`, seed 0 | absolute value, modulo | the hash's |
//! | [`Mode::Spark`] | `MurmurHash3`, seed 42 | non-negative modulo | none |
//! | [`Mode::Keyed`] | `SipHash-2-4` of role, length of the name, name, value | upper 63 bits, modulo | lowest bit |
//!
//! In Spark's mode a boolean is a category (`c=true`), numbers as categories are written as Java writes them, and zeros
//! are kept.
//!
//! Features that fall on one column are added up in the order of the frame's columns; sums that cancel stay as zeros.

mod bare;
mod block;
mod census;
mod column;
mod dictionary;
mod lanes;
mod network;
mod number;
mod problem;
mod queue;
mod rows;
mod scheme;
mod strings;
mod text;

use std::collections::HashSet;
use std::fmt;
use std::num::NonZeroUsize;
use std::ops::{AddAssign, Range};

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, Result};
use crate::sparse::Csr;
use block::Worker;
use column::{Column, Reading};
use scheme::{ABSENT, column_of};

pub use bare::hash_column;
pub use census::{Census, Collision, Feature, Load};
pub use problem::Problem;
pub use rows::{Item, Rows};

/// Rows that are hashed at a time: their keys stay in the processor's cache.
const BLOCK: usize = 1024;
/// Below this many values, waking threads costs more than it saves.
const PARALLEL_VALUES: usize = 1 << 14;
/// The bucket of a null.
pub const NULL_BUCKET: i32 = -1;

/// Whose hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// scikit-learn's.
    Sklearn,
    /// Spark's, of 3.0 and newer.
    Spark,
    /// One that nobody can foresee without the key.
    Keyed(Secret),
}

/// 128 bits that are not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub [u8; 16]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// How rows become features.
#[derive(Debug, Clone)]
pub struct Options {
    /// Number of columns: 1 to 2^31 - 1.
    pub columns: i32,
    /// Whose hash.
    pub mode: Mode,
    /// Whether the hash's sign is the value's. Spark has none.
    pub signed: bool,
    /// Columns whose numbers and booleans are categories.
    pub categorical: HashSet<String>,
}

/// A type of values: what is written is rounded to it first, and then added up in it.
pub trait Value: Copy + Send + Sync + fmt::Debug + AddAssign + PartialEq + 'static {
    /// The nearest to `value`.
    fn of(value: f64) -> Self;

    /// 1, or -1 if the lowest bit of `sign` is set.
    fn one(sign: u32) -> Self;
}

impl Value for f64 {
    fn of(value: f64) -> Self {
        value
    }

    // By its bits: no conversion, and no arithmetic.
    #[inline]
    fn one(sign: u32) -> Self {
        Self::from_bits(1_f64.to_bits() | (u64::from(sign) << 63))
    }
}

impl Value for f32 {
    #[allow(clippy::cast_possible_truncation, reason = "rounds to the nearest, as numpy does")]
    fn of(value: f64) -> Self {
        value as Self
    }

    #[inline]
    fn one(sign: u32) -> Self {
        Self::from_bits(1_f32.to_bits() | (sign << 31))
    }
}

/// What the rows of a frame are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// Dicts from the columns' names to values.
    Named,
    /// The same, every value a category: what [`Hasher::buckets`] reads.
    Categories,
    /// Tokens: every column is of strings or lists of strings, and its name does not matter.
    Tokens,
}

/// Makes rows of features. It holds no state: a row gives the same whatever came before it.
#[derive(Debug, Clone)]
pub struct Hasher {
    options: Options,
}

/// Some rows of one batch.
struct Piece<'a> {
    columns: &'a [Column<'a>],
    rows: Range<usize>,
}

impl Hasher {
    /// Fails with [`Problem::Columns`] for a number of columns that cannot be.
    pub fn new(options: Options) -> Result<Self> {
        if options.columns < 1 {
            return Err(Problem::Columns { found: options.columns }.into());
        }
        Ok(Self { options })
    }

    /// Number of columns of the result.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.options.columns.unsigned_abs() as usize
    }

    /// A frame as sparse rows. The result does not depend on `threads`, nor on how the frame is cut into batches.
    pub fn sparse<T: Value>(
        &self,
        frame: Frame,
        schema: &Schema,
        batches: &[RecordBatch],
        threads: NonZeroUsize,
    ) -> Result<Csr<T>> {
        let prepared = self.prepare(reading(frame), schema, batches)?;
        let bound: usize = prepared.iter().zip(batches).map(|(columns, batch)| bound(columns, batch.num_rows())).sum();
        let pieces = cut(&prepared, batches);
        let mut made = Csr::new(self.columns());
        // More than fits is noticed block by block.
        made.reserve(bound, batches.iter().map(RecordBatch::num_rows).sum());
        let threads = if bound < PARALLEL_VALUES { 1 } else { threads.get().min(pieces.len()) };
        let produce = |worker: &mut Worker, number: usize| {
            let piece = &pieces[number];
            worker.block::<T>(piece.columns, piece.rows.clone(), self.columns())
        };
        queue::in_order(pieces.len(), threads, produce, |block| block.append(&mut made))?;
        Ok(made)
    }

    /// A frame as entries (column, value) that are neither sorted nor added up: `indices` may repeat within a row.
    pub fn entries(&self, frame: Frame, schema: &Schema, batches: &[RecordBatch]) -> Result<Csr<f64>> {
        let prepared = self.prepare(reading(frame), schema, batches)?;
        let (mut made, mut worker) = (Csr::new(self.columns()), Worker::default());
        for piece in cut(&prepared, batches) {
            worker.entries(piece.columns, piece.rows, &mut made)?;
        }
        Ok(made)
    }

    /// A frame as float32 values, row after row, [`Hasher::columns`] of them a row.
    pub fn dense(
        &self,
        frame: Frame,
        schema: &Schema,
        batches: &[RecordBatch],
        threads: NonZeroUsize,
    ) -> Result<Vec<f32>> {
        let prepared = self.prepare(reading(frame), schema, batches)?;
        let bound: usize = prepared.iter().zip(batches).map(|(columns, batch)| bound(columns, batch.num_rows())).sum();
        let width = self.columns();
        spread(cut(&prepared, batches), threads, bound, width, 0.0_f32, |worker, piece, out| {
            worker.dense(piece.columns, piece.rows.clone(), width, out)
        })
    }

    /// A frame as one bucket a column, row after row: every column is a category, and a null is [`NULL_BUCKET`].
    pub fn buckets(&self, schema: &Schema, batches: &[RecordBatch], threads: NonZeroUsize) -> Result<Vec<i32>> {
        let prepared = self.prepare(Reading::Categories, schema, batches)?;
        let bound: usize = prepared.iter().zip(batches).map(|(columns, batch)| bound(columns, batch.num_rows())).sum();
        let width = schema.fields().len();
        spread(cut(&prepared, batches), threads, bound, width, NULL_BUCKET, |worker, piece, out| {
            worker.keys(piece.columns, piece.rows.clone(), |column, row, key| {
                if key != ABSENT {
                    out[row * width + column] = column_of(key);
                }
            })
        })
    }

    /// Counts every feature of a frame.
    pub fn census(&self, frame: Frame, schema: &Schema, batches: &[RecordBatch]) -> Result<Census> {
        census::count(self, reading(frame), schema, batches)
    }

    /// Takes rows value by value.
    #[must_use]
    pub fn rows<T: Value>(&self, merge: bool) -> Rows<'_, T> {
        Rows::new(&self.options, merge)
    }

    /// What can be said without rows.
    fn check(&self, reading: Reading, schema: &Schema) -> Result<()> {
        if schema.fields().is_empty() {
            return Err(Problem::NoColumns.into());
        }
        let mut names = HashSet::new();
        for field in schema.fields() {
            if reading != Reading::Tokens && !names.insert(field.name()) {
                return Err(Problem::Repeated { column: field.name().clone() }.into());
            }
            // Also for a frame without rows.
            column::check(&self.options, reading, field)?;
        }
        let missing = self.options.categorical.iter().filter(|name| !names.contains(name)).min();
        if let (Reading::Named, Some(missing)) = (reading, missing) {
            return Err(Problem::Missing { column: missing.clone() }.into());
        }
        Ok(())
    }

    fn prepare<'a>(
        &self,
        reading: Reading,
        schema: &'a Schema,
        batches: &[RecordBatch],
    ) -> Result<Vec<Vec<Column<'a>>>> {
        self.check(reading, schema)?;
        let mut first_row = 0;
        batches
            .iter()
            .map(|batch| {
                let columns = schema.fields().iter().zip(batch.columns());
                let columns =
                    columns.map(|(field, array)| Column::new(&self.options, reading, field.name(), array, first_row));
                let columns = columns.collect::<Result<Vec<_>>>();
                first_row += batch.num_rows();
                columns
            })
            .collect()
    }
}

fn reading(frame: Frame) -> Reading {
    match frame {
        Frame::Named => Reading::Named,
        Frame::Categories => Reading::Categories,
        Frame::Tokens => Reading::Tokens,
    }
}

fn bound(columns: &[Column<'_>], rows: usize) -> usize {
    columns.iter().map(|column| column.bound(0..rows)).sum()
}

/// All batches in blocks.
fn cut<'a>(prepared: &'a [Vec<Column<'a>>], batches: &[RecordBatch]) -> Vec<Piece<'a>> {
    let blocks = prepared.iter().zip(batches).flat_map(|(columns, batch)| {
        let rows = batch.num_rows();
        (0..rows).step_by(BLOCK).map(move |start| Piece { columns, rows: start..rows.min(start + BLOCK) })
    });
    blocks.collect()
}

/// Writes rows of `width` values each.
fn spread<'a, T: Copy + Send + Sync>(
    pieces: Vec<Piece<'a>>,
    threads: NonZeroUsize,
    values: usize,
    width: usize,
    vacant: T,
    work: impl Fn(&mut Worker, &Piece<'a>, &mut [T]) -> Result<()> + Sync,
) -> Result<Vec<T>> {
    let rows: usize = pieces.iter().map(|piece| piece.rows.len()).sum();
    let too_large = || Error::TooLarge { rows, columns: width };
    let size = rows.checked_mul(width).ok_or_else(too_large)?;
    let mut out = Vec::new();
    out.try_reserve_exact(size).map_err(|_| too_large())?;
    out.resize(size, vacant);
    let mut slots = Vec::with_capacity(pieces.len());
    let mut rest = out.as_mut_slice();
    for piece in pieces {
        let (own, others) = rest.split_at_mut(piece.rows.len() * width);
        slots.push((piece, own));
        rest = others;
    }
    let threads = if values.max(size) < PARALLEL_VALUES { 1 } else { threads.get().min(slots.len()) };
    if threads <= 1 {
        let mut worker = Worker::default();
        slots.into_iter().try_for_each(|(piece, own)| work(&mut worker, &piece, own))?;
    } else {
        let outcomes: Vec<_> = start_pool(threads)?.install(|| {
            slots.into_par_iter().map_init(Worker::default, |worker, (piece, own)| work(worker, &piece, own)).collect()
        });
        outcomes.into_iter().collect::<Result<()>>()?;
    }
    Ok(out)
}

fn start_pool(threads: usize) -> Result<ThreadPool> {
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("headrace-hasher-{index}"))
        .build()
        .map_err(|error| Error::Threads { threads, reason: error.to_string() })
}
