//! Rows of JSON as typed columns: what a plan reads in them, as Arrow arrays, so that they can be kept and counted.
//!
//! Types are the plan's, save that whole numbers of up to 64 bits with a sign, or 32 without, are int64, larger ones
//! decimals of 38 digits, and decimals the nearest float64: JSON has no widths. A datetime is cut to its column's unit.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Date32Builder, Decimal128Builder, Float16Builder, Float32Builder, Float64Builder, Int64Builder,
    StringBuilder,
};
use arrow_array::types::{
    ArrowTimestampType, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};
use arrow_array::{
    ArrayRef, DurationMicrosecondArray, NullArray, PrimitiveArray, RecordBatch, RecordBatchOptions,
    Time64NanosecondArray,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use hashbrown::HashMap;

use super::column::{Decimals, Numbers, to_half};
use super::number::real;
use super::program::Program;
use super::read::{Input, as_whole};
use super::row::{self, Cell};
use super::types::{ColumnType, Family, Width};
use crate::error::{Error, Result};
use crate::value::Unit;

const DIGITS: u8 = 38;

/// Names and types of what [`table`] gives.
pub(super) fn schema(program: &Program) -> SchemaRef {
    let field = |input: &Input| Field::new(input.name.as_str(), arrow_type(&input.kind), true);
    Arc::new(Schema::new(program.inputs.iter().map(field).collect::<Vec<_>>()))
}

/// The rows as a batch; the first that cannot be read is an error.
pub(super) fn table<'a>(
    program: &Program,
    names: &HashMap<Box<str>, usize>,
    schema: &SchemaRef,
    rows: impl Iterator<Item = &'a [u8]>,
) -> Result<RecordBatch> {
    let mut builders: Vec<Builder> = program.inputs.iter().map(|input| Builder::new(&input.kind)).collect();
    let mut count = 0;
    for row in rows {
        let cells = row::read(program, names, row)?;
        for (builder, cell) in builders.iter_mut().zip(&cells) {
            builder.push(cell);
        }
        count += 1;
    }
    let columns =
        builders.into_iter().zip(schema.fields()).map(|(builder, field)| builder.finish(field.data_type())).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(Error::Producer)
}

fn arrow_type(kind: &ColumnType) -> DataType {
    let unit = match kind.unit {
        Unit::Second | Unit::Millisecond => TimeUnit::Millisecond,
        Unit::Microsecond => TimeUnit::Microsecond,
        Unit::Nanosecond => TimeUnit::Nanosecond,
    };
    match kind.family {
        Family::Integer if is_large(kind) => DataType::Decimal128(DIGITS, 0),
        Family::Integer => DataType::Int64,
        Family::Float => match kind.width {
            Width::Half => DataType::Float16,
            Width::Single => DataType::Float32,
            Width::Double | Width::Decimal => DataType::Float64,
        },
        Family::Boolean => DataType::Boolean,
        Family::String => DataType::Utf8,
        Family::Date => DataType::Date32,
        Family::Datetime => DataType::Timestamp(unit, zone(kind).map(Arc::from)),
        Family::Time => DataType::Time64(TimeUnit::Nanosecond),
        Family::Duration => DataType::Duration(unit),
        Family::Null | Family::Other => DataType::Null,
    }
}

fn is_large(kind: &ColumnType) -> bool {
    matches!(kind.name.as_str(), "uint64" | "int128" | "uint128")
}

/// `datetime[us, Europe/Berlin]`
fn zone(kind: &ColumnType) -> Option<&str> {
    kind.name.strip_suffix(']')?.split_once(", ").map(|(_, zone)| zone)
}

/// An array in the making.
enum Builder {
    Null(usize),
    Boolean(BooleanBuilder),
    Integer(Int64Builder),
    Large(Decimal128Builder),
    Half(Float16Builder),
    Single(Float32Builder),
    Double(Float64Builder),
    Text(StringBuilder),
    Date(Date32Builder),
    /// Of the unit.
    Count(Int64Builder, Unit),
}

impl Builder {
    fn new(kind: &ColumnType) -> Self {
        match arrow_type(kind) {
            DataType::Int64 => Self::Integer(Int64Builder::new()),
            DataType::Decimal128(..) => Self::Large(Decimal128Builder::new()),
            DataType::Float16 => Self::Half(Float16Builder::new()),
            DataType::Float32 => Self::Single(Float32Builder::new()),
            DataType::Float64 => Self::Double(Float64Builder::new()),
            DataType::Boolean => Self::Boolean(BooleanBuilder::new()),
            DataType::Utf8 => Self::Text(StringBuilder::new()),
            DataType::Date32 => Self::Date(Date32Builder::new()),
            DataType::Timestamp(..) | DataType::Duration(_) => Self::Count(Int64Builder::new(), kind.unit),
            DataType::Time64(_) => Self::Count(Int64Builder::new(), Unit::Nanosecond),
            _ => Self::Null(0),
        }
    }

