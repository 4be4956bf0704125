//! Ways in that a platform names: its own paths for health and for predictions.

use crate::error::{Refusal, StartError};
use crate::routes::{self, Accent, ENTRIES, Found, Route};

/// A path, and what it is another name for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    path: String,
    route: Route,
}

impl Alias {
    /// A path as it stands in a request's first line: `live`, `ready` or `predict`.
    pub fn new(path: &str, kind: &str) -> Result<Self, StartError> {
        let wrong = |option, found: &str, expected| StartError::Option {
            option,
            found: format!("'{}'", found.escape_debug()),
            expected,
        };
        let fits = path.starts_with('/')
            && path.len() <= 1024
            && path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&byte));
        if !fits {
            return Err(wrong("route", path, "a path that begins with / and has no spaces, ? or #"));
        }
        let route = match kind {
            "live" => Route::Live,
            "ready" => Route::Ready,
            "predict" => Route::Invocations,
            _ => return Err(wrong("route", kind, "live, ready or predict")),
        };
        if hides(path, route) {
            return Err(wrong("route", path, "a path on which the server does not answer something else already"));
        }
        Ok(Self { path: path.to_owned(), route })
    }

    /// The way in for a request to one of these paths, or why there is none; `None` for other paths.
    pub(crate) fn find(
        aliases: &[Self],
        method: &str,
        path: &str,
    ) -> Option<Result<Found<'static>, (Accent, Refusal)>> {
        let alias = aliases.iter().find(|alias| alias.path == path)?;
        let entry = ENTRIES.iter().find(|entry| entry.route == alias.route)?;
        Some(if entry.answers(method) {
            Ok(Found { entry, model: None, version: None })
        } else {
            Err((entry.accent, Refusal::Method(entry.allowed())))
        })
    }
}

/// Whether somebody who asks one of the server's own paths would be answered something else. At `/` Azure ML's containers
/// and others are asked as they like.
fn hides(path: &str, route: Route) -> bool {
    let Some(entry) = ENTRIES.iter().find(|entry| routes::matches(entry.path, path)) else { return false };
    let same = match entry.route {
        Route::Live | Route::Ready | Route::Alive | Route::Ping | Route::ModelReady | Route::Model => {
            matches!(route, Route::Live | Route::Ready)
        }
        Route::Invocations | Route::Predict => route == Route::Invocations,
        _ => false,
    };
    path != "/" && !same
}
