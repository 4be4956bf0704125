//! The same values as Arrow arrays, laid out in as many ways as there are.

use std::sync::Arc;

use arrow_array::builder::{BinaryViewBuilder, StringViewBuilder};
use arrow_array::types::{Int8Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Decimal128Array, DictionaryArray, FixedSizeBinaryArray,
    FixedSizeListArray, Float64Array, Int8Array, Int32Array, Int64Array, LargeBinaryArray, LargeListArray,
    LargeListViewArray, LargeStringArray, ListArray, NullArray, StringArray, StructArray, TimestampMicrosecondArray,
    make_array,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, FieldRef, Fields, TimeUnit};

use super::reference::{CATEGORIES, Ty, Value};

/// Everything about an array that is not its content.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// 32-bit offsets, 64-bit offsets, or views.
    pub(crate) width: u8,
    /// Lay out this many other rows in front, and slice them off.
    pub(crate) lead: usize,
    /// The same behind.
    pub(crate) trail: usize,
    /// Give a bitmap to arrays without nulls too.
    pub(crate) bitmap: bool,
    /// What lies under a null.
    pub(crate) garbage: u8,
}

impl Layout {
    pub(crate) fn field(&self, name: &str, ty: &Ty) -> FieldRef {
        let ordered = matches!(ty, Ty::Dict(true));
        Arc::new(Field::new(name, self.data_type(ty), true).with_dict_is_ordered(ordered))
    }

