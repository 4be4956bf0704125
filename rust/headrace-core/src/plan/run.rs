//! Executes a program over batches: block by block, so that what a block needs stays in the cache, and on as many threads
//! as the caller says. What a row becomes depends on nothing but the row.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Mutex;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema, SchemaRef};

use super::clock::{ClockScratch, difference, seconds, time_cycle, time_part};
use super::column::{Column, Trouble, Values};
use super::keys::{NEGATIVE, NO_HASH, Table};
use super::number::{MISSING, bins, reals, round, round_all, rounded};
use super::program::{Kernel, NOWHERE, Op, Program};
use super::read::{cast, find};
use crate::error::{Error, Result};
use crate::sparse::{Csr, offset};
use crate::text;

/// Rows of a block, at most.
const BLOCK: usize = 1024;
/// Values of a block, about: a plan with many outputs has shorter blocks.
const BLOCK_VALUES: usize = 1 << 17;
/// Fewer values than this are not worth a second thread.
const PARALLEL_VALUES: usize = 1 << 15;
/// Rows whose values are put in order at a time.
const TILE: usize = 32;

/// How a matrix lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Row after row.
    RowMajor,
    /// Column after column.
    ColumnMajor,
}

/// A value that is not zero, of a step that has few.
#[derive(Debug, Clone, Copy)]
struct Entry {
    row: u32,
    column: u32,
    value: f32,
}

/// Why a row cannot be used; of several, the one in the first column, and there in the first row.
#[derive(Debug)]
pub(super) struct Fault {
    input: usize,
    row: usize,
    trouble: Trouble,
}

/// The fault to report so far.
#[derive(Debug, Default)]
pub(super) struct Faults(Option<Fault>);

impl Faults {
    pub(super) fn add(&mut self, input: usize, row: usize, trouble: Trouble) {
        if self.0.as_ref().is_none_or(|known| (input, row) < (known.input, known.row)) {
            self.0 = Some(Fault { input, row, trouble });
        }
    }

    fn merge(&mut self, other: Self) {
        if let Some(fault) = other.0 {
            self.add(fault.input, fault.row, fault.trouble);
        }
    }

    pub(super) fn check(self, program: &Program) -> Result<()> {
        let Some(Fault { input, row, trouble }) = self.0 else { return Ok(()) };
        let input = &program.inputs[input];
        let column = input.name.clone();
        Err(match trouble {
            Trouble::Damaged(reason) => Error::DamagedRow { column, row, reason },
            Trouble::BeyondCalendar(value) => Error::BeyondCalendar { column, row, value },
            Trouble::NotWhole { value, found } => {
                Error::NotWhole { column, row, value, found, expected: input.kind.name.clone() }
            }
        })
    }
}

/// What a thread works with.
#[derive(Debug)]
pub(super) struct Scratch {
    reals: Vec<f64>,
    codes: Vec<Vec<u32>>,
    clocks: Vec<ClockScratch>,
    /// Column after column of a block, `stride` apart.
    dense: Vec<f32>,
    stride: usize,
    /// Of each step that has few values, row after row.
    sparse: Vec<Vec<Entry>>,
    text: text::Scratch,
    tokens: Vec<(i32, f64)>,
}

impl Scratch {
    pub(super) fn new(program: &Program) -> Self {
        Self {
            reals: Vec::new(),
            codes: vec![Vec::new(); program.coders.len()],
            clocks: program.clocks.iter().map(ClockScratch::new).collect(),
            dense: Vec::new(),
            stride: 0,
            sparse: program.ops.iter().map(|_| Vec::new()).collect(),
            text: text::Scratch::default(),
            tokens: Vec::new(),
        }
    }
}

/// A batch, ready to be read.
struct Batch {
    arrays: Vec<ArrayRef>,
    fields: Vec<Field>,
    /// Codes of dictionaries, by coder.
    tables: Vec<Option<Table>>,
    /// Rows before it.
    start: usize,
    rows: usize,
}

impl Batch {
    fn columns(&self) -> Vec<Column<'_>> {
        self.arrays
            .iter()
            .zip(&self.fields)
            .map(|(array, field)| {
                let missing = Column { nulls: None, values: Values::Missing };
                Column::of(array, field).unwrap_or(missing)
            })
            .collect()
    }
}

