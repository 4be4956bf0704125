//! Several models, the same workers: nobody takes what is another's part.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use headrace_serve::engine::{Engine, Port};
use headrace_serve::metrics::Metrics;
use headrace_serve::scheduler::{Limits, Scheduler};
use headrace_serve::shares::{Credit, Member, Shares};
use headrace_serve::tensor::Tensor;
use proptest::prelude::*;
use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::fake::{Fake, Runs, column};

const PATIENT: Duration = Duration::from_mins(1);

/// Who computed, and for how long.
type Account = Arc<Mutex<Vec<(&'static str, Duration)>>>;

/// Takes so long for a batch, whatever is in it.
struct Busy {
    name: &'static str,
    takes: Duration,
    account: Account,
    fake: Fake,
}

impl Engine for Busy {
    fn inputs(&self) -> &[Port] {
        self.fake.inputs()
    }

    fn outputs(&self) -> &[Port] {
        self.fake.outputs()
    }

    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
        let began = Instant::now();
        while began.elapsed() < self.takes {
            std::hint::spin_loop();
        }
        self.account.lock().unwrap().push((self.name, began.elapsed()));
        self.fake.run(inputs)
    }
}

/// Two models with as much to do as they like, each in batches that take so long: the parts that they had of the time until
/// so much was over.
fn parts(first: Duration, second: Duration, until: Duration) -> (f64, f64, Vec<&'static str>) {
    let account = Account::default();
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let shares = Shares::new(1);
        let mut waiting = Vec::new();
        for (name, takes) in [("first", first), ("second", second)] {
            let limits = Limits {
                batch_rows: 1,
                queue_rows: 100_000,
                queue_bytes: 1 << 30,
                queue_time: PATIENT,
                delay: Duration::ZERO,
            };
            let metrics = Arc::new(Metrics::new(name, "1"));
            let scheduler = Arc::new(Scheduler::new(1, limits, metrics, &shares));
            scheduler.learn(1, takes);
            let account = Arc::clone(&account);
            let engine = Busy { name, takes, account, fake: Fake::new(&Runs::default()) };
            for _ in 0..(2 * until.as_micros() / takes.as_micros()).max(10) {
                waiting.push(scheduler.submit(0, vec![column(vec![1.0])], PATIENT).unwrap());
            }
            tokio::spawn(async move { scheduler.work(0, Box::new(engine)).await });
        }
        let began = Instant::now();
        while began.elapsed() < until {
            tokio::task::yield_now().await;
        }
    });
    let account = account.lock().unwrap();
    let (mut of_first, mut of_second) = (0.0, 0.0);
    for (name, took) in account.iter() {
        *(if *name == "first" { &mut of_first } else { &mut of_second }) += took.as_secs_f64();
    }
    (of_first, of_second, account.iter().map(|(name, _)| *name).collect())
}

proptest! {
    #[test]
    fn whoever_has_work_gets_the_same_time(
        models in prop::collection::vec(prop::collection::vec(1..2000_u64, 1..20), 2..6),
        rounds in 200..400_usize,
    ) {
        // Each model computes batches that take so many microseconds, one after the other, in its turns.
        let mut credits: Vec<Credit> = models.iter().map(|_| Credit::new(Duration::from_micros(500))).collect();
        let mut used = vec![0; models.len()];
        let mut done = vec![0; models.len()];
        for _ in 0..rounds {
            for (model, takes) in models.iter().enumerate() {
                while credits[model].is_left() {
                    let took = takes[done[model] % takes.len()];
                    credits[model].spend(Duration::from_micros(took));
                    done[model] += 1;
                    used[model] += took;
                }
                credits[model].renew(false);
            }
        }
        // Apart by the last batch of each.
        let (least, most) = (*used.iter().min().unwrap(), *used.iter().max().unwrap());
        prop_assert!(most - least <= 2000, "{:?}", used);
    }
}

#[test]
fn who_is_alone_owes_nothing_and_nobody_saves_time_up() {
    let mut credit = Credit::new(Duration::from_micros(500));
    credit.spend(Duration::from_secs(1));
    credit.renew(false);
    assert!(!credit.is_left());
    credit.renew(true);
    assert!(credit.is_left());
    for _ in 0..100 {
        credit.renew(false);
    }
    credit.spend(Duration::from_micros(500));
    assert!(!credit.is_left());
}

#[test]
fn one_with_long_batches_leaves_time_for_one_with_short_ones() {
    // Both on the event loop, unless something else has the processor.
    let (long, short, _) = parts(Duration::from_micros(300), Duration::from_micros(30), Duration::from_millis(200));
    assert!(short > 0.2 * long && long > 0.1 * short, "{long} {short}");
}

#[test]
fn short_batches_are_computed_beside_long_ones() {
    // Long ones beside the event loop, where they wait for nobody, and nobody for them.
    let (_, short, who) = parts(Duration::from_millis(20), Duration::from_micros(40), Duration::from_millis(100));
    assert!(short > 0.003, "{short}");
    assert!(who.iter().take(20).any(|name| *name == "second"), "{who:?}");
}

/// Whether a turn would be given now; it is given back at once.
async fn may(member: &Member) -> bool {
    timeout(Duration::ZERO, member.turn()).await.is_ok()
}

#[test]
fn a_model_has_one_long_batch_always_and_a_second_while_a_worker_is_free() {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let shares = Shares::new(2);
        let (one, other) = (shares.join(), shares.join());
        let first = one.turn().await;
        let second = one.turn().await;
        assert!(!may(&one).await);
        // All workers compute for one model, and another one is not kept waiting.
        let theirs = other.turn().await;
        drop(first);
        // Two batches are at work still.
        assert!(!may(&one).await);
        assert!(!may(&other).await);
        drop(second);
        assert!(may(&one).await);
        assert!(may(&other).await);
        drop(theirs);
    });
}

#[test]
fn a_worker_that_is_free_goes_to_who_has_used_less_and_who_was_idle_has_saved_nothing() {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let shares = Shares::new(3);
        let (busy, idle, third) = (shares.join(), shares.join(), shares.join());
        for _ in 0..10 {
            busy.turn().await.took(Duration::from_secs(1));
        }
        let running = busy.turn().await;
        // Level with the other's ten seconds when it begins, and then one more.
        idle.turn().await.took(Duration::from_secs(1));
        let theirs = idle.turn().await;
        let last = third.turn().await;
        let order = Mutex::new(Vec::new());
        let again = async |member: &Member, name: &'static str| {
            let turn = member.turn().await;
            order.lock().unwrap().push(name);
            turn
        };
        let free = async {
            tokio::task::yield_now().await;
            drop(last);
        };
        tokio::join!(async { drop(again(&idle, "idle").await) }, async { drop(again(&busy, "busy").await) }, free);
        drop((running, theirs));
        assert_eq!(*order.lock().unwrap(), ["busy", "idle"]);
    });
}

#[test]
fn models_that_are_gone_keep_nobody_waiting() {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let shares = Shares::new(1);
        let (gone, stays) = (shares.join(), shares.join());
        let theirs = gone.turn().await;
        drop(gone);
        let turn = stays.turn().await;
        drop((theirs, turn));
        assert_eq!(shares.busy(), 0);
    });
}
