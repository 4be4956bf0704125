//! Batch mates, bounds, deadlines, cancellation, the end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use headrace_serve::engine::{Engine, Port};
use headrace_serve::error::Refusal;
use headrace_serve::metrics::Metrics;
use headrace_serve::scheduler::{Answer, Limits, Scheduler};
use headrace_serve::shares::Shares;
use headrace_serve::tensor::Tensor;
use proptest::prelude::*;
use tokio::runtime::{Builder, Runtime};

use crate::fake::{Fake, Runs, column, numbers};

const PATIENT: Duration = Duration::from_mins(1);
const WIDE: Limits = Limits {
    batch_rows: 100,
    queue_rows: 1000,
    queue_bytes: 100_000,
    queue_time: Duration::from_mins(1),
    delay: Duration::ZERO,
};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn scheduler(workers: usize, limits: Limits) -> (Arc<Scheduler>, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new("m", "1"));
    (Arc::new(Scheduler::new(workers, limits, Arc::clone(&metrics), &Shares::new(workers))), metrics)
}

fn start(scheduler: &Arc<Scheduler>, worker: usize, engine: impl Engine + 'static) -> tokio::task::JoinHandle<()> {
    let scheduler = Arc::clone(scheduler);
    tokio::spawn(async move {
        scheduler.work(worker, Box::new(engine)).await;
    })
}

fn doubled(answer: &Answer) -> Vec<f64> {
    numbers(&answer.as_ref().unwrap()[0]).to_vec()
}

#[test]
fn a_request_alone_is_computed_alone_and_those_that_wait_together() {
    let runs = Runs::default();
    runtime().block_on(async {
        let (scheduler, metrics) = scheduler(1, WIDE);
        start(&scheduler, 0, Fake::new(&runs));
        let alone = scheduler.submit(0, vec![column(vec![1.0])], PATIENT).unwrap();
        assert_eq!(doubled(&alone.await.unwrap()), [2.0]);
        let several: Vec<_> = (1..=5_u32)
            .map(|rows| scheduler.submit(0, vec![column(vec![f64::from(rows); rows as usize])], PATIENT).unwrap())
            .collect();
        for (rows, answer) in (1..=5_u32).zip(several) {
            assert_eq!(doubled(&answer.await.unwrap()), vec![2.0 * f64::from(rows); rows as usize]);
        }
        assert_eq!(*runs.lock().unwrap(), [1, 15]);
        assert!(metrics.text(scheduler.waiting()).contains("headrace_batch_rows_sum{model=\"m\",version=\"1\"} 16.0"));
        assert_eq!(scheduler.waiting(), (0, 0));
    });
}

#[test]
fn one_that_fails_or_panics_fails_alone() {
    let runs = Runs::default();
    runtime().block_on(async {
        let (scheduler, _) = scheduler(1, WIDE);
        start(&scheduler, 0, Fake::new(&runs));
        for bad in [-1.0, -7.0] {
            let mates: Vec<_> = [1.0, bad, 3.0]
                .map(|value| scheduler.submit(0, vec![column(vec![value])], PATIENT).unwrap())
                .into_iter()
                .collect();
            let mut answers = Vec::new();
            for mate in mates {
                answers.push(mate.await.unwrap());
            }
            assert_eq!((doubled(&answers[0]), doubled(&answers[2])), (vec![2.0], vec![6.0]));
            assert!(matches!(&answers[1], Err(Refusal::Failed(_))), "{:?}", answers[1]);
        }
        assert_eq!(*runs.lock().unwrap(), [3, 1, 1, 1, 3, 1, 1, 1]);
    });
}

#[test]
fn mates_of_another_shape_are_computed_singly() {
    let runs = Runs::default();
    runtime().block_on(async {
        let (scheduler, _) = scheduler(1, WIDE);
        start(&scheduler, 0, Fake::new(&runs));
        let flat = scheduler.submit(0, vec![column(vec![1.0])], PATIENT).unwrap();
        let mut nested = column(vec![2.0]);
        nested.shape.push(1);
        let nested = scheduler.submit(0, vec![nested], PATIENT).unwrap();
        assert_eq!(doubled(&flat.await.unwrap()), [2.0]);
        assert_eq!(doubled(&nested.await.unwrap()), [4.0]);
    });
}

