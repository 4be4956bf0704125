//! The server without ONNX Runtime: what is scheduled, read, routed and refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod catalogue;
mod fake;
mod json;
mod routes;
mod scheduler;
mod shadow;
mod split;
mod tensor;
