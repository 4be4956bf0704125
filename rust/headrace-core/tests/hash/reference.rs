//! The definition of the content hash once more, row by row over plain values, without an Arrow array in sight.

use sha2::{Digest as _, Sha256};

/// A logical type of the model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ty {
    Null,
    Bool,
    Int32,
    Float64,
    /// Microseconds in a time zone.
    Timestamp(String),
    /// Precision and scale.
    Decimal(u8, i8),
    Str,
    Bin,
    FixedBin(i32),
    List(Box<Ty>),
    FixedList(Box<Ty>, i32),
    Struct(Vec<(String, Ty)>),
    /// Strings from a dictionary, ordered or not.
    Dict(bool),
}

/// A value of the model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// Little-endian bytes of a number, or the bytes of a fixed-size binary.
    Fixed(Vec<u8>),
    Bytes(Vec<u8>),
    /// The items of a list, of a fixed-size list, or the fields of a struct.
    Nested(Vec<Value>),
    /// Position in `CATEGORIES`.
    Category(usize),
}

pub(crate) const CATEGORIES: [&str; 4] = ["low", "middle", "", "a category that is longer than a view's twelve bytes"];

pub(crate) fn frame(columns: &[(String, Ty, Vec<Value>)], rows: usize) -> String {
    let mut out = b"headrace.frame\0".to_vec();
    out.push(1);
    out.extend(u64s(columns.len()));
    out.extend(u64s(rows));
    for (name, ty, values) in columns {
        assert_eq!(values.len(), rows);
        out.extend(framed(name));
        out.extend(describe(ty));
        out.extend(node(ty, &values.iter().collect::<Vec<_>>()));
    }
    sha(&out)
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]))
        .collect()
}

fn node(ty: &Ty, rows: &[&Value]) -> [u8; 32] {
    let present: Vec<&Value> = rows.iter().copied().filter(|value| **value != Value::Null).collect();
    let mut out = b"headrace.node\0".to_vec();
    out.extend(u64s(rows.len()));
    if !matches!(ty, Ty::Null | Ty::Dict(_)) {
        out.extend(bits(rows.iter().map(|value| **value != Value::Null)));
    }
    match ty {
        Ty::Null => {}
        Ty::Bool => out.extend(bits(rows.iter().map(|value| **value == Value::Bool(true)))),
        Ty::Int32 | Ty::Float64 | Ty::Timestamp(_) | Ty::Decimal(..) | Ty::FixedBin(_) => {
            out.extend(sha(&present.iter().flat_map(|value| bytes_of(value)).collect::<Vec<_>>()));
        }
        Ty::Str | Ty::Bin => {
            let mut lane = Vec::new();
            for value in present {
                let bytes = bytes_of(value);
                lane.extend(varint(bytes.len()));
                lane.extend(bytes);
            }
            out.extend(sha(&lane));
        }
        Ty::List(item) => {
            let lengths: Vec<u8> = present.iter().flat_map(|value| varint(nested(value).len())).collect();
            out.extend(sha(&lengths));
            out.extend(node(item, &present.iter().flat_map(|value| nested(value)).collect::<Vec<_>>()));
        }
        Ty::FixedList(item, _) => {
            out.extend(node(item, &present.iter().flat_map(|value| nested(value)).collect::<Vec<_>>()));
        }
        Ty::Struct(fields) => {
            for (index, (_, field)) in fields.iter().enumerate() {
                out.extend(node(field, &present.iter().map(|value| &nested(value)[index]).collect::<Vec<_>>()));
            }
        }
        Ty::Dict(ordered) => {
            let strings: Vec<Value> = rows
                .iter()
                .map(|value| match value {
                    Value::Category(code) => Value::Bytes(CATEGORIES[*code].as_bytes().to_vec()),
                    _ => Value::Null,
                })
                .collect();
            out.extend(node(&Ty::Str, &strings.iter().collect::<Vec<_>>()));
            if *ordered {
                let codes = present.iter().flat_map(|value| match value {
                    Value::Category(code) => varint(*code),
                    other => panic!("{other:?} is not a category"),
                });
                out.extend(sha(&codes.collect::<Vec<_>>()));
            }
        }
    }
    sha(&out)
}

fn describe(ty: &Ty) -> Vec<u8> {
    match ty {
        Ty::Null => vec![0],
        Ty::Bool => vec![1],
        Ty::Int32 => vec![4],
        Ty::Float64 => vec![12],
        Ty::Timestamp(zone) => [vec![25, 2, 1], framed(zone)].concat(),
        Ty::Decimal(precision, scale) => vec![32, *precision, scale.to_le_bytes()[0]],
        Ty::Str => vec![40],
        Ty::Bin => vec![41],
        Ty::FixedBin(width) => [vec![42], width.to_le_bytes().to_vec()].concat(),
        Ty::List(item) => [vec![50], describe(item)].concat(),
        Ty::FixedList(item, length) => [vec![51], length.to_le_bytes().to_vec(), describe(item)].concat(),
        Ty::Struct(fields) => {
            let fields_out = fields.iter().flat_map(|(name, ty)| [framed(name), describe(ty)].concat());
            [vec![52], u64s(fields.len()), fields_out.collect()].concat()
        }
        Ty::Dict(ordered) => vec![60, u8::from(*ordered), 40],
    }
}

fn bytes_of(value: &Value) -> Vec<u8> {
    match value {
        Value::Fixed(bytes) | Value::Bytes(bytes) => bytes.clone(),
        other => panic!("{other:?} has no bytes"),
    }
}

fn nested(value: &Value) -> &[Value] {
    match value {
        Value::Nested(items) => items,
        other => panic!("{other:?} has no items"),
    }
}

fn bits(values: impl Iterator<Item = bool>) -> [u8; 32] {
    let mut bytes = Vec::new();
    for (index, value) in values.enumerate() {
        if index % 8 == 0 {
            bytes.push(0);
        }
        *bytes.last_mut().unwrap() |= u8::from(value) << (index % 8);
    }
    sha(&bytes)
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let low = u8::try_from(value % 128).unwrap();
        value /= 128;
        if value == 0 {
            out.push(low);
            return out;
        }
        out.push(low + 128);
    }
}

fn framed(text: &str) -> Vec<u8> {
    [u64s(text.len()), text.as_bytes().to_vec()].concat()
}

fn u64s(value: usize) -> Vec<u8> {
    u64::try_from(value).unwrap().to_le_bytes().to_vec()
}

fn sha(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
