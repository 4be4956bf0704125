//! Rows of texts, beside the plain way: n-grams are written down as strings, hashed one by one, and added up in a map.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use headrace_core::murmur::murmur3;
use headrace_core::sparse::Csr;
use headrace_core::text::{Analyzer, Chunk, Decoding, Document, Norm, Options, Scratch, Vectorizer};
use proptest::prelude::*;

/// Without lower-casing and accents: those are compared with Python's.
fn ngrams(text: &str, options: &Options) -> Vec<String> {
    let (least, greatest) = options.ngrams;
    let windows = |items: &[String], joint: &str, greatest: usize| -> Vec<String> {
        (least..=greatest)
            .flat_map(|size| items.windows(size).map(|items| items.join(joint)).collect::<Vec<_>>())
            .collect()
    };
    let characters = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
    match options.analyzer {
        Analyzer::Word => {
            let words = text.split(|character: char| !character.is_alphanumeric() && character != '_');
            let words = words.filter(|word| word.chars().count() > 1).map(str::to_owned);
            let words: Vec<_> = words.filter(|word| !options.stop_words.contains(word)).collect();
            windows(&words, " ", greatest)
        }
        Analyzer::Char => {
            let mut joined = String::new();
            for run in text.split_inclusive(|character: char| !character.is_whitespace()) {
                let closing = run.chars().next_back().filter(|character| !character.is_whitespace());
                let spaces = run.strip_suffix(|character: char| !character.is_whitespace()).unwrap_or(run);
                joined.push_str(if spaces.chars().count() > 1 { " " } else { spaces });
                joined.extend(closing);
            }
            windows(&characters(&joined), "", greatest)
        }
        Analyzer::CharWithinWords => text
            .split_whitespace()
            .flat_map(|word| {
                let padded = characters(&format!(" {word} "));
                let mut found = windows(&padded, "", greatest.min(padded.len() - 1));
                found.extend((greatest >= padded.len()).then(|| padded.concat()));
                found
            })
            .collect(),
    }
}

fn reference(text: &str, options: &Options) -> Vec<(i32, f64)> {
    let mut sums = BTreeMap::new();
    for ngram in ngrams(text, options) {
        let hash = murmur3(ngram.as_bytes(), 0);
        let column = i32::try_from(i64::from(hash).abs() % i64::from(options.columns)).unwrap();
        *sums.entry(column).or_insert(0.0) += if options.signed && hash < 0 { -1.0 } else { 1.0 };
    }
    let mut row: Vec<(i32, f64)> = sums.into_iter().collect();
    if options.binary {
        for (_, value) in &mut row {
            *value = 1.0;
        }
    }
    let norm = match options.norm {
        None => 1.0,
        Some(Norm::L1) => row.iter().map(|(_, value)| value.abs()).sum(),
        Some(Norm::L2) => row.iter().map(|(_, value)| value * value).sum::<f64>().sqrt(),
    };
    for (_, value) in &mut row {
        *value /= if norm == 0.0 { 1.0 } else { norm };
    }
    row
}

prop_compose! {
    fn options()(
        columns in prop_oneof![1..20_i32, Just(1 << 20), Just(i32::MAX), 1..i32::MAX],
        analyzer in prop_oneof![Just(Analyzer::Word), Just(Analyzer::Char), Just(Analyzer::CharWithinWords)],
        least in 1..4_usize,
        more in 0..3_usize,
        stop_words in prop::sample::select(vec![vec![], vec!["ab".to_owned(), "日本".to_owned()]]),
        signed: bool,
        binary: bool,
        norm in prop_oneof![Just(None), Just(Some(Norm::L1)), Just(Some(Norm::L2))],
    ) -> Options {
        let ngrams = (least, least + more);
        Options { columns, analyzer, lowercase: false, ngrams, stop_words, signed, binary, norm, ..Options::default() }
    }
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    let text = prop_oneof!["[abz_0 .]{0,80}", "[ab é日本 ,\u{2003}\n]{0,60}", "(ab|cd|e|日本| |\\.){0,300}"];
    prop::collection::vec(text, 0..12)
}

proptest! {
    #[test]
    fn a_row_is_the_sum_of_its_ngrams(options in options(), texts in texts()) {
        let vectorizer = Vectorizer::new(options.clone()).unwrap();
        let (mut scratch, mut row) = (Scratch::default(), Vec::new());
        for text in &texts {
            vectorizer.row(text, &mut scratch, &mut row);
            prop_assert_eq!(&row, &reference(text, &options));
        }
    }

}

proptest! {
    // Enough text for threads to be worth it takes its time.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_matrix_is_its_rows(options in options(), texts in texts(), repeat in 1..400_usize, threads in 1..4_usize) {
        let vectorizer = Vectorizer::new(options).unwrap();
        let texts: Vec<String> = texts.iter().cycle().take(texts.len() * repeat).cloned().collect();
        let documents: Vec<Document<'_>> = texts.iter().map(|text| Document::Bytes(text.as_bytes())).collect();
        let chunk = Chunk { documents: &documents, first_row: 0, decoding: Decoding::Strict };
        let matrix: Csr<f64> = vectorizer.matrix(&chunk, NonZeroUsize::new(threads).unwrap()).unwrap();
        let mut expected = Csr::<f64>::new(vectorizer.columns());
        let mut scratch = Scratch::default();
        for text in &texts {
            vectorizer.push(text, &mut scratch, &mut expected).unwrap();
        }
        prop_assert_eq!(matrix, expected);
    }
}

#[test]
fn options_that_cannot_be() {
    for options in [
        Options { columns: 0, ..Options::default() },
        Options { columns: -1, ..Options::default() },
        Options { ngrams: (0, 1), ..Options::default() },
        Options { ngrams: (2, 1), ..Options::default() },
    ] {
        assert!(matches!(Vectorizer::new(options), Err(headrace_core::Error::TextOption { .. })));
    }
}
