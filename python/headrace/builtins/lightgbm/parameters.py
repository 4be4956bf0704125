"""Which parameters of LightGBM a project may set, under which name, and where.

A closed list: what is not here either has a key of its own in the stage's config, is set by headrace, names a file or a
machine, or makes a model that cannot be exported exactly.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Final

from headrace import errors

__all__ = ["ALIASES", "EXTRA", "RESERVED", "check"]

EXTRA: Final = frozenset({
    "alpha", "bin_construct_sample_cnt", "boost_from_average", "cegb_penalty_split", "cegb_tradeoff",
    "data_sample_strategy", "drop_rate", "enable_bundle", "extra_trees", "fair_c",
    "feature_fraction_bynode", "feature_pre_filter", "histogram_pool_size", "is_enable_sparse", "is_unbalance",
    "max_delta_step", "max_drop", "min_sum_hessian_in_leaf", "monotone_constraints_method", "monotone_penalty",
    "neg_bagging_fraction", "num_grad_quant_bins", "other_rate", "path_smooth", "poisson_max_delta_step",
    "pos_bagging_fraction", "quant_train_renew_leaf", "reg_sqrt", "scale_pos_weight", "sigmoid", "skip_drop",
    "stochastic_rounding", "top_rate", "tweedie_variance_power", "uniform_drop", "use_missing", "use_quantized_grad",
    "xgboost_dart_mode", "zero_as_missing",
})  # fmt: skip
"""What `params` may hold, under LightGBM's own names."""

RESERVED: Final = {
    "bagging_seed": "follows from `seed`",
    "categorical_feature": "follows from the feature plan; see `categorical`",
    "data_random_seed": "follows from `seed`",
    "deterministic": "is always true",
    "device_type": "is the CPU, on which results are the same from run to run",
    "drop_seed": "follows from `seed`",
    "extra_seed": "follows from `seed`",
    "feature_fraction_seed": "follows from `seed`",
    "force_col_wise": "is chosen by the shape of the data, so that results do not depend on a timing",
    "force_row_wise": "is chosen by the shape of the data, so that results do not depend on a timing",
    "linear_tree": "makes models that cannot be exported to ONNX exactly",
    "num_class": "follows from the classes of the target",
    "num_threads": "is what the run gives to the stage",
    "objective_seed": "follows from `seed`",
    "verbosity": "is off; progress is shown by the run",
}
"""What headrace sets itself, and why."""

_OTHER_NAMES: Final = {
    "bagging_fraction": "bagging sub_row subsample",
    "bagging_freq": "subsample_freq",
    "bagging_seed": "bagging_fraction_seed",
    "bin_construct_sample_cnt": "subsample_for_bin",
    "boosting": "boost boosting_type",
    "categorical_feature": "cat_column cat_feature categorical_column categorical_features",
    "data_random_seed": "data_seed",
    "device_type": "device",
    "drop_rate": "rate_drop",
    "early_stopping_rounds": "early_stopping early_stopping_round n_iter_no_change",
    "enable_bundle": "bundle is_enable_bundle",
    "extra_trees": "extra_tree",
    "feature_fraction": "colsample_bytree sub_feature",
    "feature_fraction_bynode": "colsample_bynode sub_feature_bynode",
    "histogram_pool_size": "hist_pool_size",
    "is_enable_sparse": "enable_sparse is_sparse sparse",
    "is_unbalance": "unbalance unbalanced_sets",
    "lambda_l1": "l1_regularization reg_alpha",
    "lambda_l2": "l2_regularization lambda reg_lambda",
    "learning_rate": "eta shrinkage_rate",
    "linear_tree": "linear_trees",
    "max_bin": "max_bins",
    "max_delta_step": "max_leaf_output max_tree_output",
    "metric": "metric_types metrics",
    "min_data_in_leaf": "min_child_samples min_data min_data_per_leaf min_samples_leaf",
    "min_gain_to_split": "min_split_gain",
    "min_sum_hessian_in_leaf": "min_child_weight min_hessian min_sum_hessian min_sum_hessian_per_leaf",
    "monotone_constraints": "mc monotone_constraint monotonic_cst",
    "monotone_constraints_method": "mc_method monotone_constraining_method",
    "monotone_penalty": "mc_penalty monotone_splits_penalty ms_penalty",
    "n_estimators": "max_iter n_iter nrounds num_boost_round num_iteration "
    "num_iterations num_round num_rounds num_tree num_trees",
    "neg_bagging_fraction": "neg_bagging neg_sub_row neg_subsample",
    "num_class": "num_classes",
    "num_leaves": "max_leaf max_leaf_nodes max_leaves num_leaf",
    "num_threads": "n_jobs nthread nthreads num_thread",
    "objective": "app application loss objective_type",
    "pos_bagging_fraction": "pos_bagging pos_sub_row pos_subsample",
    "seed": "random_seed random_state",
    "verbosity": "verbose",
}
ALIASES: Final = {alias: name for name, aliases in _OTHER_NAMES.items() for alias in aliases.split()}
"""Other names that LightGBM knows -> the name that is used here."""


def check(params: Mapping[str, object], own_keys: frozenset[str], *, place: str) -> None:
    """Refuse what may not stand in `params`, saying where it belongs or what was meant.

    `own_keys` are the parameters that have a key of their own in the stage's config.
    """
    for key in params:
        if key in EXTRA:
            continue
        name = ALIASES.get(key, key)
        if name in RESERVED:
            raise errors.ConfigError(f"LightGBM's {key!r} cannot be set: it {RESERVED[name]}", place=place)
        if name in own_keys:
            hint = f"Set `{name}` in the stage's own table."
            raise errors.ConfigError(f"{key!r} has a key of its own, `{name}`", place=place, hint=hint)
        if name in EXTRA:
            raise errors.ConfigError(
                f"{key!r} is another name of {name!r}",
                place=place,
                hint=f"Write `{name}`, so that one thing has one name.",
            )
        near = difflib.get_close_matches(key, [*EXTRA, *own_keys, *ALIASES], n=1, cutoff=0.6)
        meant = ALIASES.get(near[0], near[0]) if near else None
        raise errors.ConfigError(
            f"LightGBM has no training parameter {key!r}",
            place=place,
            hint=f"Did you mean {meant!r}?" if meant else f"Known: {', '.join(sorted(EXTRA))}.",
        )
