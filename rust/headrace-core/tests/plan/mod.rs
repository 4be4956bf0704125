//! The feature plan against simple code, value by value; and that no input makes it panic.

use std::num::NonZeroUsize;
use std::sync::Arc;

use arrow_array::types::Int8Type;
use arrow_array::{
    Array, ArrayRef, DictionaryArray, Float64Array, Int64Array, LargeStringArray, RecordBatch, StringArray,
    StringViewArray, TimestampMicrosecondArray,
};
use chrono::{DateTime, Datelike as _, NaiveDate, Timelike as _};
use headrace_core::murmur::murmur3;
use headrace_core::plan::{Order, Plan, fingerprint};
use headrace_core::{Error, Result};
use proptest::prelude::*;

const NAN: u32 = 0x7fc0_0000;
const WORDS: [&str; 5] = ["a", "", "é\u{1f}\\", "twelve bytes", "more than twelve bytes"];

#[derive(Debug, Clone)]
struct Row {
    number: Option<f64>,
    whole: Option<i64>,
    text: Option<String>,
    moment: Option<i64>,
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let text = prop_oneof![proptest::sample::select(WORDS.as_slice()).prop_map(str::to_owned), any::<String>()];
    let number = prop_oneof![any::<f64>(), Just(-0.0), -3.0..3.0, Just(f64::NAN), Just(f64::INFINITY)];
    let whole = prop_oneof![any::<i64>(), -3_i64..3];
    let moment = -60_000_000_000_000_000_i64..60_000_000_000_000_000;
    let row = (
        proptest::option::of(number),
        proptest::option::of(whole),
        proptest::option::weighted(0.8, text),
        proptest::option::of(moment),
    );
    let row = row.prop_map(|(number, whole, text, moment)| Row { number, whole, text, moment });
    proptest::collection::vec(row, 0..40)
}

