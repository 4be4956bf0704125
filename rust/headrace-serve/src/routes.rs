//! Which path leads where, in which accent, and what it takes to be let in.

use std::borrow::Cow;

use crate::error::Refusal;

/// What a token has to allow. Without tokens a server listens on the loopback only, and lets everybody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Nothing: health.
    Open,
    /// Predictions, what a client must know to ask for them, and labels for them.
    Predict,
    /// What an operator looks at.
    Observe,
}

impl Permission {
    /// The scope of a token that has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Predict => "predict",
            Self::Observe => "observe",
        }
    }
}

/// How errors are said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accent {
    /// The Open Inference Protocol, and `KServe`'s first one: `{"error": ...}`.
    Inference,
    /// `MLflow`'s scoring server: `{"error_code": ..., "message": ...}`.
    Mlflow,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// The server's name and extensions.
    Server,
    /// Is the process there?
    Live,
    /// Does it take requests?
    Ready,
    /// Inputs and outputs of the model.
    Metadata,
    /// Does the model take requests?
    ModelReady,
    /// Predictions, protocol v2.
    Infer,
    /// Is the process there, protocol v1.
    Alive,
    /// Names of the models, protocol v1.
    Models,
    /// Is the model ready, protocol v1.
    Model,
    /// Predictions, protocol v1.
    Predict,
    /// `MLflow`'s and `SageMaker`'s health.
    Ping,
    /// The version of the server.
    Version,
    /// `MLflow`'s and `SageMaker`'s predictions.
    Invocations,
    /// Labels for what was predicted.
    Feedback,
    /// What there is to ask, as an `OpenAPI` document.
    Document,
    /// Prometheus.
    Metrics,
}

/// A way in.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// `GET`, which `HEAD` asks for too, or `POST`.
    pub method: &'static str,
    /// `{model}` and `{version}` stand for names.
    pub path: &'static str,
    /// Where it leads.
    pub route: Route,
    /// How errors are said there.
    pub accent: Accent,
    /// What it takes.
    pub permission: Permission,
}

impl Entry {
    /// Whether it answers a method.
    #[must_use]
    pub fn answers(&self, method: &str) -> bool {
        self.method == method || (self.method == "GET" && method == "HEAD")
    }

    /// The methods that it answers, as a header says it.
    #[must_use]
    pub fn allowed(&self) -> &'static str {
        if self.method == "GET" { "GET, HEAD" } else { self.method }
    }
}

const fn entry(
    method: &'static str,
    path: &'static str,
    route: Route,
    accent: Accent,
    permission: Permission,
) -> Entry {
    Entry { method, path, route, accent, permission }
}

/// Every way in.
pub const ENTRIES: [Entry; 20] = {
    use Accent::{Inference, Mlflow};
    use Permission::{Observe, Open, Predict};
    [
        entry("GET", "/v2", Route::Server, Inference, Predict),
        entry("GET", "/v2/health/live", Route::Live, Inference, Open),
        entry("GET", "/v2/health/ready", Route::Ready, Inference, Open),
        entry("GET", "/v2/models/{model}", Route::Metadata, Inference, Predict),
        entry("GET", "/v2/models/{model}/versions/{version}", Route::Metadata, Inference, Predict),
        entry("GET", "/v2/models/{model}/ready", Route::ModelReady, Inference, Open),
        entry("GET", "/v2/models/{model}/versions/{version}/ready", Route::ModelReady, Inference, Open),
        entry("POST", "/v2/models/{model}/infer", Route::Infer, Inference, Predict),
        entry("POST", "/v2/models/{model}/versions/{version}/infer", Route::Infer, Inference, Predict),
        entry("GET", "/", Route::Alive, Inference, Open),
        entry("GET", "/v1/models", Route::Models, Inference, Predict),
        // Before the next, whose name it would be otherwise.
        entry("POST", "/v1/models/{model}:predict", Route::Predict, Inference, Predict),
        entry("GET", "/v1/models/{model}", Route::Model, Inference, Open),
        entry("GET", "/ping", Route::Ping, Mlflow, Open),
        entry("GET", "/health", Route::Ping, Mlflow, Open),
        entry("GET", "/version", Route::Version, Mlflow, Open),
        entry("POST", "/invocations", Route::Invocations, Mlflow, Predict),
        entry("POST", "/feedback", Route::Feedback, Inference, Predict),
        entry("GET", "/openapi.json", Route::Document, Inference, Predict),
        entry("GET", "/metrics", Route::Metrics, Inference, Observe),
    ]
};

