//! What keeps a server from starting, and what a request is told.

use std::time::Duration;

use crate::routes::Permission;

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// ONNX Runtime's shared library is not there, not loadable or too old.
    #[error("ONNX Runtime cannot be used: {reason}")]
    Runtime {
        /// What the loader said.
        reason: String,
    },

    /// The model cannot be loaded, or is not one that can be served.
    #[error("{reason}")]
    Model {
        /// What is wrong with it.
        reason: String,
    },

    /// The model is whole, but has what no client could send or read.
    #[error("{reason}")]
    Unfit {
        /// What it has.
        reason: String,
        /// How it is made otherwise.
        hint: &'static str,
    },

    /// The feature plan is not valid.
    #[error(transparent)]
    Plan(headrace_core::Error),

    /// Golden rows do not give what they gave.
    #[error("{reason}")]
    Golden {
        /// Which row, and what it gave.
        reason: String,
    },

    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {reason}")]
    Bind {
        /// Host and port.
        address: String,
        /// What the system said.
        reason: String,
        /// Whether somebody else listens there.
        in_use: bool,
    },

    /// Anybody could reach the address, and nobody would have to show a token.
    #[error("'{}' is reachable from other machines, and no tokens are given", host.escape_debug())]
    Exposed {
        /// The host that was asked for.
        host: String,
    },

    /// The tokens cannot be known.
    #[error("the file of tokens {reason}")]
    Tokens {
        /// Where they stand.
        file: String,
        /// What is wrong with it.
        reason: String,
    },

    /// An option has a value that it cannot have.
    #[error("{option} is {found}, expected {expected}")]
    Option {
        /// Its name.
        option: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: &'static str,
    },

    /// Predictions cannot be logged where they should.
    #[error("the prediction log cannot be kept: {reason}")]
    Log {
        /// Its folder.
        folder: String,
        /// What the system said.
        reason: String,
    },

    /// The server was stopped meanwhile.
    #[error("the server was stopped")]
    Stopped,

    /// The operating system gave no threads.
    #[error("cannot start the server's threads: {reason}")]
    Threads {
        /// What the system said.
        reason: String,
    },
}

impl StartError {
    /// Whether the model, its plan or its golden rows are at fault.
    #[must_use]
    pub fn is_of_model(&self) -> bool {
        matches!(self, Self::Model { .. } | Self::Unfit { .. } | Self::Plan(_) | Self::Golden { .. })
    }

    /// Where it happened.
    #[must_use]
    pub fn place(&self) -> Option<String> {
        Some(match self {
            Self::Runtime { .. } => "onnxruntime".to_owned(),
            Self::Model { .. } | Self::Unfit { .. } => "model.onnx".to_owned(),
            Self::Plan(error) => return error.place(),
            Self::Golden { .. } => "golden.json".to_owned(),
            Self::Bind { address, .. } => address.clone(),
            Self::Exposed { .. } => "host".to_owned(),
            Self::Tokens { file, .. } => file.clone(),
            Self::Option { option, .. } => (*option).to_owned(),
            Self::Log { folder, .. } => folder.clone(),
            Self::Threads { .. } | Self::Stopped => return None,
        })
    }

    /// The way out.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        Some(match self {
            Self::Runtime { .. } => "pip install -U 'onnxruntime>=1.23'",
            Self::Model { .. } => "The file is damaged, is no ONNX model, or needs a newer onnxruntime.",
            Self::Unfit { hint, .. } => hint,
            Self::Plan(error) => return error.hint(),
            Self::Golden { .. } => "Do not use this package; register the model again.",
            Self::Bind { in_use: true, .. } => "End what listens there, or choose another port (0: any that is free).",
            Self::Bind { .. } => "Choose a host and a port of this machine.",
            Self::Exposed { .. } => {
                "Make a token with `headrace tokens create` and give its file with --tokens (`tokens=` in Python), or \
                 listen on 127.0.0.1."
            }
            Self::Tokens { .. } => "`headrace tokens create` makes one, and the file where there is none.",
            Self::Log { .. } => "Give a folder that can be written, or serve without a log.",
            Self::Option { .. } | Self::Stopped => return None,
            Self::Threads { .. } => "Ask for fewer workers.",
        })
    }
}

/// Why a request is not answered with a prediction. The accent says it in its own form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The request is wrong: 400.
    Bad(String),
    /// No token, or none that counts: 401 and WWW-Authenticate.
    Unauthenticated {
        /// Whether there was one.
        given: bool,
    },
    /// The token is for something else: 403.
    Forbidden(Permission),
    /// No such route, model or version: 404.
    NotFound(String),
    /// The route does not have this method: 405, with those that it has.
    Method(&'static str),
    /// The Host header names another machine: 421.
    Host,
    /// The body is larger than allowed: 413.
    TooLarge(String),
    /// Content type or encoding is not understood: 415.
    MediaType(String),
    /// The body did not arrive in time: 408.
    Slow,
    /// More waits than may: 503 and Retry-After.
    Overloaded {
        /// Seconds after which to come back.
        retry_after: u64,
    },
    /// The bodies and answers that are held take all the memory that they may: 503 and Retry-After.
    Full {
        /// Seconds after which to come back.
        retry_after: u64,
    },
    /// The server is about to stop: 503 and Retry-After.
    Draining,
    /// What came in cannot be kept: 503 and Retry-After.
    Unkept(String),
    /// The deadline passed: 504.
    Expired(Duration),
    /// The model failed on this request: 500.
    Failed(String),
}

