//! Refusals leave at once until they are too many, and then not faster than they may.

use std::time::{Duration, Instant};

use headrace_serve::gate::Gate;

const LONG: Duration = Duration::from_mins(1);
const TOGETHER: Duration = Duration::from_millis(16);

#[test]
fn a_few_leave_at_once_and_many_do_not() {
    let (gate, now) = (Gate::default(), Instant::now());
    let waits: Vec<Duration> = (0..300).map(|_| gate.wait(now, LONG)).collect();
    assert!(waits[..64].iter().all(Duration::is_zero), "{waits:?}");
    assert!(waits.is_sorted());
    // Five hundred in a second, beside those that left at once.
    let last = Duration::from_millis(2 * (300 - 64));
    assert!(waits[299] <= last && waits[299] + TOGETHER > last, "{waits:?}");
}

#[test]
fn those_that_waited_leave_together() {
    let (gate, now) = (Gate::default(), Instant::now());
    let mut moments: Vec<Duration> = (0..300).map(|_| gate.wait(now, LONG)).filter(|wait| !wait.is_zero()).collect();
    let waited = moments.len();
    moments.dedup();
    // Up to eight leave before the first moment that all share.
    assert!(moments.len() <= waited / 8 + 9, "{moments:?}");
    assert!(moments[8..].windows(2).all(|pair| pair[1] >= pair[0] + TOGETHER), "{moments:?}");
}

#[test]
fn even_those_that_would_have_to_wait_too_long() {
    let (gate, mut now) = (Gate::default(), Instant::now());
    let limit = Duration::from_millis(150);
    let mut moments = Vec::new();
    for _ in 0..3000 {
        let wait = gate.wait(now, limit);
        assert!(wait <= limit);
        moments.push(now + wait);
        now += Duration::from_micros(100);
    }
    moments.drain(..200);
    moments.dedup();
    assert!(moments.len() <= 300 / 16 + 2, "{}", moments.len());
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
