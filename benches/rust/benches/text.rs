//! Texts to rows, one kind of text at a time, in bytes a second; one thread.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use headrace_benches::texts;
use headrace_core::sparse::Csr;
use headrace_core::text::{Analyzer, Options, Scratch, Vectorizer};

fn text(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("text");
    group.sample_size(20);
    let options = [
        ("words", Options::default()),
        ("pairs of words", Options { ngrams: (1, 2), ..Options::default() }),
        ("3 to 5 characters", Options { analyzer: Analyzer::CharWithinWords, ngrams: (3, 5), ..Options::default() }),
    ];
    for (kind, documents) in texts(2_000) {
        group.throughput(Throughput::Bytes(documents.iter().map(|text| text.len() as u64).sum()));
        for (cut, options) in &options {
            let vectorizer = Vectorizer::new(options.clone()).expect("the options are as they should be");
            group.bench_function(BenchmarkId::new(*cut, kind), |bencher| {
                let mut scratch = Scratch::default();
                bencher.iter(|| {
                    let mut rows = Csr::<f64>::new(vectorizer.columns());
                    for document in &documents {
                        vectorizer.push(black_box(document), &mut scratch, &mut rows).expect("few values");
                    }
                    rows
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, text);
criterion_main!(benches);
