//! Every route with every method.

use headrace_serve::error::Refusal;
use headrace_serve::routes::{ENTRIES, Permission, Route, find};

fn path(pattern: &str) -> String {
    pattern.replace("{model}", "m%25%C3%BC").replace("{version}", "3")
}

#[test]
fn every_route_answers_its_methods_and_no_other() {
    for entry in &ENTRIES {
        let path = path(entry.path);
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get"] {
            // Whoever asks with HEAD wants what GET would say of its answer.
            let asked = if method == "HEAD" { "GET" } else { method };
            let declared = ENTRIES.iter().find(|other| other.path == entry.path && other.method == asked);
            match (find(method, &path), declared) {
                (Ok(found), Some(declared)) => assert_eq!(found.entry.route, declared.route),
                (Err((_, Refusal::Method(_))), None) => {}
                (other, _) => panic!("{method} {path}: {other:?}"),
            }
        }
    }
}

#[test]
fn only_health_is_open() {
    let health =
        [Route::Alive, Route::Live, Route::Ready, Route::ModelReady, Route::Model, Route::Ping, Route::Version];
    for entry in &ENTRIES {
        assert_eq!(entry.permission == Permission::Open, health.contains(&entry.route), "{}", entry.path);
    }
}

#[test]
fn other_names_lead_nowhere() {
    for path in [
        "",
        "//v2",
        "/v3",
        "/v2/models",
        "/v2/models/",
        "/v2/models/m%25%C3%BC/infer/x",
        "/v2/models/%ff/infer",
        "/v2/models/m%2",
        "/v1/models/m/explain",
        "/v2/../v2",
    ] {
        let found = find("GET", path);
        assert!(matches!(found, Err((_, Refusal::NotFound(_) | Refusal::Method(_)))), "{path}: {found:?}");
    }
    assert_eq!(find("GET", "/v2/").unwrap().entry.route, Route::Server);
    let found = find("POST", "/v2/models/m%25%C3%BC/versions/3/infer").unwrap();
    assert_eq!((found.model.as_deref(), found.version.as_deref()), (Some("m%ü"), Some("3")));
    // A name is compared with names, and is no path.
    assert_eq!(find("GET", "/v2/models/..%2f..%2fetc").unwrap().model.as_deref(), Some("../../etc"));
    assert!(find("POST", "/invocations").unwrap().model.is_none());
}
