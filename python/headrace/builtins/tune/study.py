"""The search: trials one after the other, each proposed from the finished ones and the seed alone."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import optuna
import polars as pl
from pydantic import ValidationError

from headrace import Dataset, FeaturePlan, Params, StageContext, errors
from headrace.builtins.tune.trial import Finished, Journal, Pruned, Scored, TrialContext

if TYPE_CHECKING:
    from headrace.builtins.tune.optuna import Dimension, OptunaTuner

    _Config: TypeAlias = OptunaTuner.Config

__all__ = ["Search"]

Direction: TypeAlias = Literal["minimize", "maximize"]

_MAXIMISED: Final = frozenset({"auc", "auc_mu", "average_precision"})
_STARTUP_TRIALS: Final = 5
_WARMUP_STEPS: Final = 50
"""Rounds before which no trial is pruned: a small learning rate is behind at first, and not worse for it."""


@dataclass(frozen=True)
class _Part:
    """Rows to train on and rows to score on."""

    train: Dataset
    valid: Dataset


class Search:
    """One search: see `OptunaTuner.run`."""

    def __init__(self, ctx: StageContext, config: _Config, trainer: Any, plan: FeaturePlan) -> None:
        self.ctx = ctx
        self.config = config
        self.trainer = trainer
        self.plan = plan
        self.place = f"stage {ctx.stage}"
        self.seed = ctx.seed if config.seed is None else config.seed
        self.distributions = {name: _distribution(range_) for name, range_ in sorted(config.space.items())}
        self.settings = self._trainer_config()
        self._check_space()

    def run(self, train: Dataset, valid: Dataset) -> Params:
        """All trials, from the first that is not kept yet."""
        ctx, config = self.ctx, self.config
        parts = self._parts(train, valid)
        journal = Journal(ctx.workdir / "trials.jsonl")
        finished = journal.read()[: config.n_trials]
        if finished:
            ctx.log(f"going on after {len(finished)} trials of a run that was interrupted")
        for index in range(len(finished)):
            self._tell(finished[: index + 1])
        started = time.monotonic()
        ended_by = "n_trials"
        while len(finished) < config.n_trials:
            ctx.check_cancelled()
            ctx.progress(len(finished), config.n_trials)
            if config.max_seconds is not None and finished and time.monotonic() - started > config.max_seconds:
                ended_by = "max_seconds"
                break
            finished.append(self._next(parts, finished))
            journal.add(finished[-1])
            self._tell(finished)
        ctx.progress(config.n_trials, config.n_trials)
        return self._result(finished, ended_by)

    # --- one trial ---------------------------------------------------------------------------------------------------

    def _next(self, parts: Sequence[_Part], finished: Sequence[Finished]) -> Finished:
        if not finished:
            return self._trial(parts, self._first(), None)
        # Made anew each time: what it proposes then depends on the finished trials and the seed alone, whether or not
        # the process was the same all along.
        warmup = 0 if self.config.folds else _WARMUP_STEPS
        study = _study(self._direction(finished), _pruner(self.config.pruner, warmup))
        for trial in finished:
            study.add_trial(_frozen(trial, self.distributions))
        # Not the running trials: there are none, and a constant liar would look at the clock of this one.
        study.sampler = optuna.samplers.TPESampler(seed=self._seed_of(len(finished)), constant_liar=False)
        asked = study.ask(dict(self.distributions))
        return self._trial(parts, asked.params, asked)

    def _first(self) -> dict[str, Any]:
        """The trainer's defaults, or what is nearest to them in the space; the trainer sets what is not here."""
        fields = self.trainer.Config.model_fields
        defaults = {name: fields[name].default for name in self.distributions if name in fields}
        return {
            name: _nearest(self.distributions[name], value) for name, value in defaults.items() if value is not None
        }

    def _trial(self, parts: Sequence[_Part], params: Mapping[str, Any], asked: optuna.Trial | None) -> Finished:
        steps: dict[str, float] = {}
        metrics: list[str] = []
        values: list[float] = []

        def report(value: float, step: int) -> None:
            steps[str(step)] = value
            if asked is not None:
                asked.report(value, step)
                if asked.should_prune():
                    raise Pruned

        def listen(name: str, value: float, step: int) -> None:
            metrics.append(name)
            if len(parts) == 1:
                report(value, step)

        context = TrialContext(self.ctx, listen)
        try:
            for fold, part in enumerate(parts):
                score = self._score(context, part, params)
                metrics.append(score.name)
                values.append(score.value)
                if len(parts) > 1:
                    report(float(np.mean(values)), fold)
        except Pruned:
            return Finished(params, metrics[-1], None, steps)
        return Finished(params, metrics[-1], float(np.mean(values)), steps)

    def _score(self, context: TrialContext, part: _Part, params: Mapping[str, Any]) -> Scored:
        self.ctx.check_cancelled()
        try:
            self.trainer(self.settings).run(context, self.plan, part.train, part.valid, Params(values=dict(params)))
        except Scored as score:
            return score
        raise errors.PluginError(
            f"{self.trainer.__name__} reported no score: it must call ctx.metric('valid.<name>', value)",
            place=self.place,
            hint="A score that is not finite is not reported; look at the parameters in `space`.",
        )

    # --- what is asked and told --------------------------------------------------------------------------------------

    def _trainer_config(self) -> Any:
        try:
            return self.trainer.Config.model_validate(dict(self.config.fixed))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise errors.ConfigError(
                f"`fixed` does not fit {self.trainer.__name__}: {where}: {first['msg']}",
                place=self.place,
                hint=f"`headrace plugins show train:{self.config.trainer}` explains its keys.",
            ) from error

    def _check_space(self) -> None:
        """Ends of ranges and choices must be values that the trainer takes; of other names the trainer judges."""
        for name, range_ in self.config.space.items():
            if name not in self.trainer.Config.model_fields:
                continue
            for value in range_.choices if range_.type == "categorical" else (range_.low, range_.high):
                try:
                    self.trainer.Config.model_validate({**self.config.fixed, name: value})
                except ValidationError as error:
                    message = error.errors(include_url=False)[0]["msg"]
                    raise errors.ConfigError(
                        f"`space.{name}` holds {value!r}, which {self.trainer.__name__} does not take: {message}",
                        place=self.place,
                        hint=f"`headrace plugins show train:{self.config.trainer}` explains its keys.",
                    ) from error

    def _direction(self, finished: Sequence[Finished]) -> Direction:
        if self.config.direction is not None:
            return self.config.direction
        return "maximize" if finished[0].metric.removeprefix("valid.") in _MAXIMISED else "minimize"

    def _best(self, finished: Sequence[Finished]) -> tuple[int, float]:
        """Number and value of the best trial, of equal ones the first. The very first is never pruned."""
        sign = -1 if self._direction(finished) == "maximize" else 1
        values = [(sign * trial.value, index) for index, trial in enumerate(finished) if trial.value is not None]
        value, index = min(values)
        return index, sign * value

    def _tell(self, finished: Sequence[Finished]) -> None:
        index, trial = len(finished) - 1, finished[-1]
        best, best_value = self._best(finished)
        if trial.value is not None:
            self.ctx.metric("tune.value", trial.value, step=index)
        self.ctx.metric("tune.best", best_value, step=index)
        params = ", ".join(
            f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
            for name, value in sorted(trial.params.items())
        )
        score = "pruned" if trial.value is None else f"{trial.metric} {trial.value:.6g}"
        self.ctx.log(f"trial {index}: {score}{' (best so far)' if best == index else ''}: {params}")

    def _result(self, finished: Sequence[Finished], ended_by: str) -> Params:
        best, value = self._best(finished)
        self.ctx.metric("tune.best", value)
        self.ctx.log(f"best of {len(finished)} trials is number {best}: {finished[best].metric} {value:.6g}")
        return Params(
            values={**self.config.fixed, **finished[best].params},
            study={
                "optuna": optuna.__version__,
                "sampler": "tpe",
                "pruner": self.config.pruner,
                "seed": self.seed,
                "trainer": self.config.trainer,
                "folds": self.config.folds,
                "metric": finished[0].metric,
                "direction": self._direction(finished),
                "best": best,
                "best_value": value,
                "default_value": finished[0].value,
                "ended_by": ended_by,
                "space": {name: range_.model_dump(mode="json") for name, range_ in sorted(self.config.space.items())},
                "trials": [
                    {"params": dict(t.params), "value": t.value, "pruned": t.value is None, "steps": len(t.steps)}
                    for t in finished
                ],
            },
        )

    # --- rows and chance ---------------------------------------------------------------------------------------------

    def _parts(self, train: Dataset, valid: Dataset) -> list[_Part]:
        folds = self.config.folds
        if not folds:
            if not valid.num_rows:
                raise errors.DataError(
                    "there are no validation rows to score trials on",
                    place=self.place,
                    hint="Give some rows to validation in the split, or set `folds`.",
                )
            return [_Part(train, valid)]
        rows = pl.concat([train.frame(), valid.frame()])
        if rows.height < 2 * folds:
            raise errors.DataError(f"{rows.height} rows are too few for {folds} folds", place=self.place)
        fold = self._folds(rows)
        return [
            _Part(Dataset.from_frame(rows.filter(fold != k)), Dataset.from_frame(rows.filter(fold == k)))
            for k in range(folds)
        ]

    def _folds(self, rows: pl.DataFrame) -> npt.NDArray[np.intp]:
        """A fold for each row: at random, for classification with the classes spread evenly."""
        order = np.random.default_rng(self.seed).permutation(rows.height)
        if self.plan.classes:
            order = order[np.argsort(rows[self.plan.target].to_numpy()[order], kind="stable")]
        fold = np.empty(rows.height, dtype=np.intp)
        fold[order] = np.arange(rows.height) % self.config.folds
        return fold

    def _seed_of(self, index: int) -> int:
        """Of trial `index`: a sampler's random state would not outlive the process, a number does."""
        return int(np.random.SeedSequence([self.seed, index]).generate_state(1)[0])


