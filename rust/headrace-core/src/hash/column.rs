//! The state of one column, a tree as deep as its type, and how an array is fed to it.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{BinaryViewType, ByteArrayType, ByteViewType, StringViewType};
use arrow_array::{Array, ArrayRef, GenericByteArray, GenericByteViewArray, GenericListViewArray, OffsetSizeTrait};
use arrow_buffer::{ArrowNativeType as _, NullBuffer};
use arrow_schema::{DataType, Field};
use arrow_select::take::{TakeOptions, take};
use sha2::{Digest as _, Sha256};

use super::sink::{BitLane, Sink};

/// Rows of a dictionary column that are looked up at a time, which bounds what the look-up copies.
const DICTIONARY_ROWS: usize = 8192;

/// What is wrong with the array.
type Damage = String;

#[derive(Debug)]
pub(super) struct Node {
    rows: u64,
    shape: Shape,
}

#[derive(Debug)]
enum Shape {
    Null,
    Boolean { validity: BitLane, values: BitLane },
    Fixed { validity: BitLane, values: Sha256, width: usize },
    Bytes { validity: BitLane, values: Sha256 },
    List { validity: BitLane, lengths: Sha256, items: Box<Node> },
    FixedList { validity: BitLane, items: Box<Node>, length: usize },
    Struct { validity: BitLane, fields: Vec<Node> },
    Dictionary { values: Box<Node>, codes: Option<Sha256> },
}

impl Node {
    /// A node for columns of this field's type, or the type in it that is not supported.
    pub(super) fn new(field: &Field) -> Result<Self, DataType> {
        if let DataType::Dictionary(_, values) = field.data_type() {
            let ordered = field.dict_is_ordered() == Some(true);
            return Self::dictionary(values, ordered);
        }
        Self::of_type(field.data_type())
    }

    fn of_type(data_type: &DataType) -> Result<Self, DataType> {
        let validity = BitLane::default();
        let shape = match data_type {
            DataType::Null => Shape::Null,
            DataType::Boolean => Shape::Boolean { validity, values: BitLane::default() },
            DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView => Shape::Bytes { validity, values: Sha256::new() },
            DataType::FixedSizeBinary(width) => {
                Shape::Fixed { validity, values: Sha256::new(), width: width.as_usize() }
            }
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::ListView(item)
            | DataType::LargeListView(item)
            | DataType::Map(item, _) => {
                Shape::List { validity, lengths: Sha256::new(), items: Box::new(Self::new(item)?) }
            }
            DataType::FixedSizeList(item, length) => {
                Shape::FixedList { validity, items: Box::new(Self::new(item)?), length: length.as_usize() }
            }
            DataType::Struct(fields) => Shape::Struct {
                validity,
                fields: fields.iter().map(|field| Self::new(field)).collect::<Result<_, _>>()?,
            },
            DataType::Dictionary(_, values) => return Self::dictionary(values, false),
            DataType::Union(..) | DataType::RunEndEncoded(..) => return Err(data_type.clone()),
            fixed => match fixed.primitive_width() {
                Some(width) => Shape::Fixed { validity, values: Sha256::new(), width },
                None => return Err(fixed.clone()),
            },
        };
        Ok(Self { rows: 0, shape })
    }

    fn dictionary(values: &DataType, ordered: bool) -> Result<Self, DataType> {
        let values = Box::new(Self::of_type(values)?);
        let codes = ordered.then(Sha256::new);
        Ok(Self { rows: 0, shape: Shape::Dictionary { values, codes } })
    }

    /// Feeds the next rows; `array` has the type that the node was made for.
    pub(super) fn update(&mut self, array: &ArrayRef) -> Result<(), Damage> {
        self.rows += array.len() as u64;
        match &mut self.shape {
            Shape::Null => Ok(()),
            Shape::Boolean { validity, values } => {
                extend_validity(validity, array);
                let bits = array.as_boolean().values();
                match array.nulls() {
                    None => values.extend(bits),
                    Some(nulls) => values.extend(&(bits & nulls.inner())),
                }
                Ok(())
            }
            Shape::Fixed { validity, values, width } => {
                extend_validity(validity, array);
                feed_fixed(values, *width, array)
            }
            Shape::Bytes { validity, values } => {
                extend_validity(validity, array);
                feed_bytes(values, array)
            }
            Shape::List { validity, lengths, items } => {
                extend_validity(validity, array);
                feed_lists(lengths, items, array)
            }
            Shape::FixedList { validity, items, length } => {
                extend_validity(validity, array);
                let lists = array.as_fixed_size_list();
                let length = *length;
                let spans = valid_runs(array.nulls(), array.len()).map(|(start, end)| (start * length, end * length));
                spans.into_iter().try_for_each(|(start, end)| feed_span(items, lists.values(), start, end))
            }
            Shape::Struct { validity, fields } => {
                extend_validity(validity, array);
                let children = array.as_struct().columns();
                for (node, child) in fields.iter_mut().zip(children) {
                    for (start, end) in valid_runs(array.nulls(), array.len()) {
                        feed_span(node, child, start, end)?;
                    }
                }
                Ok(())
            }
            Shape::Dictionary { values, codes } => feed_dictionary(values, codes.as_mut(), array),
        }
    }

