//! Columns of numbers as detectors read them: where they lie, a tile at a time.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    ArrowPrimitiveType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow_schema::DataType;

use super::Problem;
use crate::Result;

/// Values converted at a time: they stay in the first cache.
pub(super) const TILE: usize = 1024;

/// A run of numbers that is borrowed or shared, never copied.
#[derive(Debug, Clone)]
pub struct Values<'a> {
    numbers: Numbers<'a>,
    nulls: Option<NullBuffer>,
}

#[derive(Debug, Clone)]
enum Numbers<'a> {
    F64(Lent<'a, f64>),
    F32(Lent<'a, f32>),
    F16(ScalarBuffer<<Float16Type as ArrowPrimitiveType>::Native>),
    I8(Lent<'a, i8>),
    I16(Lent<'a, i16>),
    I32(Lent<'a, i32>),
    I64(Lent<'a, i64>),
    U8(Lent<'a, u8>),
    U16(Lent<'a, u16>),
    U32(Lent<'a, u32>),
    U64(Lent<'a, u64>),
    Bool(&'a [bool]),
    Bits(BooleanBuffer),
    Null(usize),
}

/// A slice of somebody else's, or a share of an Arrow buffer.
#[derive(Debug, Clone)]
enum Lent<'a, T: arrow_buffer::ArrowNativeType> {
    Slice(&'a [T]),
    Buffer(ScalarBuffer<T>),
}

impl<T: arrow_buffer::ArrowNativeType> Lent<'_, T> {
    fn get(&self) -> &[T] {
        match self {
            Self::Slice(slice) => slice,
            Self::Buffer(buffer) => buffer,
        }
    }
}

macro_rules! from_slices {
    ($($variant:ident $native:ty),*) => {$(
        impl<'a> From<&'a [$native]> for Values<'a> {
            fn from(slice: &'a [$native]) -> Self {
                Self { numbers: Numbers::$variant(Lent::Slice(slice)), nulls: None }
            }
        }
    )*};
}

from_slices!(F64 f64, F32 f32, I8 i8, I16 i16, I32 i32, I64 i64, U8 u8, U16 u16, U32 u32, U64 u64);

impl<'a> From<&'a [bool]> for Values<'a> {
    fn from(slice: &'a [bool]) -> Self {
        Self { numbers: Numbers::Bool(slice), nulls: None }
    }
}

impl Values<'static> {
    /// The values of an Arrow array of floats, integers or booleans; true is 1.
    pub fn of(array: &ArrayRef) -> Result<Self> {
        fn buffer<T: ArrowPrimitiveType>(array: &ArrayRef) -> Lent<'static, T::Native> {
            Lent::Buffer(array.as_primitive::<T>().values().clone())
        }
        let numbers = match array.data_type() {
            DataType::Float64 => Numbers::F64(buffer::<Float64Type>(array)),
            DataType::Float32 => Numbers::F32(buffer::<Float32Type>(array)),
            DataType::Float16 => Numbers::F16(array.as_primitive::<Float16Type>().values().clone()),
            DataType::Int8 => Numbers::I8(buffer::<Int8Type>(array)),
            DataType::Int16 => Numbers::I16(buffer::<Int16Type>(array)),
            DataType::Int32 => Numbers::I32(buffer::<Int32Type>(array)),
            DataType::Int64 => Numbers::I64(buffer::<Int64Type>(array)),
            DataType::UInt8 => Numbers::U8(buffer::<UInt8Type>(array)),
            DataType::UInt16 => Numbers::U16(buffer::<UInt16Type>(array)),
            DataType::UInt32 => Numbers::U32(buffer::<UInt32Type>(array)),
            DataType::UInt64 => Numbers::U64(buffer::<UInt64Type>(array)),
            DataType::Boolean => Numbers::Bits(array.as_boolean().values().clone()),
            DataType::Null => Numbers::Null(array.len()),
            other => return Err(Problem::Type { data_type: other.clone() }.into()),
        };
        Ok(Self { numbers, nulls: array.nulls().filter(|nulls| nulls.null_count() > 0).cloned() })
    }
}

impl Values<'_> {
    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.numbers {
            Numbers::F64(lent) => lent.get().len(),
            Numbers::F32(lent) => lent.get().len(),
            Numbers::F16(buffer) => buffer.len(),
            Numbers::I8(lent) => lent.get().len(),
            Numbers::I16(lent) => lent.get().len(),
            Numbers::I32(lent) => lent.get().len(),
            Numbers::I64(lent) => lent.get().len(),
            Numbers::U8(lent) => lent.get().len(),
            Numbers::U16(lent) => lent.get().len(),
            Numbers::U32(lent) => lent.get().len(),
            Numbers::U64(lent) => lent.get().len(),
            Numbers::Bool(slice) => slice.len(),
            Numbers::Bits(bits) => bits.len(),
            Numbers::Null(length) => *length,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn is_null(&self, row: usize) -> bool {
        matches!(self.numbers, Numbers::Null(_)) || self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Whether no row is null.
    pub(super) fn all_valid(&self) -> bool {
        self.nulls.is_none() && !matches!(self.numbers, Numbers::Null(1..))
    }

    /// Rows `start..end` as float64, in `room` where they are not so already. What stands under a null is anything.
    #[expect(clippy::cast_precision_loss, reason = "documented: beyond 2^53 integers are rounded")]
    pub(super) fn tile<'b>(&'b self, start: usize, end: usize, room: &'b mut Vec<f64>) -> &'b [f64] {
        room.clear();
        match &self.numbers {
            Numbers::F64(lent) => return &lent.get()[start..end],
            Numbers::F32(lent) => room.extend(lent.get()[start..end].iter().map(|&x| f64::from(x))),
            Numbers::F16(buffer) => room.extend(buffer[start..end].iter().map(|x| x.to_f64())),
            Numbers::I8(lent) => room.extend(lent.get()[start..end].iter().map(|&x| f64::from(x))),
            Numbers::I16(lent) => room.extend(lent.get()[start..end].iter().map(|&x| f64::from(x))),
            Numbers::I32(lent) => room.extend(lent.get()[start..end].iter().map(|&x| f64::from(x))),
            Numbers::I64(lent) => room.extend(lent.get()[start..end].iter().map(|&x| x as f64)),
            Numbers::U8(lent) => room.extend(lent.get()[start..end].iter().map(|&x| f64::from(x))),
            Numbers::U16(lent) => room.extend(lent.get()[start..end].iter().map(|&x| f64::from(x))),
            Numbers::U32(lent) => room.extend(lent.get()[start..end].iter().map(|&x| f64::from(x))),
            Numbers::U64(lent) => room.extend(lent.get()[start..end].iter().map(|&x| x as f64)),
            Numbers::Bool(slice) => room.extend(slice[start..end].iter().map(|&x| f64::from(u8::from(x)))),
            Numbers::Bits(bits) => room.extend(bits.slice(start, end - start).iter().map(|x| f64::from(u8::from(x)))),
            Numbers::Null(_) => room.resize(end - start, 0.0),
        }
        room
    }
}