/// All the batches of a frame, and the fault of those that are beyond reading.
fn prepare(program: &Program, schema: &Schema, batches: &[RecordBatch]) -> Result<(Vec<Batch>, Faults)> {
    let positions = find(&program.inputs, schema, batches)?;
    let mut faults = Faults::default();
    let mut start = 0;
    let mut made = Vec::with_capacity(batches.len());
    for batch in batches {
        if batch.num_columns() != schema.fields().len() {
            return Err(Error::SchemaMismatch {
                found: format!("{} columns", batch.num_columns()),
                expected: schema.fields().len().to_string(),
            });
        }
        let mut arrays = Vec::with_capacity(positions.len());
        let mut fields = Vec::with_capacity(positions.len());
        for (index, (position, input)) in positions.iter().zip(&program.inputs).enumerate() {
            let announced = schema.field(*position);
            let array = batch.column(*position);
            if array.data_type() != announced.data_type() {
                return Err(Error::SchemaMismatch {
                    found: format!("a column {:?} of type {}", announced.name(), array.data_type()),
                    expected: format!("type {}", announced.data_type()),
                });
            }
            let mut fault = |row: usize, trouble| faults.add(index, start + row, trouble);
            let array = cast(array, &input.kind, &mut fault)
                .map_err(|reason| Error::DamagedColumn { column: input.name.clone(), reason })?;
            fields.push(announced.clone().with_data_type(array.data_type().clone()));
            arrays.push(array);
        }
        let rows = batch.num_rows();
        let mut batch = Batch { arrays, fields, tables: Vec::new(), start, rows };
        let columns = batch.columns();
        let tables = program.coders.iter().map(|coder| coder.table(&columns, rows)).collect();
        batch.tables = tables;
        made.push(batch);
        start += rows;
    }
    Ok((made, faults))
}

/// Rows that are still to be written.
struct Rows<'a> {
    rest: &'a mut [f32],
}

/// Parts of columns, of which some rows are written.
struct Columns<'a> {
    columns: Vec<&'a mut [f32]>,
    done: usize,
}

/// A dense result.
pub(super) fn matrix(
    program: &Program,
    schema: &SchemaRef,
    batches: &[RecordBatch],
    order: Order,
    threads: NonZeroUsize,
) -> Result<Vec<f32>> {
    let (batches, mut faults) = prepare(program, schema, batches)?;
    let rows = batches.iter().map(|batch| batch.rows).sum::<usize>();
    let width = program.outputs.len();
    let size = rows.checked_mul(width).filter(|size| *size <= isize::MAX as usize / 4);
    let size = size.ok_or(Error::TooLarge { rows, columns: width })?;
    // Memory that comes zeroed is not touched before its rows are written, but cannot be asked for without an abort.
    Vec::<f32>::new().try_reserve_exact(size).map_err(|_| Error::TooLarge { rows, columns: width })?;
    let mut out = vec![0.0_f32; size];
    let tasks = tasks(&batches, width, threads);
    match order {
        Order::RowMajor => {
            let mut rest = out.as_mut_slice();
            let mut jobs = Vec::with_capacity(tasks.len());
            for (batch, range) in tasks {
                let (mine, others) = std::mem::take(&mut rest).split_at_mut(range.len() * width);
                rest = others;
                jobs.push((batch, range, Rows { rest: mine }));
            }
            let found = parallel(program, &batches, jobs, threads, |scratch, block, out: &mut Rows<'_>| {
                let (mine, others) = std::mem::take(&mut out.rest).split_at_mut(block * width);
                out.rest = others;
                to_rows(program, scratch, block, mine);
            });
            for (_, more) in found {
                faults.merge(more);
            }
        }
        Order::ColumnMajor => {
            let mut parts: Vec<Vec<&mut [f32]>> = tasks.iter().map(|_| Vec::with_capacity(width)).collect();
            for column in out.chunks_exact_mut(rows.max(1)) {
                let mut rest = column;
                for ((_, range), part) in tasks.iter().zip(&mut parts) {
                    let (mine, others) = std::mem::take(&mut rest).split_at_mut(range.len());
                    rest = others;
                    part.push(mine);
                }
            }
            let jobs: Vec<_> = tasks
                .into_iter()
                .zip(parts)
                .map(|((batch, range), columns)| (batch, range, Columns { columns, done: 0 }))
                .collect();
            let found = parallel(program, &batches, jobs, threads, |scratch, block, out: &mut Columns<'_>| {
                to_columns(program, scratch, block, out.done, &mut out.columns);
                out.done += block;
            });
            for (_, more) in found {
                faults.merge(more);
            }
        }
    }
    faults.check(program)?;
    Ok(out)
}