    /// The digest of all rows fed. The type, which says what the lanes are, is hashed by the frame.
    pub(super) fn finish(self) -> [u8; 32] {
        let mut node = Sha256::new();
        node.update(b"headrace.node\0");
        node.update(self.rows.to_le_bytes());
        match self.shape {
            Shape::Null => {}
            Shape::Boolean { validity, values } => {
                node.update(validity.finish());
                node.update(values.finish());
            }
            Shape::Fixed { validity, values, .. } | Shape::Bytes { validity, values } => {
                node.update(validity.finish());
                node.update(values.finalize());
            }
            Shape::List { validity, lengths, items } => {
                node.update(validity.finish());
                node.update(lengths.finalize());
                node.update(items.finish());
            }
            Shape::FixedList { validity, items, .. } => {
                node.update(validity.finish());
                node.update(items.finish());
            }
            Shape::Struct { validity, fields } => {
                node.update(validity.finish());
                for field in fields {
                    node.update(field.finish());
                }
            }
            Shape::Dictionary { values, codes } => {
                node.update(values.finish());
                if let Some(codes) = codes {
                    node.update(codes.finalize());
                }
            }
        }
        node.finalize().into()
    }
}

fn extend_validity(validity: &mut BitLane, array: &ArrayRef) {
    match array.nulls() {
        None => validity.extend_with_ones(array.len()),
        Some(nulls) => validity.extend(nulls.inner()),
    }
}

/// Runs of rows that are not null, as (start, end).
fn valid_runs(nulls: Option<&NullBuffer>, len: usize) -> impl Iterator<Item = (usize, usize)> {
    let whole = nulls.is_none().then_some((0, len));
    whole.into_iter().chain(nulls.into_iter().flat_map(NullBuffer::valid_slices))
}

fn feed_fixed(values: &mut Sha256, width: usize, array: &ArrayRef) -> Result<(), Damage> {
    let data = array.to_data();
    let buffer = data.buffers().first().ok_or("a fixed-width array has no value buffer")?;
    let mut sink = Sink::new(values);
    for (start, end) in valid_runs(array.nulls(), array.len()) {
        let span = (data.offset() + start) * width..(data.offset() + end) * width;
        sink.put(buffer.get(span).ok_or("its value buffer is shorter than its rows")?);
    }
    Ok(())
}

fn feed_bytes(values: &mut Sha256, array: &ArrayRef) -> Result<(), Damage> {
    match array.data_type() {
        DataType::Utf8 => feed_byte_array(values, array.as_string::<i32>()),
        DataType::LargeUtf8 => feed_byte_array(values, array.as_string::<i64>()),
        DataType::Binary => feed_byte_array(values, array.as_binary::<i32>()),
        DataType::LargeBinary => feed_byte_array(values, array.as_binary::<i64>()),
        DataType::Utf8View => {
            feed_byte_views(values, array.as_byte_view::<StringViewType>());
            Ok(())
        }
        _ => {
            feed_byte_views(values, array.as_byte_view::<BinaryViewType>());
            Ok(())
        }
    }
}

fn feed_byte_array<T: ByteArrayType>(values: &mut Sha256, array: &GenericByteArray<T>) -> Result<(), Damage> {
    let (offsets, data) = (array.value_offsets(), array.value_data());
    let mut sink = Sink::new(values);
    for (start, end) in valid_runs(array.nulls(), array.len()) {
        for pair in offsets[start..=end].windows(2) {
            let value = data.get(pair[0].as_usize()..pair[1].as_usize()).ok_or("an offset points outside its data")?;
            sink.put_varint(value.len() as u64);
            sink.put(value);
        }
    }
    Ok(())
}

