"""The feature plan: fitted on training rows, kept as JSON, executed alike in training and in prediction.

`document` says what a plan is, `fit` makes one, `execute` runs one; the next home of `execute` is the Rust core, which
needs nothing but the document.
"""

from headrace.compute.plan.feature_plan import FeaturePlan
from headrace.compute.plan.target import infer_task

__all__ = ["FeaturePlan", "infer_task"]
