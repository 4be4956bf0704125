//! The content hash: against a reference implementation over plain values, in every layout, cut anywhere.

mod layout;
mod reference;

use std::num::NonZeroUsize;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int32Array, Int64Array, NullArray, RecordBatch,
    RecordBatchOptions, RunArray, StringArray, TimestampMicrosecondArray, make_array,
};
use arrow_schema::{ArrowError, DataType, Field, Schema};
use headrace_core::Error;
use headrace_core::hash::{FrameHasher, frame_digest};
use proptest::prelude::*;

use layout::Layout;
use reference::{CATEGORIES, Ty, Value};

fn threads(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

fn digest(columns: Vec<(&str, ArrayRef)>) -> String {
    let batch = batch(columns);
    frame_digest(&batch.schema(), [Ok(batch)], threads(1)).unwrap().to_string()
}

fn one(array: impl arrow_array::Array + 'static) -> String {
    digest(vec![("x", Arc::new(array))])
}

// --- any frame, any layout --------------------------------------------------------------------------------------

fn any_type() -> impl Strategy<Value = Ty> {
    let leaf = prop_oneof![
        Just(Ty::Null),
        Just(Ty::Bool),
        Just(Ty::Int32),
        Just(Ty::Float64),
        prop_oneof![Just("UTC"), Just("Europe/Paris")].prop_map(|zone| Ty::Timestamp(zone.to_owned())),
        Just(Ty::Decimal(20, 3)),
        Just(Ty::Str),
        Just(Ty::Bin),
        (0..5i32).prop_map(Ty::FixedBin),
        any::<bool>().prop_map(Ty::Dict),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|item| Ty::List(Box::new(item))),
            (inner.clone(), 0..3i32).prop_map(|(item, length)| Ty::FixedList(Box::new(item), length)),
            prop::collection::vec(("[a-c]{0,2}", inner), 1..3).prop_map(Ty::Struct),
        ]
    })
}

fn any_value(ty: &Ty) -> BoxedStrategy<Value> {
    let present = match ty {
        Ty::Null => return Just(Value::Null).boxed(),
        Ty::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Ty::Int32 => any::<i32>().prop_map(|number| Value::Fixed(number.to_le_bytes().to_vec())).boxed(),
        Ty::Float64 => any::<u64>().prop_map(|bits| Value::Fixed(bits.to_le_bytes().to_vec())).boxed(),
        Ty::Timestamp(_) => any::<i64>().prop_map(|number| Value::Fixed(number.to_le_bytes().to_vec())).boxed(),
        Ty::Decimal(..) => any::<i64>().prop_map(|unit| Value::Fixed(i128::from(unit).to_le_bytes().to_vec())).boxed(),
        Ty::Str => "[a-zé]{0,20}".prop_map(|text| Value::Bytes(text.into_bytes())).boxed(),
        Ty::Bin => prop::collection::vec(any::<u8>(), 0..200).prop_map(Value::Bytes).boxed(),
        Ty::FixedBin(width) => {
            prop::collection::vec(any::<u8>(), usize::try_from(*width).unwrap()).prop_map(Value::Fixed).boxed()
        }
        Ty::List(item) => prop::collection::vec(any_value(item), 0..4).prop_map(Value::Nested).boxed(),
        Ty::FixedList(item, length) => {
            prop::collection::vec(any_value(item), usize::try_from(*length).unwrap()).prop_map(Value::Nested).boxed()
        }
        Ty::Struct(fields) => {
            fields.iter().map(|(_, ty)| any_value(ty)).collect::<Vec<_>>().prop_map(Value::Nested).boxed()
        }
        Ty::Dict(_) => (0..CATEGORIES.len()).prop_map(Value::Category).boxed(),
    };
    prop_oneof![3 => present, 1 => Just(Value::Null)].boxed()
}