/// A sparse result: zeros left out.
pub(super) fn sparse(
    program: &Program,
    schema: &SchemaRef,
    batches: &[RecordBatch],
    threads: NonZeroUsize,
) -> Result<Csr<f32>> {
    let (batches, mut faults) = prepare(program, schema, batches)?;
    let width = program.outputs.len();
    let jobs: Vec<_> = tasks(&batches, program.dense + program.ops.len(), threads)
        .into_iter()
        .map(|(batch, range)| (batch, range, (Csr::new(width), None)))
        .collect();
    let found = parallel(program, &batches, jobs, threads, |scratch, block, (csr, failure)| {
        if failure.is_none() {
            *failure = to_csr(program, scratch, block, csr).err();
        }
    });
    let mut parts = Vec::with_capacity(found.len());
    let mut failed = None;
    for ((csr, failure), more) in found {
        faults.merge(more);
        failed = failed.or(failure);
        parts.push(csr);
    }
    faults.check(program)?;
    failed.map_or_else(|| Csr::concat(parts, width), Err)
}

/// Batch and range of rows of each piece of work.
fn tasks(batches: &[Batch], width: usize, threads: NonZeroUsize) -> Vec<(usize, Range<usize>)> {
    let rows = batches.iter().map(|batch| batch.rows).sum::<usize>();
    // A few for each thread, so that none waits long for another.
    let pieces = if rows.saturating_mul(width) < PARALLEL_VALUES { 1 } else { threads.get().saturating_mul(4) };
    let piece = if threads.get() == 1 { usize::MAX } else { rows.div_ceil(pieces).max(BLOCK) };
    let mut made = Vec::new();
    for (index, batch) in batches.iter().enumerate() {
        let mut start = 0;
        while start < batch.rows {
            let end = start.saturating_add(piece).min(batch.rows);
            made.push((index, start..end));
            start = end;
        }
    }
    made
}

type Job<T> = (usize, Range<usize>, T);

