//! Every route with every method.

use headrace_serve::engine::Engine;
use headrace_serve::error::Refusal;
use headrace_serve::model::Model;
use headrace_serve::routes::{Accent, ENTRIES, Permission, Route, find};
use headrace_serve::scheduler::Limits;

use crate::fake::{Fake, Runs};

fn model() -> Model {
    let limits = Limits { batch_rows: 8, queue_rows: 8, queue_bytes: 800 };
    let mut engines: Vec<Box<dyn Engine>> = vec![Box::new(Fake::new(&Runs::default()))];
    Model::new("m%ü", "3", &mut engines, None, limits, 100).unwrap()
}

fn path(pattern: &str) -> String {
    pattern.replace("{model}", "m%25%C3%BC").replace("{version}", "3")
}

#[test]
fn every_route_answers_its_methods_and_no_other() {
    let model = model();
    for entry in &ENTRIES {
        let path = path(entry.path);
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get"] {
            let declared = ENTRIES.iter().find(|other| other.path == entry.path && other.method == method);
            match (find(method, &path, &model), declared) {
                (Ok(found), Some(declared)) => assert_eq!(found.route, declared.route),
                (Err((_, Refusal::Method(_))), None) => {}
                (other, _) => panic!("{method} {path}: {other:?}"),
            }
        }
    }
}

#[test]
fn only_health_is_open() {
    let health = [Route::Live, Route::Ready, Route::ModelReady, Route::Model, Route::Ping, Route::Version];
    for entry in &ENTRIES {
        assert_eq!(entry.permission == Permission::Open, health.contains(&entry.route), "{}", entry.path);
    }
}

#[test]
fn other_names_lead_nowhere() {
    let model = model();
    for path in [
        "",
        "/",
        "//v2",
        "/v3",
        "/v2/models",
        "/v2/models/",
        "/v2/models/other",
        "/v2/models/m%25%C3%BC/versions/4",
        "/v2/models/m%25%C3%BC/infer/x",
        "/v2/models/%ff/infer",
        "/v2/models/m%2",
        "/v1/models/m%25%C3%BC:explain",
        "/v2/../v2",
        "/v2/models/..%2f..%2fetc",
    ] {
        let found = find("GET", path, &model);
        assert!(matches!(found, Err((_, Refusal::NotFound(_) | Refusal::Method(_)))), "{path}: {found:?}");
    }
    let (accent, refusal) = find("POST", "/v2/models/other/infer", &model).unwrap_err();
    assert_eq!(accent, Accent::Inference);
    assert_eq!(refusal.message(), "there is no model 'other'; this server has 'm%ü'");
    assert_eq!(find("GET", "/v2/", &model).unwrap().route, Route::Server);
}
