//! Weights, turns and keys.

use headrace_serve::split::Split;
use proptest::prelude::*;

fn counts(versions: usize, draws: impl Iterator<Item = usize>) -> Vec<f64> {
    let mut counts = vec![0.0; versions];
    draws.for_each(|index| counts[index] += 1.0);
    counts
}

#[test]
fn without_weights_nobody_can_be_chosen() {
    assert!(Split::new(&[]).is_none());
    assert!(Split::new(&[0, 0]).is_none());
    assert_eq!(Split::new(&[0, 5, 9, 9]).unwrap().main(), 2);
    assert_eq!(Split::new(&[u32::MAX, u32::MAX]).unwrap().main(), 0);
}

proptest! {
    #[test]
    fn each_gets_what_its_weight_says(weights in prop::collection::vec(0_u32..1000, 1..6), seed in any::<u64>()) {
        let total: u32 = weights.iter().sum();
        prop_assume!(total > 0);
        let split = Split::new(&weights).unwrap();
        let draws = 20_000_u32;
        let in_turn = counts(weights.len(), (0..draws).map(|_| split.next()));
        let by_key = (0..draws).map(|number| split.of("shop", format!("{seed}-{number}").as_bytes()));
        let by_key = counts(weights.len(), by_key);
        for (index, weight) in weights.iter().enumerate() {
            let share = f64::from(*weight) / f64::from(total);
            let expected = f64::from(draws) * share;
            // A sequence of the golden ratio is off by a few, however long it is.
            prop_assert!((in_turn[index] - expected).abs() <= 8.0, "{in_turn:?} {weights:?}");
            // Six standard deviations of a fair draw.
            let most = 6.0 * (f64::from(draws) * share * (1.0 - share)).sqrt() + 1.0;
            prop_assert!((by_key[index] - expected).abs() <= most, "{by_key:?} {weights:?}");
            if *weight == 0 {
                prop_assert!(in_turn[index] == 0.0 && by_key[index] == 0.0);
            }
        }
    }

    #[test]
    fn a_key_stays_unless_its_version_loses_weight(key in any::<Vec<u8>>(), before in 0_u32..=100, more in 0_u32..=100) {
        let after = (before + more).min(100);
        let place = |canary: u32| Split::new(&[100 - canary, canary]).unwrap().of("shop", &key);
        prop_assert_eq!(place(before), place(before));
        prop_assert!(place(before) <= place(after));
    }
}

#[test]
fn endpoints_do_not_try_their_news_on_the_same_people() {
    let split = Split::new(&[9, 1]).unwrap();
    let chosen = |endpoint: &str| -> Vec<u32> {
        (0..1000_u32).filter(|number| split.of(endpoint, &number.to_le_bytes()) == 1).collect()
    };
    let (one, other) = (chosen("one"), chosen("other"));
    let both = one.iter().filter(|key| other.contains(key)).count();
    assert!(both < 40, "{both} of {} and {}", one.len(), other.len());
}
