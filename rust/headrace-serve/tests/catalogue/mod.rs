//! Endpoints and versions: who is given which, and what becomes of those that are gone.

use std::sync::Arc;
use std::time::Duration;

use headrace_serve::catalogue::{Catalogue, Endpoint, Share};
use headrace_serve::engine::Engine;
use headrace_serve::error::Refusal;
use headrace_serve::model::{Model, Place};
use headrace_serve::scheduler::Limits;
use headrace_serve::shares::Shares;
use hyper::HeaderMap;
use hyper::header::HeaderValue;
use tokio::runtime::Builder;
use tokio::task::LocalSet;

use crate::fake::{Fake, Runs};

const LIMITS: Limits = Limits {
    batch_rows: 8,
    queue_rows: 8,
    queue_bytes: 800,
    queue_time: Duration::from_secs(1),
    delay: Duration::ZERO,
};

fn model(catalogue: &Catalogue, version: &str) -> Arc<Model> {
    let mut engines: Vec<Box<dyn Engine>> = vec![Box::new(Fake::new(&Runs::default()))];
    let metrics = catalogue.metrics("m", version);
    let place = Place { limits: LIMITS, request_rows: 100, shares: Shares::new(1) };
    let model = Model::new("m", version, &mut engines, None, &place, metrics).unwrap();
    catalogue.count(&model);
    Arc::new(model)
}

fn endpoint(name: &str, shares: &[(&Arc<Model>, u32)]) -> Endpoint {
    let share = |(model, weight): &(&Arc<Model>, u32)| Share { model: Arc::clone(model), weight: *weight };
    Endpoint::new(name, shares.iter().map(share).collect(), Vec::new(), "key").unwrap()
}

#[test]
fn names_and_versions_lead_to_what_they_name() {
    let catalogue = Catalogue::default();
    assert!(catalogue.endpoint(None).is_err());
    let (one, two) = (model(&catalogue, "1"), model(&catalogue, "2"));
    assert!(catalogue.offer(endpoint("a", &[(&one, 0), (&two, 1)])));
    assert!(catalogue.offer(endpoint("b", &[(&one, 1)])));
    let first = catalogue.endpoint(None).unwrap();
    assert_eq!(first.name, "a");
    for _ in 0..10 {
        assert_eq!(first.choose(None, &HeaderMap::new()).unwrap().version, "2");
    }
    assert_eq!(first.choose(Some("1"), &HeaderMap::new()).unwrap().version, "1");
    let refused = first.choose(Some("3"), &HeaderMap::new()).unwrap_err();
    assert_eq!(refused.message(), "there is no version '3' of the model; this server has '1', '2'");
    assert_eq!(catalogue.endpoint(Some("b")).unwrap().main(None).unwrap().version, "1");
    let refused = catalogue.endpoint(Some("c")).unwrap_err();
    assert_eq!(refused.message(), "there is no model 'c'; this server has 'a', 'b'");
    catalogue.close();
    assert_eq!(catalogue.endpoint(Some("a")).unwrap_err(), Refusal::Draining);
    assert!(!catalogue.offer(endpoint("a", &[(&one, 1)])));
}

#[test]
fn a_header_decides_who_gets_which() {
    let catalogue = Catalogue::default();
    let (one, two) = (model(&catalogue, "1"), model(&catalogue, "2"));
    let split = endpoint("a", &[(&one, 1), (&two, 1)]);
    let given = |key: &'static str| {
        let headers = HeaderMap::from_iter([("key".parse().unwrap(), HeaderValue::from_static(key))]);
        split.choose(None, &headers).unwrap().version.clone()
    };
    let keys = ["ann", "bob", "cat", "dan", "eve", "fay", "gus", "hal"];
    let first: Vec<String> = keys.iter().map(|key| given(key)).collect();
    assert_eq!(keys.iter().map(|key| given(key)).collect::<Vec<_>>(), first);
    assert!(first.contains(&"1".to_owned()) && first.contains(&"2".to_owned()));
}

#[test]
fn weights_and_headers_that_cannot_be_are_said() {
    let catalogue = Catalogue::default();
    let one = model(&catalogue, "1");
    let none = Endpoint::new("a", vec![Share { model: Arc::clone(&one), weight: 0 }], Vec::new(), "key").unwrap_err();
    assert_eq!(none.to_string(), "weight is 0 for every version of 'a', expected a version that gets requests");
    let header = Endpoint::new("a", vec![Share { model: one, weight: 1 }], Vec::new(), "a b").unwrap_err();
    assert_eq!(header.to_string(), "key is 'a b', expected the name of a header");
}

#[test]
fn a_version_ends_when_the_last_who_holds_it_is_gone() {
    let catalogue = Catalogue::default();
    let (one, two) = (model(&catalogue, "1"), model(&catalogue, "2"));
    let seat = one.seat(Box::new(Fake::new(&Runs::default())));
    catalogue.offer(endpoint("a", &[(&one, 1)]));
    drop(one);
    Builder::new_current_thread().build().unwrap().block_on(LocalSet::new().run_until(async {
        let working = tokio::task::spawn_local(seat.work(0));
        let held = catalogue.endpoint(None).unwrap().main(None).unwrap();
        catalogue.offer(endpoint("a", &[(&two, 1)]));
        tokio::task::yield_now().await;
        assert!(!working.is_finished());
        held.metrics.answered(5);
        drop(held);
        working.await.unwrap();
    }));
    let text = catalogue.text();
    assert!(text.contains("headrace_rows_total{model=\"m\",version=\"1\"} 5\n"), "{text}");
    assert_eq!(text.matches("# TYPE headrace_rows_total ").count(), 1);
    // It comes back, and is counted where it was.
    let again = model(&catalogue, "1");
    assert_eq!(again.metrics.totals().1, 5);
    assert_eq!(catalogue.text().matches("headrace_rows_total{").count(), 2);
}

#[test]
fn counters_of_versions_that_are_gone_do_not_grow_without_end() {
    let catalogue = Catalogue::default();
    let kept = model(&catalogue, "kept");
    for number in 0..200 {
        drop(model(&catalogue, &number.to_string()));
    }
    let text = catalogue.text();
    assert_eq!(text.matches("headrace_rows_total{").count(), 64);
    assert!(text.contains("headrace_rows_total{model=\"m\",version=\"kept\"}"));
    assert!(text.contains("headrace_rows_total{model=\"m\",version=\"199\"}"));
    drop(kept);
}