/// What is called by gRPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Is the process there?
    Live,
    /// Does it take requests?
    Ready,
    /// Does the model take requests?
    ModelReady,
    /// The server's name and extensions.
    Server,
    /// Inputs and outputs of the model.
    Metadata,
    /// Predictions.
    Infer,
    /// gRPC's own word for ready.
    Health,
}

/// Every call, by the path that it has in HTTP/2, and what it takes.
pub const CALLS: [(&str, Call, Permission); 7] = [
    ("/inference.GRPCInferenceService/ServerLive", Call::Live, Permission::Open),
    ("/inference.GRPCInferenceService/ServerReady", Call::Ready, Permission::Open),
    ("/inference.GRPCInferenceService/ModelReady", Call::ModelReady, Permission::Open),
    ("/inference.GRPCInferenceService/ServerMetadata", Call::Server, Permission::Predict),
    ("/inference.GRPCInferenceService/ModelMetadata", Call::Metadata, Permission::Predict),
    ("/inference.GRPCInferenceService/ModelInfer", Call::Infer, Permission::Predict),
    ("/grpc.health.v1.Health/Check", Call::Health, Permission::Open),
];

/// A way in, and the names that the path gives.
#[derive(Debug)]
pub struct Found<'a> {
    /// The way in.
    pub entry: &'static Entry,
    /// The model, or rather the endpoint.
    pub model: Option<Cow<'a, str>>,
    /// The version of it.
    pub version: Option<Cow<'a, str>>,
}

/// The way in for a request, or why there is none.
pub fn find<'a>(method: &str, path: &'a str) -> Result<Found<'a>, (Accent, Refusal)> {
    let path = path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path);
    let mut allowed: Option<&'static Entry> = None;
    for entry in &ENTRIES {
        // A path is that of the first entry that it is like, whatever the method.
        if allowed.is_some_and(|allowed| allowed.path != entry.path) {
            continue;
        }
        let Some((model, version)) = matched(entry.path, path) else { continue };
        if entry.answers(method) {
            return Ok(Found { entry, model, version });
        }
        allowed = allowed.or(Some(entry));
    }
    Err(match allowed {
        Some(entry) => (entry.accent, Refusal::Method(entry.allowed())),
        None => (Accent::Inference, Refusal::NotFound("there is no such route".to_owned())),
    })
}

/// Whether a path is like a pattern of [`ENTRIES`].
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    let path = path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path);
    matched(pattern, path).is_some()
}

/// A model and a version, where a path names them.
type Named<'a> = (Option<Cow<'a, str>>, Option<Cow<'a, str>>);

/// The model and the version that a path names, if it is like the pattern.
fn matched<'a>(pattern: &str, path: &'a str) -> Option<Named<'a>> {
    let (mut model, mut version) = (None, None);
    let mut parts = path.split('/');
    for wanted in pattern.split('/') {
        let part = parts.next()?;
        if let Some(suffix) = wanted.strip_prefix("{model}") {
            model = Some(decoded(part.strip_suffix(suffix)?)?);
        } else if wanted == "{version}" {
            version = Some(decoded(part)?);
        } else if wanted != part {
            return None;
        }
    }
    parts.next().is_none().then_some((model, version))
}

/// A part of a path without percent signs; it is compared with a name, and never becomes a path again.
fn decoded(part: &str) -> Option<Cow<'_, str>> {
    if !part.contains('%') {
        return Some(Cow::Borrowed(part));
    }
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}