fn any_layout() -> impl Strategy<Value = Layout> {
    (0..3u8, 0..70usize, 0..3usize, any::<bool>(), any::<u8>())
        .prop_map(|(width, lead, trail, bitmap, garbage)| Layout { width, lead, trail, bitmap, garbage })
}

type Columns = Vec<(String, Ty, Vec<Value>)>;

/// A frame with at least so many rows and so many columns.
fn any_columns(least: usize) -> impl Strategy<Value = (Columns, usize)> {
    (least..150).prop_flat_map(move |rows| {
        let column = ("[a-zA-Z ]{0,3}", any_type()).prop_flat_map(move |(name, ty)| {
            (Just(name), Just(ty.clone()), prop::collection::vec(any_value(&ty), rows))
        });
        (prop::collection::vec(column, least..4), Just(rows))
    })
}

/// The digest of the columns in this layout, fed in pieces that end at `cuts`.
fn digest_in(columns: &Columns, rows: usize, layout: &Layout, cuts: &[usize], thread_count: usize) -> String {
    let fields: Vec<_> = columns.iter().map(|(name, ty, _)| layout.field(name, ty)).collect();
    let schema = Arc::new(Schema::new(fields));
    let mut hasher = FrameHasher::new(Arc::clone(&schema), threads(thread_count)).unwrap();
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (rows + 1)).chain([rows]).collect();
    ends.sort_unstable();
    let mut start = 0;
    for end in ends {
        let arrays = columns.iter().map(|(_, ty, values)| layout.array(ty, &values[start..end])).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(end - start));
        let piece = RecordBatch::try_new_with_options(Arc::clone(&schema), arrays, &options).unwrap();
        hasher.update(&piece).unwrap();
        start = end;
    }
    hasher.finish().to_string()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_reference_in_every_layout(
        (columns, rows) in any_columns(0),
        layout in any_layout(),
        cuts in prop::collection::vec(any::<usize>(), 0..4),
    ) {
        prop_assert_eq!(digest_in(&columns, rows, &layout, &cuts, 1), reference::frame(&columns, rows));
    }

    #[test]
    fn any_change_of_a_value_changes_the_digest(
        (columns, rows) in any_columns(1),
        column in any::<prop::sample::Index>(),
        row in any::<prop::sample::Index>(),
        seed in any::<[u8; 16]>(),
        layout in any_layout(),
    ) {
        let mut runner = proptest::test_runner::TestRunner::new_with_rng(
            ProptestConfig::default(),
            proptest::test_runner::TestRng::from_seed(
                proptest::test_runner::RngAlgorithm::XorShift,
                &seed,
            ),
        );
        let mut other = columns.clone();
        let (_, ty, values) = &mut other[column.index(columns.len())];
        let place = row.index(rows);
        values[place] = any_value(ty).new_tree(&mut runner).unwrap().current();
        prop_assert_eq!(
            digest_in(&columns, rows, &layout, &[], 1) == digest_in(&other, rows, &layout, &[], 1),
            columns == other
        );
    }
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let rows = 40_000;
    let numbers: Vec<Value> = (0..rows).map(|row: i32| Value::Fixed(row.to_le_bytes().to_vec())).collect();
    let columns: Columns = (0..5).map(|index| (format!("c{index}"), Ty::Int32, numbers.clone())).collect();
    let layout = Layout { width: 2, lead: 3, trail: 0, bitmap: false, garbage: 7 };
    let rows = numbers.len();
    let serial = digest_in(&columns, rows, &layout, &[17], 1);
    assert_eq!(serial, reference::frame(&columns, rows));
    for count in [2, 3, 64] {
        assert_eq!(digest_in(&columns, rows, &layout, &[17], count), serial);
    }
}

// --- what must differ, and what must not ------------------------------------------------------------------------

