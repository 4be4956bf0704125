//! The content hash, one shape of column at a time, in values a second.

use std::hint::black_box;
use std::num::NonZeroUsize;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use headrace_benches::{batch, shapes};
use headrace_core::hash::frame_digest;

const ROWS: usize = 1 << 18;

fn hash(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame_digest");
    group.sample_size(20);
    for (name, column) in shapes(ROWS) {
        let batch = batch(&column);
        let schema = batch.schema();
        group.throughput(Throughput::Elements(column.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| frame_digest(&schema, [Ok(black_box(batch.clone()))], NonZeroUsize::MIN));
        });
    }
    group.finish();
}

criterion_group!(benches, hash);
criterion_main!(benches);