fn feed_byte_views<T: ByteViewType>(values: &mut Sha256, array: &GenericByteViewArray<T>) {
    let mut sink = Sink::new(values);
    let mut put = |value: &[u8]| {
        sink.put_varint(value.len() as u64);
        sink.put(value);
    };
    match array.nulls() {
        None => array.bytes_iter().for_each(put),
        Some(nulls) => {
            for (start, end) in nulls.valid_slices() {
                array.slice(start, end - start).bytes_iter().for_each(&mut put);
            }
        }
    }
}

fn feed_lists(lengths: &mut Sha256, items: &mut Node, array: &ArrayRef) -> Result<(), Damage> {
    match array.data_type() {
        DataType::List(_) => {
            let lists = array.as_list::<i32>();
            feed_offset_lists(lengths, items, array, lists.value_offsets(), lists.values())
        }
        DataType::LargeList(_) => {
            let lists = array.as_list::<i64>();
            feed_offset_lists(lengths, items, array, lists.value_offsets(), lists.values())
        }
        DataType::ListView(_) => feed_view_lists(lengths, items, array.as_list_view::<i32>()),
        DataType::LargeListView(_) => feed_view_lists(lengths, items, array.as_list_view::<i64>()),
        _ => {
            let map = array.as_map();
            let entries: ArrayRef = std::sync::Arc::new(map.entries().clone());
            feed_offset_lists(lengths, items, array, map.value_offsets(), &entries)
        }
    }
}

fn feed_offset_lists<O: OffsetSizeTrait>(
    lengths: &mut Sha256,
    items: &mut Node,
    array: &ArrayRef,
    offsets: &[O],
    values: &ArrayRef,
) -> Result<(), Damage> {
    let spans = valid_runs(array.nulls(), array.len())
        .flat_map(|(start, end)| offsets[start..=end].windows(2))
        .map(|pair| (pair[0].as_usize(), pair[1].as_usize()));
    feed_list_spans(lengths, items, values, spans)
}

fn feed_view_lists<O: OffsetSizeTrait>(
    lengths: &mut Sha256,
    items: &mut Node,
    lists: &GenericListViewArray<O>,
) -> Result<(), Damage> {
    let (offsets, sizes) = (lists.value_offsets(), lists.value_sizes());
    let spans = valid_runs(lists.nulls(), lists.len()).flat_map(|(start, end)| start..end).map(|row| {
        let start = offsets[row].as_usize();
        (start, start.saturating_add(sizes[row].as_usize()))
    });
    feed_list_spans(lengths, items, lists.values(), spans)
}

/// Feeds the items of lists that lie side by side in one piece; in most arrays all of them do.
fn feed_list_spans(
    lengths: &mut Sha256,
    items: &mut Node,
    values: &ArrayRef,
    spans: impl Iterator<Item = (usize, usize)>,
) -> Result<(), Damage> {
    let mut sink = Sink::new(lengths);
    let mut open = (0, 0);
    for (start, end) in spans {
        let length = end.checked_sub(start).ok_or("a list ends before it starts")?;
        sink.put_varint(length as u64);
        if start == open.1 || length == 0 {
            open.1 += length;
        } else {
            feed_span(items, values, open.0, open.1)?;
            open = (start, end);
        }
    }
    feed_span(items, values, open.0, open.1)
}

fn feed_span(node: &mut Node, values: &ArrayRef, start: usize, end: usize) -> Result<(), Damage> {
    if end > values.len() {
        return Err(format!("item {end} is asked for, and there are {}", values.len()));
    }
    if start == 0 && end == values.len() { node.update(values) } else { node.update(&values.slice(start, end - start)) }
}

fn feed_dictionary(values: &mut Node, codes: Option<&mut Sha256>, array: &ArrayRef) -> Result<(), Damage> {
    let mut codes = codes.map(Sink::new);
    for start in (0..array.len()).step_by(DICTIONARY_ROWS) {
        let rows = array.slice(start, DICTIONARY_ROWS.min(array.len() - start));
        let dictionary = rows.as_any_dictionary_opt().ok_or("a dictionary array has no keys")?;
        let checked = TakeOptions { check_bounds: true };
        let taken = take(dictionary.values(), dictionary.keys(), Some(checked)).map_err(|error| error.to_string())?;
        if let Some(sink) = &mut codes
            && !dictionary.values().is_empty()
        {
            let keys = dictionary.normalized_keys();
            for (start, end) in valid_runs(taken.logical_nulls().as_ref(), taken.len()) {
                keys[start..end].iter().for_each(|&key| sink.put_varint(key as u64));
            }
        }
        values.update(&taken)?;
    }
    Ok(())
}
