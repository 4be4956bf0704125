//! Whatever bytes come as a profile or a window, with a checksum that fits: an error, or what is written as it was read and
//! can be counted on. Never a panic.
#![no_main]

use std::num::NonZeroUsize;
use std::sync::{Arc, LazyLock};

use arrow_array::{ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray};
use headrace_core::profile::{FORMAT_VERSION, Options, Profile, Threads, Window};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest as _, Sha256};

static REFERENCE: LazyLock<Profile> = LazyLock::new(|| {
    let options =
        Options { segments: Some("s".to_owned()), pairs: vec![("x".to_owned(), "s".to_owned())], ..Options::default() };
    let open = || std::iter::once(Ok(frame()));
    Profile::fit(&frame().schema(), open, options, &mut Threads::new(NonZeroUsize::MIN)).unwrap()
});

fn frame() -> RecordBatch {
    let columns: [(&str, ArrayRef); 3] = [
        ("x", Arc::new(Float64Array::from(vec![Some(1.0), None, Some(f64::NAN), Some(-2.5), Some(1.0)]))),
        ("s", Arc::new(StringArray::from(vec![Some("a"), Some("b"), None, Some("a"), Some("c")]))),
        ("b", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true), None]))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn sealed(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = [b"headrace".as_slice(), &[kind], &FORMAT_VERSION.to_le_bytes(), content].concat();
    let check = Sha256::digest(&bytes);
    bytes.extend_from_slice(&check[..16]);
    bytes
}

fuzz_target!(|content: &[u8]| {
    let _ = Profile::from_bytes(content);
    let bytes = sealed(b'P', content);
    if let Ok(profile) = Profile::from_bytes(&bytes) {
        assert_eq!(profile.to_bytes(), bytes);
        let own = profile.as_window();
        let _ = profile.binned(&own).unwrap();
        let _ = profile.embedded(&own).unwrap();
        let _ = profile.binned_segments(&own).unwrap();
        let _ = profile.columns();
        let mut window = profile.window();
        if let Ok(reader) = window.reader(&frame().schema(), true) {
            window.update(&frame(), &reader, &mut Threads::new(NonZeroUsize::MIN)).unwrap();
            if let Ok(sum) = own.plus(&window) {
                assert_eq!(sum.minus(&window).unwrap(), own);
            }
        }
        assert_eq!(Window::from_bytes(&own.to_bytes(), &profile).unwrap(), own);
    }
    let bytes = sealed(b'W', &[REFERENCE.fingerprint().as_slice(), content].concat());
    if let Ok(window) = Window::from_bytes(&bytes, &REFERENCE) {
        assert_eq!(window.to_bytes(), bytes);
        let _ = REFERENCE.binned(&window).unwrap();
        let _ = window.minus(&REFERENCE.as_window());
    }
});
