//! Refusals leave at once until they are too many, and then not faster than they may.

use std::time::{Duration, Instant};

use headrace_serve::gate::Gate;

const LONG: Duration = Duration::from_mins(1);

#[test]
fn a_few_leave_at_once_and_many_do_not() {
    let (gate, now) = (Gate::default(), Instant::now());
    let waits: Vec<Duration> = (0..300).map(|_| gate.wait(now, LONG)).collect();
    assert!(waits[..64].iter().all(Duration::is_zero), "{waits:?}");
    assert!(waits.is_sorted());
    // Five hundred in a second, beside those that left at once.
    assert_eq!(waits[299], Duration::from_millis(2 * (300 - 64)));
}

#[test]
fn nobody_waits_longer_than_they_may() {
    let (gate, now) = (Gate::default(), Instant::now());
    for _ in 0..10_000 {
        assert!(gate.wait(now, LONG) <= Duration::from_millis(500));
        assert!(gate.wait(now, Duration::from_millis(20)) <= Duration::from_millis(20));
    }
}

#[test]
fn who_comes_back_when_told_to_does_not_wait() {
    let (gate, mut now) = (Gate::default(), Instant::now());
    for _ in 0..10_000 {
        assert_eq!(gate.wait(now, LONG), Duration::ZERO);
        now += Duration::from_millis(2);
    }
    let (gate, mut now) = (Gate::default(), Instant::now());
    for _ in 0..50 {
        for _ in 0..64 {
            assert_eq!(gate.wait(now, LONG), Duration::ZERO);
        }
        now += Duration::from_millis(128);
    }
}

#[test]
fn one_that_may_not_wait_opens_nothing_for_the_others() {
    let (gate, now) = (Gate::default(), Instant::now());
    for _ in 0..300 {
        let _ = gate.wait(now, LONG);
    }
    let before = gate.wait(now, LONG);
    assert_eq!(gate.wait(now, Duration::from_millis(1)), Duration::from_millis(1));
    assert!(gate.wait(now, LONG) >= before);
}