fn document(steps: &[&str]) -> String {
    let kinds = [("number", "float64"), ("whole", "int64"), ("text", "string"), ("moment", "datetime[us]")];
    let inputs = kinds.map(|(name, kind)| format!(r#"{{"name":"{name}","type":"{kind}","nullable":true}}"#));
    sealed(&format!(
        r#"{{"format":2,"inputs":[{}],"transforms":[],"steps":[{}],"target":{{"name":"y","type":"boolean","task":"binary","classes":[false,true]}},"fingerprint":"?"}}"#,
        inputs.join(","),
        steps.join(",")
    ))
}

fn sealed(document: &str) -> String {
    document.replace('?', &fingerprint(document).unwrap())
}

const STEPS: [&str; 8] = [
    r#"{"op":"number","input":"number","output":"number"}"#,
    r#"{"op":"number","input":"number","output":"shaped","impute":0.5,"indicator":"absent","clip":[-2,2],"scaling":{"center":1,"scale":3}}"#,
    r#"{"op":"number","input":"whole","output":"whole"}"#,
    r#"{"op":"category","inputs":["text"],"output":"code","vocabulary":["a","","twelve bytes","more than twelve bytes"],"missing":4,"unseen":5}"#,
    r#"{"op":"frequency","inputs":["text","whole"],"output":"share","counts":[["a\u001f1",3],["é\\u\\\\\u001f-2",1]],"rows":7}"#,
    r#"{"op":"bucket","inputs":["whole"],"output":"bucket","prefix":"whole=","buckets":1000}"#,
    r#"{"op":"time_part","input":"moment","output":"week","part":"week","time_zone":null}"#,
    r#"{"op":"one_hot","inputs":["text"],"output":"is","vocabulary":["é\u001f\\","a"]}"#,
];

/// The same, one value after the other.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "rounding is what is computed")]
fn reference(row: &Row) -> Vec<u32> {
    let float = |value: f64| if value.is_nan() { NAN } else { (value as f32).to_bits() };
    let number = row.number.filter(|value| !value.is_nan());
    let shaped = number.unwrap_or(0.5);
    let shaped = if shaped < -2.0 { -2.0 } else { shaped };
    let shaped = if shaped > 2.0 { 2.0 } else { shaped };
    let text = row.text.as_deref();
    let code = match text {
        None => 4,
        Some(text) => ["a", "", "twelve bytes", "more than twelve bytes"].iter().position(|w| *w == text).unwrap_or(5),
    };
    let share = match (text, row.whole) {
        (Some("a"), Some(1)) => 3.0 / 7.0,
        (Some("é\u{1f}\\"), Some(-2)) => 1.0 / 7.0,
        (Some(_), Some(_)) => 0.0,
        _ => f64::NAN,
    };
    let bucket = row.whole.map_or(1000, |whole| murmur3(format!("whole={whole}").as_bytes(), 0).unsigned_abs() % 1000);
    let week = row.moment.map_or(NAN, |count| {
        let date = DateTime::from_timestamp(count.div_euclid(1_000_000), 0).unwrap().date_naive();
        (date.iso_week().week() as f32).to_bits()
    });
    let is = |word: &str| f32::from(u8::from(text == Some(word))).to_bits();
    vec![
        number.map_or(NAN, float),
        float((shaped - 1.0) / 3.0),
        f32::from(u8::from(number.is_none())).to_bits(),
        row.whole.map_or(NAN, |whole| (whole as f32).to_bits()),
        (code as f32).to_bits(),
        float(share),
        (bucket as f32).to_bits(),
        week,
        is("é\u{1f}\\"),
        is("a"),
    ]
}

fn texts(rows: &[Row], layout: usize) -> ArrayRef {
    let values = rows.iter().map(|row| row.text.as_deref());
    match layout {
        0 => Arc::new(values.collect::<StringArray>()),
        1 => Arc::new(values.collect::<LargeStringArray>()),
        2 => Arc::new(values.collect::<StringViewArray>()),
        _ => Arc::new(values.collect::<DictionaryArray<Int8Type>>()),
    }
}

fn batch(rows: &[Row], layout: usize) -> RecordBatch {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("moment", Arc::new(rows.iter().map(|row| row.moment).collect::<TimestampMicrosecondArray>())),
        ("text", texts(rows, layout)),
        ("more", Arc::new(rows.iter().map(|row| row.whole).collect::<Int64Array>())),
        ("whole", Arc::new(rows.iter().map(|row| row.whole).collect::<Int64Array>())),
        ("number", Arc::new(rows.iter().map(|row| row.number).collect::<Float64Array>())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn as_json(row: &Row) -> String {
    let moment = row.moment.map(|count| {
        let moment = DateTime::from_timestamp_micros(count).unwrap().naive_utc();
        let (date, time): (NaiveDate, _) = (moment.date(), moment.time());
        let micros = time.nanosecond() / 1000;
        format!("{date:?}T{:02}:{:02}:{:02}.{micros:06}", time.hour(), time.minute(), time.second())
    });
    let number = match row.number {
        Some(value) if value.is_nan() => serde_json::json!("NaN"),
        Some(value) if value.is_infinite() => {
            serde_json::json!(if value > 0.0 { "Infinity" } else { "-Infinity" })
        }
        finite => serde_json::json!(finite),
    };
    serde_json::json!({"number": number, "whole": row.whole, "text": row.text, "moment": moment, "x": [{}]}).to_string()
}

fn run(plan: &Plan, batches: &[RecordBatch], order: Order, threads: usize) -> Vec<u32> {
    let schema = batches[0].schema();
    bits(&plan.matrix(&schema, batches, order, NonZeroUsize::new(threads).unwrap()).unwrap())
}

proptest! {
    #[test]
    fn every_value_is_that_of_the_simple_code(rows in rows(), layout in 0..4_usize, cut in 0..40_usize) {
        let plan = Plan::parse(&document(&STEPS)).unwrap();
        let width = plan.outputs().len();
        let expected: Vec<u32> = rows.iter().flat_map(reference).collect();
        let whole = batch(&rows, layout);
        prop_assert_eq!(&run(&plan, std::slice::from_ref(&whole), Order::RowMajor, 1), &expected);
        let cut = cut.min(rows.len());
        let parts = [whole.slice(0, cut), whole.slice(cut, rows.len() - cut)];
        prop_assert_eq!(&run(&plan, &parts, Order::RowMajor, 2), &expected);
        let columns = run(&plan, &parts, Order::ColumnMajor, 1);
        for (index, value) in expected.iter().enumerate() {
            prop_assert_eq!(columns[index % width * rows.len() + index / width], *value);
        }
        let sparse = plan.sparse(&whole.schema(), &parts, NonZeroUsize::new(2).unwrap()).unwrap();
        let mut dense = vec![0_u32; expected.len()];
        for row in 0..rows.len() {
            let span = sparse.indptr[row].unsigned_abs() as usize..sparse.indptr[row + 1].unsigned_abs() as usize;
            prop_assert!(sparse.indices[span.clone()].is_sorted_by(|a, b| a < b));
            for at in span {
                dense[row * width + sparse.indices[at].unsigned_abs() as usize] = sparse.data[at].to_bits();
            }
        }
        let without_sign = |bits: &u32| if bits << 1 == 0 { 0 } else { *bits };
        prop_assert_eq!(dense, expected.iter().map(without_sign).collect::<Vec<_>>());

        let mut scratch = plan.scratch();
        for (row, expected) in rows.iter().zip(expected.chunks_exact(width)) {
            let mut out = Vec::new();
            plan.row(as_json(row).as_bytes(), &mut scratch, &mut out).unwrap();
            prop_assert_eq!(bits(&out), expected);
        }
    }

    #[test]
    fn rows_as_a_table_are_the_frame(rows in rows()) {
        let plan = Plan::parse(&document(&STEPS)).unwrap();
        let texts: Vec<String> = rows.iter().map(as_json).collect();
        let schema = plan.schema();
        let table = plan.table(&schema, texts.iter().map(String::as_bytes)).unwrap();
        let moments: TimestampMicrosecondArray = rows.iter().map(|row| row.moment).collect();
        let wholes: Int64Array = rows.iter().map(|row| row.whole).collect();
        let words: StringArray = rows.iter().map(|row| row.text.as_deref()).collect();
        prop_assert_eq!(table.column_by_name("moment").unwrap().as_ref(), &moments as &dyn Array);
        prop_assert_eq!(table.column_by_name("whole").unwrap().as_ref(), &wholes as &dyn Array);
        prop_assert_eq!(table.column_by_name("text").unwrap().as_ref(), &words as &dyn Array);
        let mut out = Vec::new();
        for text in &texts {
            plan.row(text.as_bytes(), &mut plan.scratch(), &mut out).unwrap();
        }
        let matrix = plan.matrix(&schema, &[table], Order::RowMajor, NonZeroUsize::MIN).unwrap();
        prop_assert_eq!(bits(&matrix), bits(&out));
    }

    #[test]
    fn any_bytes_are_a_row_or_an_error(bytes: Vec<u8>, text in r#"[\[{"a-z0-9:,.\]} -]{0,60}"#) {
        let plan = Plan::parse(&document(&STEPS)).unwrap();
        for bytes in [bytes, text.into_bytes()] {
            let mut out = Vec::new();
            let read: Result<()> = plan.row(&bytes, &mut plan.scratch(), &mut out);
            prop_assert!(read.is_err());
            prop_assert!(out.is_empty());
        }
    }

    #[test]
    fn a_changed_byte_is_an_error_or_the_same_plan(at: prop::sample::Index, byte: u8) {
        let good = document(&STEPS);
        let mut bytes = good.clone().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(text) = String::from_utf8(bytes) {
            match Plan::parse(&text) {
                Ok(plan) => prop_assert_eq!(plan.fingerprint(), fingerprint(&good).unwrap()),
                Err(error) => {
                    prop_assert!(error.is_of_plan());
                    prop_assert_eq!(error.place(), Some("feature plan".to_owned()));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn threads_and_blocks_do_not_show(rows in rows().prop_filter("rows", |rows| !rows.is_empty()), threads in 1..4_usize) {
        let plan = Plan::parse(&document(&STEPS)).unwrap();
        let many: Vec<Row> = rows.iter().cycle().take(5000).cloned().collect();
        let expected: Vec<u32> = many.iter().flat_map(reference).collect();
        let whole = batch(&many, 2);
        prop_assert_eq!(run(&plan, &[whole], Order::RowMajor, threads), expected);
    }
}

#[test]
fn errors_say_what_and_where() {
    let plan = Plan::parse(&document(&STEPS)).unwrap();
    let rows = [Row { number: None, whole: Some(1), text: None, moment: Some(0) }];
    let good = batch(&rows, 0);
    let without = good.project(&[0, 1, 2, 4]).unwrap();
    let error = plan.matrix(&without.schema(), &[without], Order::RowMajor, NonZeroUsize::MIN).unwrap_err();
    assert!(matches!(&error, Error::MissingColumn { column, .. } if column == "whole"));
    assert!(error.hint().unwrap().contains("'more'"));
    let other = good.column(1).slice(0, 0);
    assert_eq!(other.len(), 0);
    let mixed = plan.matrix(&good.schema(), &[batch(&rows, 1)], Order::RowMajor, NonZeroUsize::MIN).unwrap_err();
    assert!(matches!(mixed, Error::SchemaMismatch { .. }));
    assert!(matches!(Plan::parse("{\"format\": 3}"), Err(Error::NewerPlan { .. })));
    assert!(matches!(Plan::parse("{\"format\": 1}"), Err(Error::OldPlan { .. })));
}

#[test]
fn columns_that_training_did_not_have_are_refused_where_that_is_asked() {
    let text = document(&STEPS);
    let names = ["number", "whole", "text", "moment"];
    let with = |more: &'static str| [names.as_slice(), &[more]].concat();
    // `unread` is no part of what is computed, so the fingerprint stays.
    let says = text.replacen('{', r#"{"unread":["id","y"],"#, 1);
    let plan = Plan::parse(&says).unwrap();
    assert_eq!(plan.fingerprint(), Plan::parse(&text).unwrap().fingerprint());
    plan.check_columns(&with("id")).unwrap();
    let error = plan.check_columns(&with("more")).unwrap_err();
    assert!(matches!(&error, Error::ExtraColumn { column } if column == "more"));
    assert_eq!(error.place().as_deref(), Some("column 'more'"));
    // What is missing has its own error, with the nearest name.
    plan.check_columns(&["numbr", "whole", "text", "moment"]).unwrap();
    let row = as_json(&Row { number: None, whole: Some(1), text: None, moment: Some(0) });
    assert!(matches!(plan.check_keys(row.as_bytes()), Err(Error::ExtraColumn { column }) if column == "x"));
    plan.check_keys(b"no row").unwrap();
    let silent = Plan::parse(&text).unwrap();
    silent.check_columns(&with("more")).unwrap();
    silent.check_keys(row.as_bytes()).unwrap();
}
