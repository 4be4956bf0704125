//! A worker stays awake for clients that come back at once, for a moment, and for nobody else.

use std::time::{Duration, Instant};

use headrace_serve::vigil::{AWAKE, Client, MOST, PROVEN, QUICK, VAIN, Watch};

const SOON: Duration = Duration::from_micros(50);
const LATER: Duration = Duration::from_secs(1);
const TURN: Duration = Duration::from_micros(1);

/// A client that is answered and comes back after so long, and the time that was stayed awake for it.
struct Clock {
    now: Instant,
    client: Client,
}

impl Clock {
    fn new() -> Self {
        Self { now: Instant::now(), client: Client::default() }
    }

    fn back_after(&mut self, gap: Duration) -> Duration {
        self.client.answered(self.now);
        let mut awake = Duration::ZERO;
        while awake < gap && self.client.is_expected(self.now + awake) {
            awake += TURN;
        }
        self.now += gap;
        self.client.came(self.now);
        awake
    }

    /// How often it must come back soon before it is stayed awake for.
    fn until_trusted(&mut self) -> u32 {
        (0..=MOST).find(|_| !self.back_after(SOON).is_zero()).expect("never trusted")
    }
}

#[test]
fn who_comes_back_soon_is_waited_for_until_it_comes() {
    let mut clock = Clock::new();
    assert_eq!(clock.until_trusted(), PROVEN);
    for _ in 0..1000 {
        assert_eq!(clock.back_after(SOON), SOON);
    }
}

#[test]
fn who_thinks_is_never_waited_for() {
    let mut clock = Clock::new();
    for _ in 0..1000 {
        assert_eq!(clock.back_after(QUICK + TURN), Duration::ZERO);
    }
}

#[test]
fn nobody_is_waited_for_beyond_a_moment() {
    let mut clock = Clock::new();
    clock.until_trusted();
    assert_eq!(clock.back_after(LATER), AWAKE);
}

#[test]
fn who_leaves_is_waited_for_once() {
    let mut clock = Clock::new();
    clock.until_trusted();
    clock.client.answered(clock.now);
    assert!(!clock.client.is_expected(clock.now + AWAKE));
    // However often it is looked at afterwards.
    for _ in 0..1000 {
        assert!(!clock.client.is_expected(clock.now + AWAKE));
        assert!(!clock.client.is_expected(clock.now));
    }
}

#[test]
fn who_was_waited_for_in_vain_has_to_prove_itself_for_longer_each_time() {
    // Quick enough to be trusted, and never quick enough to be worth it.
    let gap = AWAKE + SOON;
    let mut clock = Clock::new();
    let mut wanted = PROVEN;
    for _ in 0..12 {
        for _ in 0..wanted {
            assert_eq!(clock.back_after(gap), Duration::ZERO);
        }
        for _ in 0..VAIN {
            assert_eq!(clock.back_after(gap), AWAKE);
        }
        wanted = (2 * wanted).min(MOST);
    }
    // Until it was worth it.
    assert_eq!(clock.until_trusted(), MOST);
    for _ in 0..VAIN {
        assert_eq!(clock.back_after(LATER), AWAKE);
    }
    assert_eq!(clock.until_trusted(), 2 * PROVEN);
}

#[test]
fn one_slow_request_among_many_is_forgiven() {
    let mut clock = Clock::new();
    clock.until_trusted();
    for _ in 0..100 {
        clock.back_after(AWAKE + TURN);
        assert_eq!(clock.back_after(SOON), SOON);
    }
}

#[test]
fn a_client_that_does_not_read_is_not_waited_for() {
    let mut clock = Clock::new();
    clock.until_trusted();
    clock.client.answered(clock.now);
    clock.client.does_not_read();
    assert!(!clock.client.is_expected(clock.now));
}

#[test]
fn half_of_the_processors_stay_for_the_clients() {
    for (processors, most) in [(1, 0), (2, 1), (3, 1), (8, 4)] {
        let watch = Watch::new(processors);
        let mut awake: Vec<_> = (0..processors).map_while(|_| watch.stay()).collect();
        assert_eq!(awake.len(), most);
        if awake.pop().is_some() {
            assert!(watch.stay().is_some());
        }
    }
}
