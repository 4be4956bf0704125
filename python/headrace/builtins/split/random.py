"""`split: random`: by chance, stratified by class, or by a key."""

from __future__ import annotations

from pydantic import Field, model_validator

from headrace import Dataset, StageContext
from headrace.builtins.split.parts import Split, SplitConfig, class_codes, column_of, finish, labelled
from headrace.errors import DataError


class RandomSplitConfig(SplitConfig):
    """How large the parts are, and what chance depends on."""

    valid: float = Field(
        default=0.15, gt=0, lt=1, description="Share of the rows for choosing (early stopping, tuning)."
    )
    test: float = Field(default=0.2, gt=0, lt=1, description="Share of the rows for the final judgement.")
    stratify: bool | None = Field(
        default=None, description="Keep the shares of the classes in each part. Default: yes for classification."
    )
    key: tuple[str, ...] = Field(
        default=(),
        description="Columns that decide a row's part, whatever other rows there are: rows that are added later move "
        "none. The shares are then met only about, and classes are not balanced.",
    )

    @model_validator(mode="after")
    def _room_for_training(self) -> RandomSplitConfig:
        if self.valid + self.test >= 1:
            raise ValueError(f"valid + test is {self.valid + self.test:g}, which leaves nothing to train on")
        if self.key and self.stratify:
            raise ValueError("`stratify` and `key` exclude each other: a key decides without looking at other rows")
        return self


class RandomSplit:
    """Each row's part follows from its position and the run's seed, or from `key` and the seed."""

    Config = RandomSplitConfig

    def __init__(self, config: RandomSplitConfig) -> None:
        self.config = config

    def run(self, ctx: StageContext, data: Dataset) -> Split:
        import numpy as np

        from headrace.builtins.split import chance

        config = self.config
        labels = labelled(data, config, ctx)
        shares = (1 - config.valid - config.test, config.valid, config.test)
        rows = labels.frame.height
        part = np.zeros(rows, dtype=np.int8)
        if config.key:
            for name in config.key:
                column_of(labels.frame, name, "key")
            number = chance.by_key(labels.frame, config.key, ctx.seed)
            part[chance.below(number, config.valid + config.test)] = 1
            part[chance.below(number, config.test)] = 2
            method = f"by the key {', '.join(config.key)}"
        else:
            order = np.argsort(chance.by_position(rows, ctx.seed, "random"))
            stratify = config.stratify if config.stratify is not None else labels.classes is not None
            if stratify and (labels.classes is None or config.target is None):
                raise DataError(
                    "`stratify` needs a target with classes",
                    hint="Set `target` and a classification `task`, or remove `stratify`.",
                )
            codes = np.zeros(rows, dtype=np.int64)
            if stratify and config.target is not None:
                codes = class_codes(labels, config.target)
            for code in np.unique(codes):
                several = order[codes[order] == code]
                sizes = chance.counts(len(several), shares)
                part[several[: sizes[2]]] = 2
                part[several[sizes[2] : sizes[2] + sizes[1]]] = 1
            method = "at random" + (f", stratified by {config.target}" if stratify else "")
        advice = "Bring more rows, or choose larger shares (`valid`, `test`)" + (
            "; a key with few different values fills parts unevenly." if config.key else "."
        )
        return finish(labels, part, config, ctx, method=f"{method}, seed {ctx.seed}", advice=advice)
