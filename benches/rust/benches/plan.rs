//! The feature plan: one row of JSON to a model's input, and rows of a batch by a thread.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use headrace_core::plan::{Order, Plan, fingerprint};

const ROWS: usize = 1 << 17;
const NUMBERS: [&str; 8] =
    ["dep_delay", "air_time", "distance", "dep_time", "sched_dep_time", "temp", "humid", "wind_speed"];
const TEXTS: [(&str, usize); 4] = [("carrier", 16), ("origin", 3), ("dest", 105), ("tailnum", 4043)];

fn text(column: &str, index: usize) -> String {
    format!("{}{index}", &column[..2])
}

/// As the flights have it: eight numbers, imputed and standardised; four texts as codes and as target encodings; five
/// fields of a datetime.
fn document() -> String {
    let mut inputs = Vec::new();
    let mut steps = Vec::new();
    for name in NUMBERS {
        inputs.push(format!(r#"{{"name":"{name}","type":"float64","nullable":true}}"#));
        steps.push(format!(
            r#"{{"op":"number","input":"{name}","output":"{name}","impute":3,"scaling":{{"center":1.5,"scale":2.25}}}}"#
        ));
    }
    for (name, size) in TEXTS {
        inputs.push(format!(r#"{{"name":"{name}","type":"string","nullable":true}}"#));
        let texts: Vec<String> = (0..size).map(|index| format!("\"{}\"", text(name, index))).collect();
        steps.push(format!(
            r#"{{"op":"category","inputs":["{name}"],"output":"{name}","vocabulary":[{}],"missing":{size},"unseen":{}}}"#,
            texts.join(","),
            size + 1
        ));
        let means: Vec<String> = texts.iter().enumerate().map(|(i, text)| format!("[{text},[0.{i}]]")).collect();
        steps.push(format!(
            r#"{{"op":"target","inputs":["{name}"],"outputs":["{name}.mean"],"encodings":[{}],"missing":[0.5],"unseen":[0.25]}}"#,
            means.join(",")
        ));
    }
    inputs.push(r#"{"name":"time","type":"datetime[us]","nullable":true}"#.to_owned());
    for part in ["month", "day", "day_of_week", "hour", "minute"] {
        steps.push(format!(
            r#"{{"op":"time_part","input":"time","output":"time.{part}","part":"{part}","time_zone":null}}"#
        ));
    }
    let target = r#"{"name":"y","type":"boolean","task":"binary","classes":[false,true]}"#;
    let made = format!(
        r#"{{"format":2,"inputs":[{}],"transforms":[],"steps":[{}],"target":{target},"fingerprint":"?"}}"#,
        inputs.join(","),
        steps.join(",")
    );
    let digits = fingerprint(&made).expect("the document is valid");
    made.replace('?', &digits)
}

fn row() -> String {
    let numbers: Vec<String> = NUMBERS.iter().map(|name| format!(r#""{name}": 1234.5"#)).collect();
    let texts: Vec<String> = TEXTS.iter().map(|(name, _)| format!(r#""{name}": "{}""#, text(name, 2))).collect();
    format!(
        r#"{{"year": 2013, "flight": 1545, {}, {}, "time": "2013-01-01T05:15:00"}}"#,
        numbers.join(", "),
        texts.join(", ")
    )
}

fn small(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::NAN, f64::from)
}

fn batch() -> RecordBatch {
    let mut columns: Vec<(&str, ArrayRef)> = Vec::new();
    for name in NUMBERS {
        let values = (0..ROWS).map(|row| (row % 50 != 0).then(|| small(row * 7 % 1001)));
        columns.push((name, Arc::new(values.collect::<Float64Array>())));
    }
    for (name, size) in TEXTS {
        let texts = (0..ROWS).map(|row| Some(text(name, row * 31 % (size + 1))));
        columns.push((name, Arc::new(texts.collect::<StringViewArray>())));
    }
    let times = (0_i64..).step_by(93_000_000).take(ROWS).map(|later| Some(1_357_000_000_000_000 + later));
    columns.push(("time", Arc::new(times.collect::<TimestampMicrosecondArray>())));
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

fn plan(criterion: &mut Criterion) {
    let json = document();
    let plan = Plan::parse(&json).expect("the document is valid");
    let mut group = criterion.benchmark_group("plan");
    group.sample_size(30);
    group.bench_function("parse", |bencher| bencher.iter(|| Plan::parse(black_box(&json))));
    let row = row();
    let (mut scratch, mut out) = (plan.scratch(), Vec::new());
    group.bench_function("row", |bencher| {
        bencher.iter(|| {
            out.clear();
            plan.row(black_box(row.as_bytes()), &mut scratch, &mut out).expect("the row is good");
            out.len()
        });
    });
    let batch = batch();
    let schema = batch.schema();
    let batches = [batch];
    group.throughput(Throughput::Elements((ROWS * plan.outputs().len()) as u64));
    for order in [Order::RowMajor, Order::ColumnMajor] {
        group.bench_function(format!("{order:?}"), |bencher| {
            bencher.iter(|| plan.matrix(&schema, black_box(&batches), order, NonZeroUsize::MIN));
        });
    }
    group.bench_function("sparse", |bencher| {
        bencher.iter(|| plan.sparse(&schema, black_box(&batches), NonZeroUsize::MIN));
    });
    group.finish();
}

criterion_group!(benches, plan);
criterion_main!(benches);
