//! The integration tests of headrace-core, one module a noun, in one binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets what it did not expect should stop"
)]

mod hash;
mod hasher;
mod plan;
mod profile;
mod text;
