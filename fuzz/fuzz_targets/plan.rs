//! Whatever bytes come as a plan, as a row of a plan or as a damaged plan: an error or numbers, never a panic.
#![no_main]

use std::sync::LazyLock;

use headrace_core::plan::{Plan, fingerprint};
use libfuzzer_sys::fuzz_target;

const TARGET: &str = r#"{"name":"y","type":"boolean","task":"binary","classes":[false,true]}"#;
const INPUTS: [(&str, &str); 10] = [
    ("i", "int64"),
    ("f", "float64"),
    ("g", "float16"),
    ("m", "decimal[12,3]"),
    ("b", "boolean"),
    ("s", "string"),
    ("d", "date"),
    ("t", "datetime[us]"),
    ("z", "datetime[ms, Europe/Berlin]"),
    ("l", "duration[ns]"),
];
const STEPS: [&str; 12] = [
    r#"{"op":"number","input":"i","output":"i"}"#,
    r#"{"op":"number","input":"f","output":"f","impute":1,"indicator":"no f","clip":[-5,null],"log":true,"scaling":{"center":1,"scale":2}}"#,
    r#"{"op":"boolean","input":"b","output":"b"}"#,
    r#"{"op":"bins","input":"m","output":"m","edges":[0,1.5]}"#,
    r#"{"op":"category","inputs":["s"],"output":"s","vocabulary":["a","a long text that is not inline"],"missing":2,"unseen":3}"#,
    r#"{"op":"frequency","inputs":["i","g","d"],"output":"cross","counts":[["1\u001f0.5\u001f1970-01-01",1]],"rows":2}"#,
    r#"{"op":"bucket","inputs":["t"],"output":"t","prefix":"t=","buckets":9}"#,
    r#"{"op":"hash","inputs":["z"],"output":"h","prefix":"","size":3,"signed":true}"#,
    r#"{"op":"text","input":"s","output":"w","size":5,"analyzer":"char_wb","ngrams":[1,3],"lowercase":true,"strip_accents":"unicode","stop_words":[],"signed":true,"norm":"l2","binary":false}"#,
    r#"{"op":"time_part","input":"z","output":"hour","part":"hour","time_zone":"Asia/Kathmandu"}"#,
    r#"{"op":"seconds","input":"l","output":"l"}"#,
    r#"{"op":"difference","inputs":["t","d"],"output":"since"}"#,
];

static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let inputs: Vec<String> = INPUTS
        .iter()
        .map(|(name, kind)| format!(r#"{{"name":"{name}","type":"{kind}","nullable":true}}"#))
        .collect();
    seal(&format!(
        r#"{{"format":2,"inputs":[{}],"transforms":[],"steps":[{}],"target":{TARGET},"unread":["y"],"fingerprint":"?"}}"#,
        inputs.join(","),
        STEPS.join(",")
    ))
});
static PLAN: LazyLock<Plan> = LazyLock::new(|| Plan::parse(&DOCUMENT).expect("the document is valid"));

/// With the fingerprint that it should have, so that what lies behind that check is reached too.
fn seal(document: &str) -> String {
    fingerprint(document).map_or_else(|_| document.to_owned(), |digits| document.replace('?', &digits))
}

fn row(plan: &Plan, json: &[u8]) {
    let mut out = Vec::new();
    let _ = plan.check_keys(json);
    if plan.row(json, &mut plan.scratch(), &mut out).is_ok() {
        assert_eq!(out.len(), plan.outputs().len());
        assert!(out.iter().all(|value| !value.is_nan() || value.to_bits() == 0x7fc0_0000));
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind % 4 {
        0 => row(&PLAN, rest),
        // A step of one's own.
        1 => {
            if let Ok(step) = std::str::from_utf8(rest) {
                let document = DOCUMENT.replace(STEPS[0], step).replace(PLAN.fingerprint(), "?");
                if let Ok(plan) = Plan::parse(&seal(&document)) {
                    row(&plan, br#"{"i":1,"f":null,"g":0.5,"m":"1.50","b":true,"s":"a","d":"1970-01-01","t":"2013-01-31T05:00:00","z":"2013-01-31T05:00:00Z","l":1.5}"#);
                }
            }
        }
        // The document with bytes replaced.
        2 => {
            let mut bytes = DOCUMENT.clone().into_bytes();
            for change in rest.chunks_exact(3) {
                let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % bytes.len();
                bytes[at] = change[2];
            }
            if let Ok(text) = String::from_utf8(bytes)
                && let Ok(plan) = Plan::parse(&text)
            {
                assert_eq!(plan.fingerprint(), PLAN.fingerprint());
            }
        }
        _ => {
            if let Ok(text) = std::str::from_utf8(rest) {
                let _ = Plan::parse(text);
                let _ = Plan::parse(&seal(text));
            }
        }
    }
});