#[test]
fn what_a_frame_says_differs() {
    let quiet = f64::from_bits(0x7ff8_0000_0000_0000);
    let payload = f64::from_bits(0x7ff8_0000_0000_0001);
    let micros = |zone: Option<&str>| TimestampMicrosecondArray::from(vec![1]).with_timezone_opt(zone);
    let frames = [
        one(Float64Array::from(vec![0.0])),
        one(Float64Array::from(vec![-0.0])),
        one(Float64Array::from(vec![quiet])),
        one(Float64Array::from(vec![payload])),
        one(Float64Array::from(vec![None])),
        one(NullArray::new(1)),
        one(NullArray::new(2)),
        one(StringArray::from(vec![""])),
        one(StringArray::from(vec![None::<&str>])),
        one(StringArray::from(vec!["ab", "c"])),
        one(StringArray::from(vec!["a", "bc"])),
        one(StringArray::from(vec!["abc"])),
        one(arrow_array::BinaryArray::from_vec(vec![b"abc"])),
        one(["abc"].into_iter().collect::<DictionaryArray<arrow_array::types::Int32Type>>()),
        one(Int32Array::from(vec![1])),
        one(Int64Array::from(vec![1])),
        one(micros(None)),
        one(micros(Some("UTC"))),
        one(micros(Some("Europe/Paris"))),
        one(BooleanArray::from(vec![true])),
        one(BooleanArray::from(vec![false])),
        one(BooleanArray::from(vec![None])),
        digest(vec![("y", Arc::new(Int32Array::from(vec![1])))]),
        digest(vec![("x", Arc::new(Int32Array::from(vec![1]))), ("y", Arc::new(Int32Array::from(vec![2])))]),
        digest(vec![("y", Arc::new(Int32Array::from(vec![2]))), ("x", Arc::new(Int32Array::from(vec![1])))]),
        digest(vec![("x", Arc::new(Int32Array::from(vec![2]))), ("y", Arc::new(Int32Array::from(vec![1])))]),
    ];
    let distinct: std::collections::BTreeSet<_> = frames.iter().collect();
    assert_eq!(distinct.len(), frames.len());
}

#[test]
fn rows_without_columns_are_counted() {
    let schema = Arc::new(Schema::empty());
    let of_rows = |rows| {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), vec![], &options).unwrap();
        frame_digest(&schema, [Ok(batch)], threads(4)).unwrap()
    };
    assert_ne!(of_rows(0), of_rows(1));
    assert_eq!(of_rows(0), frame_digest(&schema, [], threads(4)).unwrap());
}

#[test]
fn a_null_in_the_dictionary_is_a_null_in_the_keys() {
    let keys = |codes: Vec<Option<i32>>| Int32Array::from(codes);
    let values = |values: Vec<Option<&str>>| Arc::new(StringArray::from(values));
    let by_value = DictionaryArray::new(keys(vec![Some(0), Some(1)]), values(vec![Some("a"), None]));
    let by_key = DictionaryArray::new(keys(vec![Some(0), None]), values(vec![Some("a")]));
    let none_left = DictionaryArray::new(keys(vec![None, None]), values(vec![]));
    let never_used = DictionaryArray::new(keys(vec![None, None]), values(vec![Some("a")]));
    assert_eq!(one(by_value), one(by_key));
    assert_eq!(one(none_left), one(never_used));
}

#[test]
fn the_order_of_an_ordered_dictionary_counts() {
    let frame = |categories: Vec<&str>, codes: Vec<i32>, ordered| {
        let array = DictionaryArray::new(Int32Array::from(codes), Arc::new(StringArray::from(categories)));
        let field = Field::new("x", arrow_array::Array::data_type(&array).clone(), true).with_dict_is_ordered(ordered);
        let schema = Arc::new(Schema::new(vec![field]));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(array)]).unwrap();
        frame_digest(&schema, [Ok(batch)], threads(1)).unwrap()
    };
    assert_ne!(frame(vec!["low", "high"], vec![0, 1], true), frame(vec!["high", "low"], vec![1, 0], true));
    assert_eq!(frame(vec!["low", "high"], vec![0, 1], false), frame(vec!["high", "low"], vec![1, 0], false));
    assert_ne!(frame(vec!["low", "high"], vec![0, 1], false), frame(vec!["low", "high"], vec![0, 1], true));
}

