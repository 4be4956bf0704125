//! A window's update and a reference's fit, one shape of column at a time, in values a second, on one core; beside the sum
//! of the same floats, which only reads them.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, DictionaryArray, Float64Array, Int32Array, RecordBatch, StringViewArray};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use headrace_core::profile::{Options, Profile, Threads};

const ROWS: usize = 1 << 20;

/// A generator good enough for shapes: splitmix64.
struct Chance(u64);

impl Chance {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    #[allow(clippy::cast_precision_loss, reason = "53 bits")]
    fn unit(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / 9_007_199_254_740_992.0
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
}

#[allow(clippy::cast_possible_truncation, reason = "whole numbers below 50")]
fn key(value: f64) -> i32 {
    value as i32 % 5
}

fn shapes() -> Vec<(&'static str, ArrayRef)> {
    let mut chance = Chance(1);
    let mut floats = |make: fn(&mut Chance) -> f64| -> Float64Array { (0..ROWS).map(|_| make(&mut chance)).collect() };
    let normal = floats(Chance::normal);
    let nulls = normal.iter().enumerate().map(|(row, value)| value.filter(|_| row % 10 != 0)).collect::<Float64Array>();
    let lognormal = floats(|chance| (2.0 * chance.normal()).exp());
    let integers = floats(|chance| (chance.unit() * 50.0).floor());
    let zeros = floats(|chance| if chance.unit() < 0.7 { 0.0 } else { -chance.unit().ln() });
    let words = ["first", "second", "third", "fourth", "fifth"];
    let keys: Int32Array = integers.values().iter().map(|value| key(*value)).collect();
    let texts: StringViewArray =
        keys.values().iter().map(|key| usize::try_from(*key).ok().map(|at| words[at])).collect();
    let names: ArrayRef = Arc::new(StringViewArray::from(words.to_vec()));
    vec![
        ("float64 normal", Arc::new(normal) as ArrayRef),
        ("float64 normal, 10 % null", Arc::new(nulls)),
        ("float64 lognormal", Arc::new(lognormal)),
        ("float64, 50 whole numbers", Arc::new(integers)),
        ("float64, 70 % zeros", Arc::new(zeros)),
        ("dictionary, 5 strings", Arc::new(DictionaryArray::<Int32Type>::new(keys, names))),
        ("string view, 5 strings", Arc::new(texts)),
    ]
}

fn profile(criterion: &mut Criterion) {
    for (name, column) in shapes() {
        let batch = RecordBatch::try_from_iter([("x", column.clone())]).expect("one column");
        let schema = batch.schema();
        let fit = || {
            let mut threads = Threads::new(NonZeroUsize::MIN);
            let open = || std::iter::once(Ok(batch.clone()));
            Profile::fit(&schema, open, Options::default(), &mut threads).expect("a profile")
        };
        let reference = fit();
        let mut group = criterion.benchmark_group("window update");
        group.sample_size(20).throughput(Throughput::Elements(ROWS as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            let mut threads = Threads::new(NonZeroUsize::MIN);
            let mut window = reference.window();
            let reader = window.reader(&schema, false).expect("the same columns");
            bencher.iter(|| window.update(black_box(&batch), &reader, &mut threads));
        });
        group.finish();
        let mut group = criterion.benchmark_group("fit");
        group.sample_size(10).throughput(Throughput::Elements(ROWS as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| bencher.iter(fit));
        group.finish();
        if let Some(values) = column.as_any().downcast_ref::<Float64Array>() {
            let mut group = criterion.benchmark_group("sum");
            group.sample_size(20).throughput(Throughput::Elements(ROWS as u64));
            group.bench_function(BenchmarkId::from_parameter(name), |bencher| bencher.iter(|| sum(values.values())));
            group.finish();
        }
    }
}

/// In eight parts, so that it waits for memory and not for additions.
fn sum(values: &[f64]) -> f64 {
    let mut parts = [0.0; 8];
    for eight in black_box(values).as_chunks::<8>().0 {
        for (part, value) in parts.iter_mut().zip(eight) {
            *part += value;
        }
    }
    parts.iter().sum()
}

criterion_group!(benches, profile);
criterion_main!(benches);
