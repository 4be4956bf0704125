//! Feature hashing: whole frames, in every layout and cut anywhere, against a map for each row.

use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, DictionaryArray, Float64Array, LargeStringArray, RecordBatch, StringArray, StringViewArray,
};
use headrace_core::Error;
use headrace_core::hasher::{Frame, Hasher, Mode, Options, Problem};
use headrace_core::murmur::murmur3;
use headrace_core::sparse::Csr;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Column {
    Text(Vec<Option<String>>, Layout),
    Number(Vec<Option<f64>>),
    Lists(Vec<Option<Vec<Option<String>>>>),
}

#[derive(Debug, Clone, Copy)]
enum Layout {
    Small,
    Large,
    View,
    Dictionary,
}

impl Column {
    fn array(&self) -> ArrayRef {
        match self {
            Self::Text(values, Layout::Small) => Arc::new(StringArray::from(values.clone())),
            Self::Text(values, Layout::Large) => Arc::new(LargeStringArray::from(values.clone())),
            Self::Text(values, Layout::View) => {
                Arc::new(values.iter().map(Option::as_deref).collect::<StringViewArray>())
            }
            Self::Text(values, Layout::Dictionary) => {
                Arc::new(values.iter().map(Option::as_deref).collect::<DictionaryArray<Int32Type>>())
            }
            Self::Number(values) => Arc::new(Float64Array::from(values.clone())),
            Self::Lists(values) => {
                let mut lists = ListBuilder::new(StringBuilder::new());
                for items in values {
                    lists.append_option(items.clone());
                }
                Arc::new(lists.finish())
            }
        }
    }

    /// The features of a row, as scikit-learn's documentation has them.
    fn features(&self, name: &str, row: usize) -> Vec<(String, f64)> {
        let category = |value: &String| (format!("{name}={value}"), 1.0);
        match self {
            Self::Text(values, _) => values[row].iter().map(category).collect(),
            Self::Number(values) => {
                values[row].iter().filter(|value| **value != 0.0).map(|value| (name.to_owned(), *value)).collect()
            }
            Self::Lists(values) => values[row].iter().flatten().flatten().map(category).collect(),
        }
    }
}

fn reference(columns: &[Column], rows: usize, width: i32, alternate: bool) -> Vec<BTreeMap<i32, f64>> {
    let row = |row| {
        let mut sums = BTreeMap::new();
        for (number, column) in columns.iter().enumerate() {
            for (feature, value) in column.features(&format!("c{number}"), row) {
                let hash = murmur3(feature.as_bytes(), 0);
                let place = i32::try_from(i64::from(hash).abs() % i64::from(width)).unwrap();
                let value = if alternate && hash < 0 { -value } else { value };
                sums.entry(place).and_modify(|sum| *sum += value).or_insert(value);
            }
        }
        sums
    };
    (0..rows).map(row).collect()
}

fn hashed(columns: &[Column], cuts: &[usize], width: i32, signed: bool, threads: usize) -> Csr<f64> {
    tried(columns, cuts, width, signed, threads).unwrap()
}

fn tried(columns: &[Column], cuts: &[usize], width: i32, signed: bool, threads: usize) -> Result<Csr<f64>, Error> {
    let arrays = columns.iter().enumerate().map(|(number, column)| (format!("c{number}"), column.array(), true));
    let whole = RecordBatch::try_from_iter_with_nullable(arrays).unwrap();
    let mut edges: Vec<usize> = cuts.iter().map(|cut| cut % (whole.num_rows() + 1)).collect();
    edges.extend([0, whole.num_rows()]);
    edges.sort_unstable();
    let batches: Vec<_> = edges.windows(2).map(|pair| whole.slice(pair[0], pair[1] - pair[0])).collect();
    let options = Options { columns: width, mode: Mode::Sklearn, signed, categorical: HashSet::new() };
    let threads = NonZeroUsize::new(threads).unwrap();
    Hasher::new(options).unwrap().sparse(Frame::Named, &whole.schema(), &batches, threads)
}

fn bits(made: &Csr<f64>) -> Vec<Vec<(i32, u64)>> {
    let ends = made.indptr.windows(2).map(|pair| usize::try_from(pair[0]).unwrap()..usize::try_from(pair[1]).unwrap());
    ends.map(|row| row.map(|place| (made.indices[place], made.data[place].to_bits())).collect()).collect()
}

fn expected(rows: Vec<BTreeMap<i32, f64>>) -> Vec<Vec<(i32, u64)>> {
    rows.into_iter().map(|row| row.into_iter().map(|(place, sum)| (place, sum.to_bits())).collect()).collect()
}