#[test]
fn an_extension_type_counts_and_other_metadata_does_not() {
    let frame = |key: &str, value: &str| {
        let metadata = [(key.to_owned(), value.to_owned())].into();
        let schema = Schema::new(vec![Field::new("x", DataType::Int32, true).with_metadata(metadata)]);
        frame_digest(&schema, [], threads(1)).unwrap()
    };
    assert_eq!(frame("PARQUET:field_id", "1"), frame("comment", "primary"));
    assert_ne!(frame("ARROW:extension:name", "arrow.uuid"), frame("ARROW:extension:name", "geo.point"));
    assert_ne!(frame("_PL_ENUM_VALUES2", "1;a"), frame("_PL_ENUM_VALUES2", "1;a1;b"));
}

// --- what is refused --------------------------------------------------------------------------------------------

#[test]
fn a_type_without_a_hash_is_refused_by_name() {
    let runs = RunArray::try_new(&Int32Array::from(vec![2]), &StringArray::from(vec!["a"])).unwrap();
    let data_type = arrow_array::Array::data_type(&runs).clone();
    let nested = DataType::List(Arc::new(Field::new("item", data_type.clone(), true)));
    let schema = Arc::new(Schema::new(vec![Field::new("fine", DataType::Int8, true), Field::new("odd", nested, true)]));
    let error = FrameHasher::new(schema, threads(1)).unwrap_err();
    assert!(
        matches!(&error, Error::UnsupportedType { column, data_type: found } if column == "odd" && *found == data_type)
    );
    assert_eq!(error.place().unwrap(), "column 'odd'");
}

#[test]
fn a_batch_of_another_schema_is_refused() {
    let number = batch(vec![("x", Arc::new(Int32Array::from(vec![1])))]);
    for other in [
        batch(vec![("x", Arc::new(Int64Array::from(vec![1])))]),
        batch(vec![("y", Arc::new(Int32Array::from(vec![1])))]),
        batch(vec![("x", Arc::new(Int32Array::from(vec![1]))), ("y", Arc::new(Int32Array::from(vec![1])))]),
    ] {
        let error = frame_digest(&number.schema(), [Ok(number.clone()), Ok(other)], threads(1)).unwrap_err();
        assert!(matches!(error, Error::SchemaMismatch { .. }), "{error}");
    }
}

#[test]
fn a_producer_that_fails_fails_the_digest() {
    let schema = Schema::new(vec![Field::new("x", DataType::Int32, true)]);
    let error = frame_digest(&schema, [Err(ArrowError::CDataInterface("gone".to_owned()))], threads(1)).unwrap_err();
    assert!(error.to_string().contains("gone"), "{error}");
}

#[test]
#[allow(unsafe_code, reason = "an array from another process was not validated either")]
fn a_dictionary_key_that_points_outside_is_an_error_and_no_panic() {
    let good = DictionaryArray::new(Int32Array::from(vec![0, 1]), Arc::new(StringArray::from(vec!["a", "b"])));
    let short = arrow_array::Array::to_data(&StringArray::from(vec!["a"]));
    let builder = arrow_array::Array::to_data(&good).into_builder().child_data(vec![short]);
    // SAFETY: only the hasher reads the array, and it checks each key.
    let damaged = make_array(unsafe { builder.build_unchecked() });
    let error = frame_digest(
        &Schema::new(vec![Field::new("x", arrow_array::Array::data_type(&good).clone(), true)]),
        [Ok(batch(vec![("x", damaged)]))],
        threads(1),
    );
    assert!(matches!(error, Err(Error::DamagedColumn { column, .. }) if column == "x"));
}
