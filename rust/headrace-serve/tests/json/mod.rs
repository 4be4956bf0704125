//! What clients send, against `serde_json`'s values.

use headrace_serve::json::{BareNan, repaired, tensor, write_values};
use headrace_serve::tensor::{Data, Kind, Tensor};
use proptest::prelude::*;
use serde_json::Value;

/// Any JSON, with texts that look like what is repaired.
fn json() -> impl Strategy<Value = Value> {
    let text = prop_oneof!["NaN", "-Infinity", "\\\\\"NaN", "[a-zN\"\\\\]{0,8}"].prop_map(Value::from);
    let leaf =
        prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), any::<i64>().prop_map(Value::from), text];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map("[a-z\"N]{0,4}|NaN", inner, 0..4)
                .prop_map(|items| Value::Object(items.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn valid_json_is_not_changed(value in json()) {
        let text = value.to_string();
        prop_assert_eq!(repaired(&text, BareNan::Text), text.as_str());
        prop_assert_eq!(repaired(&text, BareNan::Missing), text.as_str());
    }

    #[test]
    fn any_text_is_repaired_without_a_panic(text in "[\\[\\]{}:,NaIinfty\"\\\\é -]{0,40}") {
        for nan in [BareNan::Text, BareNan::Missing] {
            let fixed = repaired(&text, nan);
            prop_assert!(fixed.len() >= text.len());
            let _ = tensor(&fixed, Kind::F64);
        }
    }

    #[test]
    fn nested_numbers_keep_their_shape(rows in 1..5_usize, width in 1..5_usize, values in prop::collection::vec(any::<f32>(), 16)) {
        let row = |row: usize| {
            let shown = values.iter().cycle().skip(row * width).take(width).map(|value| match value {
                value if value.is_nan() => "NaN".to_owned(),
                value if value.is_infinite() => if *value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
                value => value.to_string(),
            });
            format!("[{}]", shown.collect::<Vec<_>>().join(", "))
        };
        let text = format!("[{}]", (0..rows).map(row).collect::<Vec<_>>().join(","));
        let found = tensor(&repaired(&text, BareNan::Text), Kind::F32).unwrap();
        prop_assert_eq!(found.shape, vec![rows, width]);
        let Data::F32(found) = found.data else { panic!("not numbers") };
        for (found, expected) in found.iter().zip(values.iter().cycle()) {
            prop_assert!(found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan()));
        }
    }

    #[test]
    fn what_is_written_is_json(values in prop::collection::vec(any::<f64>(), 0..20)) {
        let mut out = b"[".to_vec();
        write_values(&mut out, &Data::F64(values.clone()), 0, values.len());
        out.push(b']');
        let read: Vec<Option<f64>> = serde_json::from_slice(&out).unwrap();
        let expected: Vec<Option<f64>> = values.into_iter().map(|value| value.is_finite().then_some(value)).collect();
        prop_assert_eq!(read, expected);
    }
}

#[test]
fn values_of_the_wrong_kind_are_named() {
    for (text, kind, wanted) in [
        ("[1, \"a\"]", Kind::F32, "holds the text 'a', expected FP32"),
        ("[1e39]", Kind::F32, "holds 1e39, expected FP32"),
        ("[1.5]", Kind::I64, "holds 1.5, expected INT64"),
        ("[9223372036854775808]", Kind::I64, "holds 9223372036854775808, expected INT64"),
        ("[2147483648]", Kind::I32, "holds 2147483648, expected INT32"),
        ("[null]", Kind::I64, "holds null, expected INT64"),
        ("[1]", Kind::Bool, "holds 1, expected BOOL"),
        ("[true]", Kind::F64, "holds true, expected FP64"),
        ("[{}]", Kind::F64, "holds an object, expected FP64"),
        ("[1]", Kind::Text, "holds 1, expected BYTES"),
        ("[[1, 2], [3]]", Kind::F64, "the array is ragged: 1 values beside 2"),
        ("[1, [2]]", Kind::F64, "the array is ragged: values stand at different depths"),
        ("[[1], 2]", Kind::F64, "the array is ragged: values stand at different depths"),
        ("[[], 2]", Kind::F64, "the array is ragged: values stand at different depths"),
    ] {
        assert_eq!(tensor(text, kind).unwrap_err(), wanted, "{text}");
    }
    assert!(tensor("[1e400]", Kind::F64).unwrap_err().contains("out of range"));
    assert!(tensor(&"[".repeat(100_000), Kind::F64).unwrap_err().contains("recursion"));
    assert_eq!(tensor("[2.0, 3]", Kind::I64).unwrap(), Tensor { shape: vec![2], data: Data::I64(vec![2, 3]) });
    let Data::F32(found) = tensor("[null]", Kind::F32).unwrap().data else { panic!("not numbers") };
    assert!(found[0].is_nan());
}

#[test]
fn a_bare_nan_is_missing_where_it_is_asked_for() {
    let text = r#"[NaN, "NaN", "\"NaN", {"NaN": NaN}, -Infinity]"#;
    let missing = r#"[null, "NaN", "\"NaN", {"NaN": null}, "-Infinity"]"#;
    assert_eq!(repaired(text, BareNan::Missing), missing);
    assert_eq!(repaired(text, BareNan::Text), r#"["NaN", "NaN", "\"NaN", {"NaN": "NaN"}, "-Infinity"]"#);
}
