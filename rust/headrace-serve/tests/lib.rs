//! The server without ONNX Runtime: what is scheduled, read, routed and refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod catalogue;
mod fake;
mod gate;
mod independence;
mod json;
mod pace;
mod routes;
mod scheduler;
mod shadow;
mod shares;
mod split;
mod tensor;
mod vigil;