    fn push(&mut self, cell: &Cell<'_>) {
        match self {
            Self::Null(rows) => *rows += 1,
            Self::Boolean(values) => {
                values.append_option(if let Cell::Boolean(value) = cell { Some(*value) } else { None });
            }
            Self::Integer(values) => values.append_option(whole(cell).map(|value| {
                // Beyond int64 only where a client sends what no training row had.
                i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
            })),
            Self::Large(values) => values.append_option(whole(cell)),
            Self::Half(values) => values.append_option(float(cell).map(to_half)),
            #[expect(clippy::cast_possible_truncation, reason = "rounded to the type of the column")]
            Self::Single(values) => values.append_option(float(cell).map(|value| value as f32)),
            Self::Double(values) => values.append_option(float(cell)),
            Self::Text(values) => {
                values.append_option(if let Cell::Text(text) = cell { Some(Cow::as_ref(text)) } else { None });
            }
            Self::Date(values) => values.append_option(if let Cell::Date(days) = cell { Some(*days) } else { None }),
            Self::Count(values, unit) => values.append_option(count(cell, *unit)),
        }
    }

    fn finish(self, data_type: &DataType) -> ArrayRef {
        match self {
            Self::Null(rows) => Arc::new(NullArray::new(rows)),
            Self::Boolean(mut values) => Arc::new(values.finish()),
            Self::Integer(mut values) => Arc::new(values.finish()),
            Self::Large(mut values) => Arc::new(values.finish().with_data_type(DataType::Decimal128(DIGITS, 0))),
            Self::Half(mut values) => Arc::new(values.finish()),
            Self::Single(mut values) => Arc::new(values.finish()),
            Self::Double(mut values) => Arc::new(values.finish()),
            Self::Text(mut values) => Arc::new(values.finish()),
            Self::Date(mut values) => Arc::new(values.finish()),
            Self::Count(mut values, _) => counts(values.finish(), data_type),
        }
    }
}

fn counts(values: arrow_array::Int64Array, data_type: &DataType) -> ArrayRef {
    fn zoned<T: ArrowTimestampType>(made: PrimitiveArray<T>, zone: Option<&Arc<str>>) -> ArrayRef {
        Arc::new(made.with_timezone_opt(zone.map(Arc::clone)))
    }
    let (_, values, nulls) = values.into_parts();
    match data_type {
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            zoned(PrimitiveArray::<TimestampNanosecondType>::new(values, nulls), zone.as_ref())
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            zoned(PrimitiveArray::<TimestampMicrosecondType>::new(values, nulls), zone.as_ref())
        }
        DataType::Timestamp(_, zone) => {
            zoned(PrimitiveArray::<TimestampMillisecondType>::new(values, nulls), zone.as_ref())
        }
        DataType::Duration(TimeUnit::Nanosecond) => {
            Arc::new(PrimitiveArray::<DurationNanosecondType>::new(values, nulls))
        }
        DataType::Duration(TimeUnit::Microsecond) => {
            let made: DurationMicrosecondArray = PrimitiveArray::<DurationMicrosecondType>::new(values, nulls);
            Arc::new(made)
        }
        DataType::Duration(_) => Arc::new(PrimitiveArray::<DurationMillisecondType>::new(values, nulls)),
        _ => Arc::new(Time64NanosecondArray::new(values, nulls)),
    }
}

fn whole(cell: &Cell<'_>) -> Option<i128> {
    match cell {
        Cell::Signed(value) => Some((*value).into()),
        Cell::Unsigned(value) => Some((*value).into()),
        Cell::Float(value) => as_whole(*value).map(i128::from),
        _ => None,
    }
}

fn float(cell: &Cell<'_>) -> Option<f64> {
    let one = std::slice::from_ref;
    match cell {
        #[expect(clippy::cast_precision_loss, reason = "the nearest float")]
        Cell::Signed(value) => Some(*value as f64),
        #[expect(clippy::cast_precision_loss, reason = "the nearest float")]
        Cell::Unsigned(value) => Some(*value as f64),
        Cell::Float(value) => Some(*value),
        Cell::Decimal(value, scale) => Some(real(&Numbers::Decimals(Decimals::D128(one(value)), *scale), 0)),
        _ => None,
    }
}

/// In `unit`, cut; none where there is no room for it.
fn count(cell: &Cell<'_>, unit: Unit) -> Option<i64> {
    let Cell::Count(count, of) = cell else { return None };
    let wide = i128::from(*count) * i128::from(unit.per_second());
    i64::try_from(wide.div_euclid(of.per_second().into())).ok()
}