# --- Optuna -----------------------------------------------------------------------------------------------------------


def _study(direction: Direction, pruner: optuna.pruners.BasePruner) -> optuna.Study:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it greets each study
    try:
        return optuna.create_study(study_name="headrace", direction=direction, pruner=pruner)
    finally:
        optuna.logging.set_verbosity(verbosity)


def _frozen(
    trial: Finished, distributions: Mapping[str, optuna.distributions.BaseDistribution]
) -> optuna.trial.FrozenTrial:
    states = optuna.trial.TrialState
    return optuna.trial.create_trial(
        params=dict(trial.params),
        distributions={name: distributions[name] for name in trial.params},
        value=trial.value,
        state=states.PRUNED if trial.value is None else states.COMPLETE,
        intermediate_values={int(step): value for step, value in trial.steps.items()},
    )


def _pruner(name: str, warmup: int) -> optuna.pruners.BasePruner:
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=_STARTUP_TRIALS, n_warmup_steps=warmup)
    return optuna.pruners.HyperbandPruner() if name == "hyperband" else optuna.pruners.NopPruner()


def _distribution(dimension: Dimension) -> optuna.distributions.BaseDistribution:
    if dimension.type == "categorical":
        return optuna.distributions.CategoricalDistribution(dimension.choices)
    if dimension.type == "int":
        return optuna.distributions.IntDistribution(dimension.low, dimension.high, log=dimension.log)
    return optuna.distributions.FloatDistribution(dimension.low, dimension.high, log=dimension.type == "log")


def _nearest(distribution: optuna.distributions.BaseDistribution, value: Any) -> Any:
    if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        return value if value in distribution.choices else distribution.choices[0]
    if isinstance(distribution, optuna.distributions.IntDistribution | optuna.distributions.FloatDistribution):
        return min(max(value, distribution.low), distribution.high)
    return value