impl Refusal {
    /// Its HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Bad(_) => 400,
            Self::Unauthenticated { .. } => 401,
            Self::Forbidden(_) => 403,
            Self::NotFound(_) => 404,
            Self::Method(_) => 405,
            Self::Slow => 408,
            Self::TooLarge(_) => 413,
            Self::MediaType(_) => 415,
            Self::Host => 421,
            Self::Failed(_) => 500,
            Self::Overloaded { .. } | Self::Full { .. } | Self::Draining | Self::Unkept(_) => 503,
            Self::Expired(_) => 504,
        }
    }

    /// With the deadline that the whole request had, where only what was left of it was waited for.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        match self {
            Self::Expired(_) => Self::Expired(limit),
            other => other,
        }
    }

    /// As the metric names it.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Bad(_) | Self::MediaType(_) | Self::Slow | Self::Host => Reason::Bad,
            Self::Unauthenticated { .. } => Reason::Unauthenticated,
            Self::Forbidden(_) => Reason::Forbidden,
            Self::NotFound(_) | Self::Method(_) => Reason::NotFound,
            Self::TooLarge(_) => Reason::TooLarge,
            Self::Overloaded { .. } | Self::Full { .. } => Reason::Overloaded,
            Self::Draining => Reason::Draining,
            Self::Expired(_) => Reason::Expired,
            Self::Failed(_) | Self::Unkept(_) => Reason::Failed,
        }
    }

    /// What a WWW-Authenticate header says (RFC 6750).
    #[must_use]
    pub fn challenge(&self) -> Option<String> {
        match self {
            Self::Unauthenticated { given: false } => Some("Bearer realm=\"headrace\"".to_owned()),
            Self::Unauthenticated { given: true } => {
                Some("Bearer realm=\"headrace\", error=\"invalid_token\"".to_owned())
            }
            Self::Forbidden(permission) => {
                let scope = permission.name();
                Some(format!("Bearer realm=\"headrace\", error=\"insufficient_scope\", scope=\"{scope}\""))
            }
            _ => None,
        }
    }

    /// Seconds for a Retry-After header.
    #[must_use]
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Overloaded { retry_after } | Self::Full { retry_after } => Some(*retry_after),
            Self::Draining => Some(1),
            Self::Unkept(_) => Some(5),
            _ => None,
        }
    }

    /// One line for a person.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Bad(what)
            | Self::NotFound(what)
            | Self::TooLarge(what)
            | Self::MediaType(what)
            | Self::Unkept(what)
            | Self::Failed(what) => what.clone(),
            Self::Unauthenticated { given: false } => {
                "there is no token; send one in the header Authorization: Bearer TOKEN".to_owned()
            }
            Self::Unauthenticated { given: true } => {
                "the token is not known here, has expired or was revoked; make one with `headrace tokens create`"
                    .to_owned()
            }
            Self::Forbidden(permission) => format!("the token does not have the scope {}", permission.name()),
            Self::Method(allowed) => format!("this route answers {allowed} only"),
            Self::Host => {
                "the Host header names another machine than this one: ask for localhost or an address, or let the \
                 server have tokens, with which it answers to any name"
                    .to_owned()
            }
            Self::Slow => "the body did not arrive in time".to_owned(),
            Self::Overloaded { retry_after } => {
                format!("more requests wait than the server can answer in time; try again in {retry_after} s")
            }
            Self::Full { retry_after } => {
                format!("the server holds as many bytes of requests as it may; try again in {retry_after} s")
            }
            Self::Draining => "the server is about to stop".to_owned(),
            Self::Expired(limit) => format!("the request waited longer than its deadline of {} ms", limit.as_millis()),
        }
    }
}

/// Why requests were refused, as counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Not understood.
    Bad,
    /// No token, or none that counts.
    Unauthenticated,
    /// A token for something else.
    Forbidden,
    /// No such route, method or model.
    NotFound,
    /// Too many bytes or rows.
    TooLarge,
    /// The queue is full, or the deadline could not be met.
    Overloaded,
    /// The server stops.
    Draining,
    /// The deadline passed.
    Expired,
    /// The model failed.
    Failed,
}

impl Reason {
    /// All of them, in order.
    pub const ALL: [Self; 9] = [
        Self::Bad,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::TooLarge,
        Self::Overloaded,
        Self::Draining,
        Self::Expired,
        Self::Failed,
    ];

    /// The label's value.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bad => "bad_request",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::TooLarge => "too_large",
            Self::Overloaded => "overloaded",
            Self::Draining => "draining",
            Self::Expired => "expired",
            Self::Failed => "failed",
        }
    }
}