    fn data_type(&self, ty: &Ty) -> DataType {
        match ty {
            Ty::Null => DataType::Null,
            Ty::Bool => DataType::Boolean,
            Ty::Int32 => DataType::Int32,
            Ty::Float64 => DataType::Float64,
            Ty::Timestamp(zone) => DataType::Timestamp(TimeUnit::Microsecond, Some(zone.as_str().into())),
            Ty::Decimal(precision, scale) => DataType::Decimal128(*precision, *scale),
            Ty::Str => [DataType::Utf8, DataType::LargeUtf8, DataType::Utf8View][usize::from(self.width)].clone(),
            Ty::Bin => [DataType::Binary, DataType::LargeBinary, DataType::BinaryView][usize::from(self.width)].clone(),
            Ty::FixedBin(width) => DataType::FixedSizeBinary(*width),
            Ty::List(item) => {
                let item = self.item_field(item);
                match self.width {
                    0 => DataType::List(item),
                    1 => DataType::LargeList(item),
                    _ => DataType::LargeListView(item),
                }
            }
            Ty::FixedList(item, length) => DataType::FixedSizeList(self.field("item", item), *length),
            Ty::Struct(fields) => DataType::Struct(self.fields(fields)),
            Ty::Dict(_) => match self.width {
                0 => DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8)),
                _ => DataType::Dictionary(Box::new(DataType::Int64), Box::new(DataType::Utf8View)),
            },
        }
    }

    fn fields(&self, fields: &[(String, Ty)]) -> Fields {
        fields.iter().map(|(name, ty)| self.field(name, ty)).collect()
    }

    /// Producers do not agree on this name, and it does not count.
    fn item_field(&self, item: &Ty) -> FieldRef {
        self.field(["item", "element", "list"][usize::from(self.width)], item)
    }

    /// A value of this type that nobody asked for.
    fn junk(&self, ty: &Ty) -> Value {
        let byte = self.garbage;
        match ty {
            Ty::Null => Value::Null,
            Ty::Bool => Value::Bool(byte % 2 == 1),
            Ty::Int32 => Value::Fixed(vec![byte; 4]),
            Ty::Float64 | Ty::Timestamp(_) => Value::Fixed(vec![byte; 8]),
            Ty::Decimal(..) => Value::Fixed(vec![byte % 2; 16]),
            Ty::Str | Ty::Bin => Value::Bytes(vec![b'a' + byte % 26; usize::from(byte % 20)]),
            Ty::FixedBin(width) => Value::Fixed(vec![byte; usize::try_from(*width).unwrap()]),
            Ty::List(item) => Value::Nested(vec![self.junk(item); usize::from(byte % 4)]),
            Ty::FixedList(item, length) => Value::Nested(vec![self.junk(item); usize::try_from(*length).unwrap()]),
            Ty::Struct(fields) => Value::Nested(fields.iter().map(|(_, ty)| self.junk(ty)).collect()),
            Ty::Dict(_) => Value::Category(usize::from(byte) % CATEGORIES.len()),
        }
    }

    /// `values` as an array of `self.data_type(ty)`.
    pub(crate) fn array(&self, ty: &Ty, values: &[Value]) -> ArrayRef {
        let junk = self.junk(ty);
        let lead = std::iter::repeat_n(&junk, self.lead);
        let trail = std::iter::repeat_n(&junk, self.trail);
        let rows: Vec<&Value> = lead.chain(values).chain(trail).collect();
        let filled: Vec<Value> =
            rows.iter().map(|value| if **value == Value::Null { junk.clone() } else { (*value).clone() }).collect();
        let array = self.dense(ty, &filled);
        let valid = BooleanBuffer::collect_bool(rows.len(), |row| *rows[row] != Value::Null);
        let array = if *ty == Ty::Null || (!self.bitmap && valid.count_set_bits() == rows.len()) {
            array
        } else {
            make_array(array.to_data().into_builder().nulls(Some(NullBuffer::new(valid))).build().unwrap())
        };
        array.slice(self.lead, values.len())
    }

    /// `values`, none of which is null, without a bitmap.
    fn dense(&self, ty: &Ty, values: &[Value]) -> ArrayRef {
        match ty {
            Ty::Null => Arc::new(NullArray::new(values.len())),
            Ty::Bool => {
                Arc::new(BooleanArray::from(values.iter().map(|value| *value == Value::Bool(true)).collect::<Vec<_>>()))
            }
            Ty::Int32 => Arc::new(Int32Array::new(numbers(values, 4), None)),
            Ty::Float64 => Arc::new(Float64Array::new(numbers(values, 8), None)),
            Ty::Timestamp(zone) => {
                Arc::new(TimestampMicrosecondArray::new(numbers(values, 8), None).with_timezone(zone.as_str()))
            }
            Ty::Decimal(precision, scale) => Arc::new(
                Decimal128Array::new(numbers(values, 16), None).with_precision_and_scale(*precision, *scale).unwrap(),
            ),
            Ty::Str => self.strings(&values.iter().map(text).collect::<Vec<_>>()),
            Ty::Bin => {
                let values: Vec<&[u8]> = values.iter().map(bytes).collect();
                match self.width {
                    0 => Arc::new(BinaryArray::from_vec(values)),
                    1 => Arc::new(LargeBinaryArray::from_vec(values)),
                    _ => {
                        let mut builder = BinaryViewBuilder::new().with_fixed_block_size(32);
                        for value in values {
                            builder.append_value(value);
                        }
                        Arc::new(builder.finish())
                    }
                }
            }
            Ty::FixedBin(width) => {
                let buffer: Vec<u8> = values.iter().flat_map(bytes).copied().collect();
                Arc::new(
                    FixedSizeBinaryArray::try_new_with_len(*width, Buffer::from(buffer), None, values.len()).unwrap(),
                )
            }
            Ty::List(item) => {
                let lists: Vec<&[Value]> = values.iter().map(items).collect();
                let lengths = lists.iter().map(|list| list.len());
                let field = self.item_field(item);
                match self.width {
                    0 => {
                        let items = self.array(item, &lists.concat());
                        Arc::new(ListArray::new(field, OffsetBuffer::from_lengths(lengths), items, None))
                    }
                    1 => {
                        let items = self.array(item, &lists.concat());
                        Arc::new(LargeListArray::new(field, OffsetBuffer::from_lengths(lengths), items, None))
                    }
                    // Views may lie in any order: last list first.
                    _ => {
                        let reversed: Vec<&[Value]> = lists.iter().rev().copied().collect();
                        let total = reversed.concat().len();
                        let sizes: Vec<i64> = lengths.map(|length| i64::try_from(length).unwrap()).collect();
                        let mut end = i64::try_from(total).unwrap();
                        let mut offsets = Vec::new();
                        for size in &sizes {
                            end -= size;
                            offsets.push(end);
                        }
                        let items = self.array(item, &reversed.concat());
                        Arc::new(LargeListViewArray::new(field, offsets.into(), sizes.into(), items, None))
                    }
                }
            }
            Ty::FixedList(item, length) => {
                let flat: Vec<Value> = values.iter().flat_map(items).cloned().collect();
                let items = self.array(item, &flat);
                Arc::new(
                    FixedSizeListArray::try_new_with_length(
                        self.field("item", item),
                        *length,
                        items,
                        None,
                        values.len(),
                    )
                    .unwrap(),
                )
            }
            Ty::Struct(fields) => {
                let columns = fields.iter().enumerate().map(|(index, (_, ty))| {
                    let column: Vec<Value> = values.iter().map(|value| items(value)[index].clone()).collect();
                    self.array(ty, &column)
                });
                Arc::new(
                    StructArray::try_new_with_length(self.fields(fields), columns.collect(), None, values.len())
                        .unwrap(),
                )
            }
            Ty::Dict(ordered) => self.dictionary(*ordered, values),
        }
    }

    fn dictionary(&self, ordered: bool, values: &[Value]) -> ArrayRef {
        let codes = values.iter().map(|value| match value {
            Value::Category(code) => *code,
            other => panic!("{other:?} is not a category"),
        });
        // An unordered dictionary may be in any order, repeat itself, and hold what nobody uses.
        let (dictionary, codes): (Vec<&str>, Vec<usize>) = if ordered || self.garbage.is_multiple_of(2) {
            (CATEGORIES.to_vec(), codes.collect())
        } else {
            let twice = CATEGORIES.iter().rev().chain(["unused"].iter()).chain(CATEGORIES.iter()).copied().collect();
            let places = codes.enumerate().map(|(row, code)| if row % 2 == 0 { 3 - code } else { code + 5 });
            (twice, places.collect())
        };
        if self.width == 0 {
            let keys = codes.iter().map(|code| i8::try_from(*code).unwrap()).collect::<Int8Array>();
            let values = Arc::new(StringArray::from(dictionary));
            Arc::new(DictionaryArray::<Int8Type>::new(keys, values))
        } else {
            let keys = codes.iter().map(|code| i64::try_from(*code).unwrap()).collect::<Int64Array>();
            let values = Layout { width: 2, ..self.clone() }.strings(&dictionary);
            Arc::new(DictionaryArray::<Int64Type>::new(keys, values))
        }
    }

    fn strings(&self, values: &[&str]) -> ArrayRef {
        match self.width {
            0 => Arc::new(StringArray::from(values.to_vec())),
            1 => Arc::new(LargeStringArray::from(values.to_vec())),
            _ => {
                let mut builder = StringViewBuilder::new().with_fixed_block_size(32);
                for value in values {
                    builder.append_value(value);
                }
                Arc::new(builder.finish())
            }
        }
    }
}

fn numbers<T: arrow_buffer::ArrowNativeType>(values: &[Value], width: usize) -> ScalarBuffer<T> {
    let flat: Vec<u8> = values.iter().flat_map(bytes).copied().collect();
    assert_eq!(flat.len(), values.len() * width);
    let mut aligned = arrow_buffer::MutableBuffer::new(flat.len());
    aligned.extend_from_slice(&flat);
    ScalarBuffer::new(aligned.into(), 0, values.len())
}

fn bytes(value: &Value) -> &[u8] {
    match value {
        Value::Fixed(bytes) | Value::Bytes(bytes) => bytes,
        other => panic!("{other:?} has no bytes"),
    }
}

fn text(value: &Value) -> &str {
    std::str::from_utf8(bytes(value)).unwrap()
}

fn items(value: &Value) -> &[Value] {
    match value {
        Value::Nested(items) => items,
        other => panic!("{other:?} has no items"),
    }
}
