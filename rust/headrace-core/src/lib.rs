//! What the numbers of headrace mean.
//!
//! Pure Rust over Arrow arrays: no Python, no threads of its own beyond those a caller asks for, no I/O. The binding
//! crate `headrace-py` converts, releases the interpreter, calls and wraps; whatever can be tested without Python
//! lives here.
//!
//! One noun a file:
//! - [`detect`]: change detectors that read one value after the other.
//! - [`drift`]: has a distribution changed, by how much, and how sure is that.
//! - [`hash`]: the content hash of a frame.
//! - [`hasher`]: rows of a frame as rows of hashed features.
//! - [`murmur`]: the hash of features.
//! - [`profile`]: what a reference looked like, and what was counted on its bins since.
//! - [`plan`]: the feature plan, from raw rows to what a model takes.
//! - [`sparse`]: rows with few values other than zero.
//! - [`text`]: texts as rows of hashed tokens.
//! - [`value`]: how a value is written where values are compared as text.
//! - [`error`]: everything that can go wrong, in one enum.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

#[cfg(not(target_endian = "little"))]
compile_error!(
    "headrace hashes Arrow buffers as they lie in memory, and its hashes are defined on little-endian values"
);

pub mod detect;
pub mod drift;
pub mod error;
pub mod hash;
pub mod hasher;
pub mod murmur;
pub mod plan;
pub mod profile;
pub mod sparse;
pub mod text;
pub mod value;

pub use error::{Error, Result};