#[test]
fn those_of_equal_width_are_computed_together() {
    let runs = Runs::default();
    runtime().block_on(async {
        let (scheduler, _) = scheduler(1, WIDE);
        let wide = |value: f64, width: usize| Tensor { shape: vec![1, width], ..column(vec![value; width]) };
        let answers: Vec<_> = (0..12_u32)
            .map(|number| scheduler.submit(0, vec![wide(f64::from(number), 2 + number as usize % 3)], PATIENT).unwrap())
            .collect();
        start(&scheduler, 0, Fake::new(&runs));
        for (number, answer) in (0..12_u32).zip(answers) {
            assert_eq!(doubled(&answer.await.unwrap()), vec![2.0 * f64::from(number); 2 + number as usize % 3]);
        }
        // Four of each width; the fake counts values.
        assert_eq!(*runs.lock().unwrap(), [8, 12, 16]);
        assert_eq!(scheduler.waiting(), (0, 0));
    });
}

#[test]
fn a_batch_is_no_larger_than_it_pays_and_no_later_than_its_first_may_be() {
    let runs = Runs::default();
    runtime().block_on(async {
        let (scheduler, _) = scheduler(1, WIDE);
        // A row takes as long in four as in sixteen.
        for (rows, micros) in [(1, 100), (2, 120), (4, 160), (8, 320), (16, 640)] {
            scheduler.learn(rows, Duration::from_micros(micros));
        }
        let answers: Vec<_> = (0..10).map(|_| scheduler.submit(0, vec![column(vec![1.0])], PATIENT).unwrap()).collect();
        start(&scheduler, 0, Fake::new(&runs));
        for answer in answers {
            answer.await.unwrap().unwrap();
        }
        assert_eq!(runs.lock().unwrap()[..1], [4]);
    });
    let runs = Runs::default();
    runtime().block_on(async {
        let (scheduler, _) = scheduler(2, WIDE);
        for (rows, seconds) in [(1, 1), (16, 8), (64, 16)] {
            scheduler.learn(rows, Duration::from_secs(seconds));
        }
        // A hundred would take 25 seconds, and so would fifty.
        let limit = Duration::from_secs(24);
        let answers: Vec<_> = (0..40).map(|_| scheduler.submit(0, vec![column(vec![1.0])], limit).unwrap()).collect();
        start(&scheduler, 0, Fake::new(&runs));
        for answer in answers {
            answer.await.unwrap().unwrap();
        }
        assert_eq!(*runs.lock().unwrap(), [25, 15]);
    });
}

#[test]
fn a_delay_lets_others_join_and_ends_once_there_are_enough() {
    let runs = Runs::default();
    runtime().block_on(async {
        let (scheduler, _) = scheduler(1, Limits { batch_rows: 3, delay: PATIENT, ..WIDE });
        start(&scheduler, 0, Fake::new(&runs));
        let limit = Duration::from_hours(1);
        let mut first = scheduler.submit(0, vec![column(vec![1.0])], limit).unwrap();
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        assert!(first.try_recv().is_err());
        let second = scheduler.submit(0, vec![column(vec![1.0; 2])], limit).unwrap();
        assert_eq!((doubled(&first.await.unwrap()), doubled(&second.await.unwrap())), (vec![2.0], vec![2.0; 2]));
        assert_eq!(*runs.lock().unwrap(), [3]);
    });
    let runs = Runs::default();
    runtime().block_on(async {
        let delay = Duration::from_millis(5);
        let (scheduler, _) = scheduler(1, Limits { delay, ..WIDE });
        start(&scheduler, 0, Fake::new(&runs));
        let began = std::time::Instant::now();
        let alone = scheduler.submit(0, vec![column(vec![1.0])], PATIENT).unwrap();
        assert_eq!(doubled(&alone.await.unwrap()), [2.0]);
        assert!(began.elapsed() >= delay);
    });
    runtime().block_on(async {
        // Who has less time than the delay does not spend it on others: it would be over.
        let (scheduler, _) = scheduler(1, Limits { delay: Duration::from_secs(20), ..WIDE });
        start(&scheduler, 0, Fake::new(&runs));
        let hurried = scheduler.submit(0, vec![column(vec![1.0])], Duration::from_secs(10)).unwrap();
        assert!(hurried.await.unwrap().is_ok());
    });
}