/// Executes jobs and hands the values of each block to `deliver`. The results are in the order of the jobs.
fn parallel<T: Send>(
    program: &Program,
    batches: &[Batch],
    jobs: Vec<Job<T>>,
    threads: NonZeroUsize,
    deliver: impl Fn(&mut Scratch, usize, &mut T) + Sync,
) -> Vec<(T, Faults)> {
    let block = (BLOCK_VALUES / (program.dense + program.ops.len()).max(1)).clamp(16, BLOCK);
    let work = |jobs: &Mutex<std::iter::Enumerate<std::vec::IntoIter<Job<T>>>>| {
        let mut scratch = Scratch::new(program);
        let mut done = Vec::new();
        loop {
            // A thread that panics while it holds the lock has taken its job already.
            let next = jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
            let Some((index, (batch, range, mut target))) = next else { return done };
            let batch = &batches[batch];
            let columns = batch.columns();
            let mut faults = Faults::default();
            let mut start = range.start;
            while start < range.end {
                let rows = start..range.end.min(start + block);
                execute(program, &columns, Some(&batch.tables), &rows, batch.start, &mut scratch, &mut faults);
                deliver(&mut scratch, rows.len(), &mut target);
                start = rows.end;
            }
            done.push((index, (target, faults)));
        }
    };
    let others = threads.get().min(jobs.len()).saturating_sub(1);
    let queue = Mutex::new(jobs.into_iter().enumerate());
    let mut done = std::thread::scope(|scope| {
        let mut helpers = Vec::with_capacity(others);
        for index in 0..others {
            let builder = std::thread::Builder::new().name(format!("headrace-plan-{index}"));
            match builder.spawn_scoped(scope, || work(&queue)) {
                Ok(helper) => helpers.push(helper),
                // Those that there are do the rest.
                Err(_) => break,
            }
        }
        let mut done = work(&queue);
        for helper in helpers {
            match helper.join() {
                Ok(more) => done.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// The values of a block, into the scratch space.
pub(super) fn execute(
    program: &Program,
    columns: &[Column<'_>],
    tables: Option<&[Option<Table>]>,
    rows: &Range<usize>,
    start: usize,
    scratch: &mut Scratch,
    faults: &mut Faults,
) {
    for (index, coder) in program.coders.iter().enumerate() {
        let table = tables.and_then(|tables| tables.get(index)).and_then(Option::as_ref);
        let mut fault = |input, row, trouble| faults.add(input, start + row, trouble);
        coder.codes(columns, table, rows, &mut scratch.codes[index], &mut fault);
    }
    for (clock, space) in program.clocks.iter().zip(&mut scratch.clocks) {
        let fault = |row, trouble| faults.add(clock.input, start + row, trouble);
        space.read(clock, &columns[clock.input], rows, fault);
    }
    let count = rows.len();
    // Columns a power of two apart would fall into the same lines of the cache.
    scratch.stride = count + 16;
    scratch.dense.resize(program.dense * scratch.stride, 0.0);
    scratch.reals.resize(count, 0.0);
    for (index, op) in program.ops.iter().enumerate() {
        if let Kernel::Text { input, vectorizer } = &op.kernel {
            let Scratch { text, tokens, sparse, .. } = &mut *scratch;
            let fault = |row, trouble| faults.add(*input, start + row, trouble);
            tokenise(vectorizer, op.column, &columns[*input], rows, (text, tokens), &mut sparse[index], fault);
        } else if op.kernel.is_sparse() {
            scatter(op, &scratch.codes, &mut scratch.sparse[index]);
        } else {
            let from = op.slot * scratch.stride;
            let out = &mut scratch.dense[from..from + op.width * scratch.stride];
            fill(program, op, columns, rows, out, &mut scratch.reals, &scratch.codes, &scratch.clocks, scratch.stride);
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "the parts of the scratch space, which are borrowed apart")]
fn fill(
    program: &Program,
    op: &Op,
    columns: &[Column<'_>],
    rows: &Range<usize>,
    out: &mut [f32],
    space: &mut [f64],
    codes: &[Vec<u32>],
    clocks: &[ClockScratch],
    stride: usize,
) {
    let count = rows.len();
    match &op.kernel {
        Kernel::Number { input, shaping, indicator } => {
            let column = &columns[*input];
            let (values, rest) = out.split_at_mut(stride);
            if shaping.is_plain() {
                rounded(column, rows, MISSING, &mut values[..count]);
                if *indicator {
                    for (out, value) in rest.iter_mut().zip(&values[..count]) {
                        *out = f32::from(u8::from(value.is_nan()));
                    }
                }
            } else {
                reals(column, rows, space);
                if *indicator {
                    for (out, value) in rest.iter_mut().zip(space.iter()) {
                        *out = f32::from(u8::from(value.is_nan()));
                    }
                }
                shaping.apply(space);
                round_all(space, &mut values[..count]);
            }
        }
        Kernel::Boolean { input, missing } => rounded(&columns[*input], rows, *missing, &mut out[..count]),
        Kernel::Bins { input, edges, finish } => {
            reals(&columns[*input], rows, space);
            bins(edges, *finish, space, &mut out[..count]);
        }
        Kernel::Table { coder, tables } => {
            for (table, out) in tables.iter().zip(out.chunks_exact_mut(stride)) {
                for (code, out) in codes[*coder].iter().zip(out) {
                    *out = table.get(*code as usize).copied().unwrap_or(MISSING);
                }
            }
        }
        Kernel::Bucket { coder, missing } => {
            for (code, out) in codes[*coder].iter().zip(out) {
                #[expect(clippy::cast_precision_loss, reason = "at most 2^24")]
                let bucket = (code & !NEGATIVE) as f32;
                *out = if *code == NO_HASH { *missing } else { bucket };
            }
        }
        Kernel::TimePart { clock, part, finish } => {
            let column = &columns[program.clocks[*clock].input];
            time_part(column, rows, clocks[*clock].part(*part), *finish, &mut out[..count]);
        }
        Kernel::TimeCycle { clock, part, first, table, missing } => {
            let column = &columns[program.clocks[*clock].input];
            time_cycle(column, rows, clocks[*clock].part(*part), (*first, table, *missing), &mut out[..count]);
        }
        Kernel::Seconds { input, finish } => seconds(&columns[*input], rows, *finish, &mut out[..count]),
        Kernel::Difference { inputs, finish } => {
            difference(&columns[inputs.0], &columns[inputs.1], rows, *finish, &mut out[..count]);
        }
        Kernel::OneHot { .. } | Kernel::Hash { .. } | Kernel::Text { .. } => {}
    }
}

/// The values of a step that has few.
fn scatter(op: &Op, codes: &[Vec<u32>], out: &mut Vec<Entry>) {
    out.clear();
    let first = u32::try_from(op.column).unwrap_or(u32::MAX);
    match &op.kernel {
        Kernel::OneHot { coder, positions } => {
            for (row, code) in (0..).zip(&codes[*coder]) {
                let position = positions.get(*code as usize).copied().unwrap_or(NOWHERE);
                if position != NOWHERE {
                    out.push(Entry { row, column: first + position, value: 1.0 });
                }
            }
        }
        Kernel::Hash { coder, signed } => {
            for (row, code) in (0..).zip(&codes[*coder]) {
                if *code != NO_HASH {
                    let value = if *signed && code & NEGATIVE != 0 { -1.0 } else { 1.0 };
                    out.push(Entry { row, column: first + (code & !NEGATIVE), value });
                }
            }
        }
        _ => {}
    }
}

/// The rows of texts.
fn tokenise(
    vectorizer: &text::Vectorizer,
    first: usize,
    column: &Column<'_>,
    rows: &Range<usize>,
    (scratch, tokens): (&mut text::Scratch, &mut Vec<(i32, f64)>),
    out: &mut Vec<Entry>,
    mut fault: impl FnMut(usize, Trouble),
) {
    out.clear();
    let Values::Texts(texts) = &column.values else { return };
    for (index, row) in (0..).zip(rows.clone()) {
        if column.is_null(row) {
            continue;
        }
        match texts.text(row) {
            Ok(None) => {}
            Ok(Some(text)) => {
                vectorizer.row(text, scratch, tokens);
                for (position, value) in tokens.iter().filter(|(_, value)| *value != 0.0) {
                    let column = u32::try_from(first).unwrap_or(u32::MAX).saturating_add(position.unsigned_abs());
                    out.push(Entry { row: index, column, value: round(*value) });
                }
            }
            Err(trouble) => fault(row, trouble),
        }
    }
}

/// A block as rows, into space that holds zeros.
pub(super) fn to_rows(program: &Program, scratch: &Scratch, count: usize, out: &mut [f32]) {
    let width = program.outputs.len();
    if width == 0 {
        return;
    }
    let mut start = 0;
    while start < count {
        let end = (start + TILE).min(count);
        let tile = &mut out[start * width..end * width];
        for op in program.ops.iter().filter(|op| !op.kernel.is_sparse()) {
            for index in 0..op.width {
                let from = (op.slot + index) * scratch.stride;
                let values = &scratch.dense[from + start..from + end];
                for (value, row) in values.iter().zip(tile.chunks_exact_mut(width)) {
                    row[op.column + index] = *value;
                }
            }
        }
        start = end;
    }
    for entry in scratch.sparse.iter().flatten() {
        out[entry.row as usize * width + entry.column as usize] = entry.value;
    }
}

/// A block as parts of columns, from the row `done` on, into space that holds zeros.
fn to_columns(program: &Program, scratch: &Scratch, count: usize, done: usize, columns: &mut [&mut [f32]]) {
    for op in program.ops.iter().filter(|op| !op.kernel.is_sparse()) {
        for index in 0..op.width {
            let from = (op.slot + index) * scratch.stride;
            columns[op.column + index][done..done + count].copy_from_slice(&scratch.dense[from..from + count]);
        }
    }
    for entry in scratch.sparse.iter().flatten() {
        columns[entry.column as usize][done + entry.row as usize] = entry.value;
    }
}

/// A block as sparse rows. Steps stand in the order of their columns, and what a step has in a row ascends.
fn to_csr(program: &Program, scratch: &Scratch, count: usize, out: &mut Csr<f32>) -> Result<()> {
    let index = |column: usize| i32::try_from(column).unwrap_or(i32::MAX);
    let mut cursors: Vec<&[Entry]> = scratch.sparse.iter().map(Vec::as_slice).collect();
    for row in 0..count {
        for (op, cursor) in program.ops.iter().zip(&mut cursors) {
            if op.kernel.is_sparse() {
                while let Some((entry, rest)) = cursor.split_first()
                    && entry.row as usize == row
                {
                    out.indices.push(index(entry.column as usize));
                    out.data.push(entry.value);
                    *cursor = rest;
                }
                continue;
            }
            for position in 0..op.width {
                let value = scratch.dense[(op.slot + position) * scratch.stride + row];
                if value != 0.0 {
                    out.indices.push(index(op.column + position));
                    out.data.push(value);
                }
            }
        }
        out.indptr.push(offset(out.data.len())?);
    }
    Ok(())
}
