//! The extension module `headrace._core`: how Python reaches `headrace-core` and `headrace-serve`.
//!
//! Convert, detach, call, wrap; no logic. Only `headrace.compute` imports it.

#[allow(dead_code, reason = "it is here before those who use it")]
mod array;
mod detect;
mod drift;
mod error;
mod frame;
mod hash;
mod hasher;
mod plan;
mod profile;
mod serve;
mod text;
mod wide;

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
mod _core {
    #[pymodule_export]
    use super::detect::Detector;
    #[pymodule_export]
    use super::drift::{drift_compare, drift_compare_counts, drift_counts, drift_ks_bounds, drift_samples};
    #[pymodule_export]
    use super::hash::frame_digest;
    #[pymodule_export]
    use super::hasher::{FeatureCensus, FeatureHasher, murmur3_column};
    #[pymodule_export]
    use super::plan::{Plan, plan_fingerprint};
    #[pymodule_export]
    use super::profile::{Profile, Window};
    #[pymodule_export]
    use super::serve::{PyServedVersion, PyServer};
    #[pymodule_export]
    use super::text::{TextVectorizer, check_utf8, english_stop_words, text_unicode_version};
}