#[test]
fn more_than_may_take_the_queues_time_is_refused_though_it_could_be_answered() {
    let (scheduler, _) = scheduler(2, Limits { queue_time: Duration::from_secs(5), ..WIDE });
    scheduler.learn(1, Duration::from_secs(4));
    // One for each worker may wait, however long it takes.
    let _first = scheduler.submit(0, vec![column(vec![1.0; 3])], PATIENT).unwrap();
    let _second = scheduler.submit(0, vec![column(vec![1.0])], PATIENT).unwrap();
    assert_eq!(scheduler.submit(0, vec![column(vec![1.0])], PATIENT).unwrap_err().retry_after(), Some(9));
}

#[test]
fn a_part_of_what_was_let_in_is_not_refused() {
    let (scheduler, _) = scheduler(1, Limits { queue_rows: 2, queue_time: Duration::ZERO, ..WIDE });
    scheduler.learn(1, Duration::from_secs(4));
    let parts: Vec<_> = (0..5).map(|_| scheduler.submit_part(0, vec![column(vec![1.0])], PATIENT).unwrap()).collect();
    assert!(scheduler.submit(0, vec![column(vec![1.0])], PATIENT).is_err());
    scheduler.close();
    assert_eq!(scheduler.submit_part(0, vec![column(vec![1.0])], PATIENT).unwrap_err(), Refusal::Draining);
    drop(parts);
}

#[test]
fn who_has_left_takes_nobodys_place() {
    let (scheduler, _) = scheduler(1, Limits { queue_rows: 3, ..WIDE });
    let left: Vec<_> = (0..3).map(|_| scheduler.submit(0, vec![column(vec![1.0])], PATIENT).unwrap()).collect();
    drop(left);
    let stays = scheduler.submit(0, vec![column(vec![1.0])], PATIENT).unwrap();
    assert_eq!(scheduler.waiting(), (1, 8));
    drop(stays);
}

#[test]
fn what_does_not_fit_into_the_queue_is_refused() {
    let limits = Limits { queue_rows: 3, queue_bytes: 100, ..WIDE };
    let (scheduler, _) = scheduler(1, limits);
    let first = scheduler.submit(0, vec![column(vec![1.0; 2])], PATIENT).unwrap();
    let refused = scheduler.submit(0, vec![column(vec![1.0; 2])], PATIENT).unwrap_err();
    assert_eq!(refused, Refusal::Overloaded { retry_after: 1 });
    assert_eq!(refused.status(), 503);
    let second = scheduler.submit(0, vec![column(vec![1.0])], PATIENT).unwrap();
    assert_eq!(scheduler.waiting(), (3, 24));
    drop((first, second));

    let limits = Limits { queue_bytes: 20, ..WIDE };
    let (scheduler, _) = self::scheduler(1, limits);
    // One that is larger than the queue waits for nobody.
    let alone = scheduler.submit(0, vec![column(vec![1.0; 9])], PATIENT).unwrap();
    assert!(scheduler.submit(0, vec![column(vec![1.0])], PATIENT).is_err());
    drop(alone);
}

#[test]
fn who_cannot_be_in_time_is_refused_at_once() {
    let (scheduler, _) = scheduler(2, WIDE);
    scheduler.learn(1, Duration::from_secs(4));
    let _first = scheduler.submit(0, vec![column(vec![1.0; 3])], Duration::from_secs(5)).unwrap();
    // Two workers have three rows of four seconds before them.
    let refused = scheduler.submit(1, vec![column(vec![1.0])], Duration::from_secs(11)).unwrap_err();
    assert_eq!(refused, Refusal::Overloaded { retry_after: 7 });
    assert_eq!(scheduler.admit(Duration::from_secs(11)), Err(refused));
    assert!(scheduler.admit(Duration::from_secs(12)).is_ok());
    assert!(scheduler.submit(1, vec![column(vec![1.0])], Duration::from_secs(12)).is_ok());
}

#[test]
fn nothing_is_computed_for_who_has_left_or_is_late() {
    let runs = Runs::default();
    runtime().block_on(async {
        let (scheduler, _) = scheduler(1, WIDE);
        let left = scheduler.submit(0, vec![column(vec![1.0; 10])], PATIENT).unwrap();
        let late = scheduler.submit(0, vec![column(vec![1.0; 20])], Duration::ZERO).unwrap();
        let stays = scheduler.submit(0, vec![column(vec![1.0])], PATIENT).unwrap();
        drop(left);
        start(&scheduler, 0, Fake::new(&runs));
        assert_eq!(doubled(&stays.await.unwrap()), [2.0]);
        assert_eq!(late.await.unwrap(), Err(Refusal::Expired(Duration::ZERO)));
        assert_eq!(*runs.lock().unwrap(), [1]);
        assert_eq!(scheduler.waiting(), (0, 0));
    });
}