fn any_layout() -> impl Strategy<Value = Layout> {
    prop_oneof![Just(Layout::Small), Just(Layout::Large), Just(Layout::View), Just(Layout::Dictionary)]
}

fn any_column(rows: usize) -> impl Strategy<Value = Column> {
    let text = || prop_oneof!["[ab]{0,2}", "[a-zé日]{0,15}"];
    let value = || prop::option::weighted(0.8, text());
    let item = move || text().prop_map(Some);
    prop_oneof![
        4 => (prop::collection::vec(value(), rows), any_layout()).prop_map(|(values, layout)| Column::Text(values, layout)),
        // Finite, and so small that no sum is not.
        1 => prop::collection::vec(prop::option::of(-1e30..1e30_f64), rows).prop_map(Column::Number),
        1 => prop::collection::vec(prop::option::of(prop::collection::vec(item(), 0..4)), rows).prop_map(Column::Lists),
    ]
}

proptest! {
    #[test]
    fn a_row_is_the_sum_of_its_features(
        (rows, columns) in (0_usize..12).prop_flat_map(|rows| {
            (Just(rows), prop::collection::vec(any_column(rows), 1..9))
        }),
        cuts in prop::collection::vec(0_usize..12, 0..3),
        width in prop_oneof![1..20_i32, Just(1 << 18), 1..=i32::MAX],
        signed: bool,
    ) {
        let made = hashed(&columns, &cuts, width, signed, 1);
        prop_assert_eq!(bits(&made), expected(reference(&columns, rows, width, signed)));
    }
}

proptest! {
    #[test]
    fn the_first_row_whose_list_has_a_null_is_told(
        lists in prop::collection::vec(
            prop::option::of(prop::collection::vec(prop::option::weighted(0.9, "[ab]{0,2}"), 0..4)), 1..12
        ),
        cuts in prop::collection::vec(0_usize..12, 0..3),
    ) {
        let wrong = lists.iter().position(|items| items.iter().flatten().any(Option::is_none));
        match (tried(&[Column::Lists(lists)], &cuts, 1 << 18, true, 1), wrong) {
            (Ok(_), None) => {}
            (Err(Error::Hasher(Problem::NullItem { column, row })), Some(wrong)) => {
                prop_assert_eq!((column.as_str(), row), ("c0", wrong));
            }
            (other, wrong) => prop_assert!(false, "{:?} where the null is in {:?}", other, wrong),
        }
    }
}

/// So many rows that threads share them: few, many and ever new values, none, and all lengths side by side.
#[test]
fn many_rows() {
    let rows = 30_000;
    let text = |of: &dyn Fn(usize) -> Option<String>| (0..rows).map(of).collect::<Vec<_>>();
    let few = text(&|row| (row % 5 > 0).then(|| ["EWR", "JFK", "é", "日本"][row % 4].to_owned()));
    let many = text(&|row| Some(format!("N{}", row * row % 3001)));
    let new = text(&|row| (row % 9000 != 8).then(|| row.to_string()));
    let late = text(&|row| Some(if row < 20_000 { "a".to_owned() } else { format!("a long value {row}") }));
    let uneven = text(&|row| Some(["é", "abcdefghijklmnopqrs"][usize::from(row % 7 > 0)][..2].repeat(row % 11)));
    for layout in [Layout::Small, Layout::Large, Layout::View, Layout::Dictionary] {
        let columns: Vec<_> =
            [&few, &many, &new, &late, &uneven].map(|values| Column::Text(values.clone(), layout)).into();
        let numbers: Vec<_> = (0..rows).map(|row| Some(f64::from(u32::try_from(row).unwrap()) / 7.0)).collect();
        let mixed = [columns.as_slice(), &[Column::Number(numbers)]].concat();
        for columns in [columns, mixed] {
            let wanted = expected(reference(&columns, rows, 1000, true));
            for threads in [1, 2, 3] {
                let made = hashed(&columns, &[7, 12_345], 1000, true, threads);
                assert!(bits(&made) == wanted, "{layout:?}, {threads} threads");
            }
        }
    }
}

/// `h` and `-h` share a column, and the least hash is its own absolute value modulo the width.
#[test]
fn the_ends_of_the_range() {
    let values = ["flbvtm30", "atsgpk6w", "dloviw8l", ""].map(|value| Some(value.to_owned()));
    let column = |layout| Column::Text(values.to_vec(), layout);
    for layout in [Layout::Small, Layout::View] {
        for width in [1, 10, 1 << 20, i32::MAX] {
            let columns = [column(layout)];
            assert_eq!(bits(&hashed(&columns, &[], width, true, 1)), expected(reference(&columns, 4, width, true)));
        }
    }
}
