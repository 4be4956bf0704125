//! What is learned from times that are known.

use std::time::Duration;

use headrace_serve::pace::Pace;
use proptest::prelude::*;

fn micros(time: f64) -> Duration {
    Duration::from_secs_f64(time * 1e-6)
}

/// As measured where a run takes `fixed` and `row` for each row, in microseconds.
fn linear(fixed: f64, row: f64, most: u32) -> Pace {
    let pace = Pace::default();
    for size in 0..=most {
        let rows = 1_usize << size;
        pace.learn(rows, micros(fixed + row * 2_f64.powi(i32::try_from(size).unwrap())));
    }
    pace
}

#[test]
fn a_batch_is_as_large_as_it_pays() {
    // To read the weights takes all of the time: more is always better.
    assert_eq!(linear(100.0, 0.01, 10).best(1024), 1024);
    // A call takes ten rows' time: at 128 rows, what is left of it is less than a tenth.
    assert_eq!(linear(100.0, 10.0, 10).best(1024), 128);
    // Rows take what they take, but a turn of the event loop is saved.
    assert_eq!(linear(0.0, 3.0, 10).best(1024), 8);
    assert_eq!(linear(0.0, 1000.0, 10).best(1024), 1);
}

#[test]
fn a_batch_that_takes_longer_for_each_row_is_not_made() {
    let pace = linear(100.0, 1.0, 6);
    for size in 7..=10 {
        pace.learn(1 << size, micros(50.0 * f64::from(1 << size)));
    }
    assert!(pace.best(1024) <= 64, "{}", pace.best(1024));
}

#[test]
fn what_is_not_known_is_tried() {
    assert_eq!(Pace::default().best(100), 100);
    let pace = Pace::default();
    pace.learn(1, micros(50.0));
    assert_eq!(pace.best(100), 100);
    assert_eq!(linear(100.0, 1.0, 4).best(1000), 1000);
    assert_eq!(linear(100.0, 1.0, 10).best(3), 3);
}

#[test]
fn times_are_those_of_the_nearest_size() {
    let pace = Pace::default();
    assert_eq!(pace.time_of(5), Duration::ZERO);
    pace.learn(4, micros(40.0));
    assert_eq!(pace.time_of(5), micros(50.0));
    assert_eq!(pace.time_of(400), micros(4000.0));
    // One row takes at most as long as four.
    assert_eq!(pace.time_of(1), micros(40.0));
    pace.learn(64, micros(64.0));
    assert_eq!(pace.time_of(100), micros(100.0));
    assert_eq!(pace.time_in_batches(130, 64), micros(2.0 * 64.0 + 40.0));
}

#[test]
fn what_changes_is_followed() {
    let pace = Pace::default();
    for _ in 0..100 {
        pace.learn(1, micros(10.0));
    }
    for _ in 0..100 {
        pace.learn(1, micros(30.0));
    }
    assert!((pace.time_of(1).as_secs_f64() - 30e-6).abs() < 1e-6, "{:?}", pace.time_of(1));
}

proptest! {
    #[test]
    fn nothing_is_ever_zero_rows_or_too_many(
        samples in prop::collection::vec((1..100_000_usize, 0..u64::MAX), 0..50),
        most in 1..100_000_usize,
        rows in 0..usize::MAX,
    ) {
        let pace = Pace::default();
        for (rows, took) in samples {
            pace.learn(rows, Duration::from_nanos(took));
        }
        let best = pace.best(most);
        prop_assert!((1..=most).contains(&best));
        let _ = pace.time_in_batches(rows, best);
    }
}