#[test]
fn a_closed_queue_takes_nothing_and_answers_what_waits() {
    let runs = Runs::default();
    runtime().block_on(async {
        let (scheduler, _) = scheduler(1, WIDE);
        let waits = scheduler.submit(0, vec![column(vec![1.0])], PATIENT).unwrap();
        scheduler.close();
        assert_eq!(scheduler.submit(0, vec![column(vec![1.0])], PATIENT).unwrap_err(), Refusal::Draining);
        let working = start(&scheduler, 0, Fake::new(&runs));
        assert_eq!(doubled(&waits.await.unwrap()), [2.0]);
        working.await.unwrap();
    });
}

/// Says that it was reached, and goes on when it is told to.
struct Held {
    reached: Arc<AtomicBool>,
    go: mpsc::Receiver<()>,
    fake: Fake,
}

impl Engine for Held {
    fn inputs(&self) -> &[Port] {
        self.fake.inputs()
    }

    fn outputs(&self) -> &[Port] {
        self.fake.outputs()
    }

    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
        self.reached.store(true, Ordering::SeqCst);
        self.go.recv().map_err(|error| error.to_string())?;
        self.fake.run(inputs)
    }
}

#[test]
fn a_long_run_leaves_the_event_loop_alone_and_another_worker_takes_what_comes() {
    let runs = Runs::default();
    runtime().block_on(async {
        let (scheduler, _) = scheduler(2, WIDE);
        scheduler.learn(1, Duration::from_millis(50));
        let (tell, go) = mpsc::channel();
        let reached = Arc::new(AtomicBool::new(false));
        start(&scheduler, 0, Held { reached: Arc::clone(&reached), go, fake: Fake::new(&runs) });
        let long = scheduler.submit(0, vec![column(vec![1.0])], PATIENT).unwrap();
        while !reached.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        start(&scheduler, 1, Fake::new(&runs));
        let next = scheduler.submit(0, vec![column(vec![3.0])], PATIENT).unwrap();
        assert_eq!(doubled(&next.await.unwrap()), [6.0]);
        tell.send(()).unwrap();
        assert_eq!(doubled(&long.await.unwrap()), [2.0]);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn everybody_gets_their_own_answer(
        requests in prop::collection::vec((1..6_usize, 0..10_u8, 0..3_usize), 1..40),
        batch_rows in 1..12_usize,
        workers in 1..4_usize,
    ) {
        let runs = Runs::default();
        let outcome: Result<(), TestCaseError> = runtime().block_on(async {
            let (scheduler, metrics) = scheduler(workers, Limits { batch_rows, ..WIDE });
            let working: Vec<_> = (0..workers).map(|worker| start(&scheduler, worker, Fake::new(&runs))).collect();
            let mut answers = Vec::new();
            for (number, (rows, luck, pauses)) in requests.iter().enumerate() {
                let value = if *luck == 0 { -1.0 } else { f64::from(u32::try_from(number).unwrap()) };
                let inputs = vec![column(vec![value; *rows])];
                answers.push((value, *rows, scheduler.submit(number % workers, inputs, PATIENT).unwrap()));
                for _ in 0..*pauses {
                    tokio::task::yield_now().await;
                }
            }
            for (value, rows, answer) in answers {
                let answer = answer.await.unwrap();
                if value < 0.0 {
                    prop_assert!(matches!(answer, Err(Refusal::Failed(_))));
                } else {
                    prop_assert_eq!(doubled(&answer), vec![value * 2.0; rows]);
                }
            }
            prop_assert_eq!(scheduler.waiting(), (0, 0));
            scheduler.close();
            for one in working {
                one.await.unwrap();
            }
            let counted = format!("headrace_queue_seconds_count{{model=\"m\",version=\"1\"}} {}", requests.len());
            let text = metrics.text((0, 0));
            prop_assert!(text.contains(&counted), "{}", text);
            Ok(())
        });
        outcome?;
        prop_assert!(runs.lock().unwrap().iter().all(|rows| *rows <= batch_rows.max(5)));
    }
}
