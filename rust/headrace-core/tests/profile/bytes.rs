//! Bytes that are damaged, foreign or newer.

use headrace_core::Error;
use headrace_core::profile::{FORMAT_VERSION, Problem, Profile, Window};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::{batch, counted, fit, options, rows};

/// With a checksum that fits, so that what lies behind it is reached.
fn sealed(mut content: Vec<u8>) -> Vec<u8> {
    let check = Sha256::digest(&content);
    content.extend_from_slice(&check[..16]);
    content
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn damage_is_an_error_or_another_profile(reference in rows(60), at: usize, with: u8, cut: usize) {
        let profile = fit(&batch(&reference, 0), &[], &options(false), 1);
        let bytes = profile.to_bytes();
        let mut damaged = bytes.clone();
        let at = at % damaged.len();
        damaged[at] ^= with.max(1);
        prop_assert!(Profile::from_bytes(&damaged).is_err());
        prop_assert!(Profile::from_bytes(&bytes[..cut % bytes.len()]).is_err());
        damaged.truncate(bytes.len() - 16);
        if let Ok(read) = Profile::from_bytes(&sealed(damaged.clone())) {
            // What is read is written as it was: there is one way to write anything.
            prop_assert_eq!(read.to_bytes(), sealed(damaged));
        }
        let window = counted(&profile, &batch(&reference, 0), &[], 1).to_bytes();
        let mut damaged = window.clone();
        let at = at % damaged.len();
        damaged[at] ^= with.max(1);
        prop_assert!(Window::from_bytes(&damaged, &profile).is_err());
    }
}

#[test]
fn each_wrong_thing_is_named() {
    let profile = fit(&batch(&[], 0), &[], &options(false), 1);
    let bytes = profile.to_bytes();
    let reason = |error: Error| error.to_string();
    assert!(reason(Profile::from_bytes(b"").unwrap_err()).contains("too short"));
    assert!(reason(Profile::from_bytes(&[7; 100]).unwrap_err()).contains("does not begin as one"));
    assert!(reason(Profile::from_bytes(&profile.window().to_bytes()).unwrap_err()).contains("it is a window"));
    let mut newer = bytes[..bytes.len() - 16].to_vec();
    newer[9] = u8::try_from(FORMAT_VERSION).unwrap() + 1;
    let error = Profile::from_bytes(&sealed(newer)).unwrap_err();
    assert!(matches!(error, Error::Profile(Problem::Newer { found: 3, known: 2, .. })));
    let mut older = bytes[..bytes.len() - 16].to_vec();
    older[9] = 1;
    assert!(reason(Profile::from_bytes(&sealed(older)).unwrap_err()).contains("of the format 1"));
    let mut longer = bytes[..bytes.len() - 16].to_vec();
    longer.push(0);
    assert!(reason(Profile::from_bytes(&sealed(longer)).unwrap_err()).contains("goes on"));
}
