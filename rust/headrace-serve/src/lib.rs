//! The server of headrace: from a socket to a model and back, without Python.
//!
//! Socket, then accent (bytes to typed columns), then feature plan (columns to what the model takes), then scheduler
//! (joins what waits), then engine, and back. One noun a file:
//! - [`tensor`]: typed columns, how they are joined and split.
//! - [`engine`]: what computes; [`engine::onnx`] is ONNX Runtime.
//! - [`inputs`]: what a request became.
//! - [`scheduler`]: which requests are computed together, and which are refused.
//! - [`pace`]: how long so many rows take; [`shares`]: how models share what computes; [`gate`]: how fast refusals leave.
//! - [`model`]: a model as clients see it: columns in, columns out.
//! - [`probe`]: rows that are made up; [`independence`]: whether a model's rows depend on each other.
//! - [`catalogue`]: endpoints, the versions behind each, and how one follows another without a gap.
//! - [`split`]: how requests are shared out between versions.
//! - [`shadow`]: versions that are only tried, and compared.
//! - [`seat`]: an engine at work for a version.
//! - [`accents`]: the protocols, and what they say when something is wrong.
//! - [`routes`]: which path leads where, and what it takes to be let in.
//! - [`tokens`]: who is let in where.
//! - [`alias`]: paths that platforms name.
//! - [`bulk`]: tables of many rows, piece by piece.
//! - [`body`], [`predictions`]: what a request for predictions is written in, and its answer.
//! - [`identity`]: what a request is called.
//! - `watched`, [`tap`], `recorder`: who looks at what was predicted; [`live`] windows, and the log's [`segments`].
//! - [`subject`]: what is watched of a version.
//! - [`feedback`]: labels that clients send back.
//! - [`call`]: gRPC, beside HTTP on the same port.
//! - [`http`], [`connection`], [`server`]: connections, limits, start and end.
//! - [`vigil`]: for whom a worker stays awake.
//! - [`budget`], `patient`, `activity`: what all may hold together, and clients that do not read or do not ask.
//! - [`metrics`]: what Prometheus reads.
//! - [`error`]: everything that keeps a server from starting, and everything that a request can be told.

pub mod accents;
mod activity;
pub mod alias;
pub mod body;
pub mod budget;
pub mod bulk;
pub mod call;
pub mod catalogue;
mod columns;
pub mod connection;
mod deadline;
pub mod engine;
pub mod error;
pub mod feedback;
pub mod gate;
pub mod golden;
pub mod http;
pub mod identity;
pub mod independence;
pub mod inputs;
pub mod json;
pub mod live;
pub mod metrics;
pub mod model;
pub mod pace;
mod patient;
pub mod predictions;
pub mod probe;
mod recorder;
pub mod routes;
pub mod scheduler;
pub mod seat;
pub mod segments;
pub mod server;
pub mod shadow;
pub mod shares;
pub mod split;
pub mod subject;
pub mod tap;
pub mod tensor;
pub mod tokens;
pub mod vigil;
mod watched;

pub use error::{Refusal, StartError};
