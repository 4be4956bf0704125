//! Cutting, threads, adding and subtracting show nowhere.

use headrace_core::Error;
use headrace_core::profile::{Problem, Profile, Window};
use proptest::prelude::*;

use super::{Row, batch, counted, fit, options, rows};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn profiles_do_not_know_how_rows_were_cut(
        reference in rows(400), cuts: [usize; 3], layout in 0..3_usize, weighted: bool,
    ) {
        let options = options(weighted);
        let frame = batch(&reference, layout);
        let whole = fit(&frame, &[], &options, 1);
        let pieces = fit(&frame, &cuts, &options, 2);
        prop_assert_eq!(whole.to_bytes(), pieces.to_bytes());
        let another = fit(&batch(&reference, layout + 1), &cuts, &options, 1);
        prop_assert_eq!(whole.to_bytes(), another.to_bytes());
        prop_assert_eq!(Profile::from_bytes(&whole.to_bytes()).unwrap(), whole);
    }

    #[test]
    fn windows_merge_and_subtract(
        reference in rows(200), live in rows(300), cuts: [usize; 2], layout in 0..3_usize, weighted: bool,
    ) {
        let profile = fit(&batch(&reference, 0), &[], &options(weighted), 1);
        let cut = cuts[0] % (live.len() + 1);
        let whole = counted(&profile, &batch(&live, layout), &cuts, 2);
        let first = counted(&profile, &batch(&live[..cut], layout + 1), &[], 1);
        let second = counted(&profile, &batch(&live[cut..], layout + 2), &cuts, 1);
        let merged = first.plus(&second).unwrap();
        prop_assert_eq!(merged.to_bytes(), whole.to_bytes());
        prop_assert_eq!(second.plus(&first).unwrap().to_bytes(), whole.to_bytes());
        prop_assert_eq!(merged.minus(&second).unwrap().to_bytes(), first.to_bytes());
        prop_assert_eq!(merged.minus(&first).unwrap(), second.clone());
        prop_assert_eq!(merged.minus(&merged).unwrap().to_bytes(), profile.window().to_bytes());
        prop_assert_eq!(Window::from_bytes(&whole.to_bytes(), &profile).unwrap(), whole);
        // The reference counted as a window is the reference, but for what it alone can know: its rare texts are seen.
        if !weighted {
            let again = counted(&profile, &batch(&reference, 1), &cuts, 1);
            prop_assert_eq!(again, profile.as_window());
        }
    }

    #[test]
    fn what_was_never_added_is_not_subtracted(live in rows(100), other in rows(100)) {
        let profile = fit(&batch(&live, 0), &[], &options(false), 1);
        let (a, b) = (counted(&profile, &batch(&live, 0), &[], 1), counted(&profile, &batch(&other, 0), &[], 1));
        match a.minus(&b) {
            Ok(difference) => prop_assert_eq!(difference.plus(&b).unwrap(), a),
            Err(Error::Profile(Problem::NeverAdded { .. })) => {}
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}

#[test]
fn subtracting_what_was_never_added_names_the_column() {
    let row = |number| Row { number: Some(number), integer: Some(1), flag: Some(true), text: None, weight: 1.0 };
    let profile = fit(&batch(&[row(1.0), row(2.0)], 0), &[], &options(false), 1);
    let (a, b) = (counted(&profile, &batch(&[row(1.0)], 0), &[], 1), counted(&profile, &batch(&[row(2.0)], 0), &[], 1));
    let error = a.minus(&b).unwrap_err();
    assert!(matches!(error, Error::Profile(Problem::NeverAdded { column: Some(_) })));
    assert_eq!(error.place().as_deref(), Some("column 'number'"));
    let other = fit(&batch(&[row(3.0)], 0), &[], &options(false), 1);
    assert!(matches!(other.window().plus(&a), Err(Error::Profile(Problem::OtherReference))));
    assert!(matches!(other.binned(&a), Err(Error::Profile(Problem::OtherReference))));
}
