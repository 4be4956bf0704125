"""`split: group`: all rows of a customer, patient or machine in one part."""

from __future__ import annotations

from pydantic import Field, model_validator

from headrace import Dataset, StageContext
from headrace.builtins.split.parts import Split, SplitConfig, column_of, finish, labelled
from headrace.errors import DataError


class GroupSplitConfig(SplitConfig):
    """What a group is, and how large the parts are."""

    by: tuple[str, ...] = Field(default=(), description="Columns that make a group. Default: the project's id_columns.")
    valid: float = Field(
        default=0.15, gt=0, lt=1, description="Share of the rows for choosing (early stopping, tuning)."
    )
    test: float = Field(default=0.2, gt=0, lt=1, description="Share of the rows for the final judgement.")
    stable: bool = Field(
        default=False,
        description="A group's part follows from its key alone, so that groups that are added later move none; the "
        "shares are then met only about.",
    )

    @model_validator(mode="after")
    def _room_for_training(self) -> GroupSplitConfig:
        if self.valid + self.test >= 1:
            raise ValueError(f"valid + test is {self.valid + self.test:g}, which leaves nothing to train on")
        return self


class GroupSplit:
    """Groups in an order of chance, each to the part that lacks most of its share of rows; or by their key alone."""

    Config = GroupSplitConfig

    def __init__(self, config: GroupSplitConfig) -> None:
        self.config = config

    def run(self, ctx: StageContext, data: Dataset) -> Split:
        import numpy as np

        from headrace.builtins.split import chance

        config = self.config
        columns = config.by or config.id_columns
        if not columns:
            raise DataError(
                "a split by group needs columns that make a group",
                place="headrace.toml",
                hint='Set `by = ["..."]`, or `id_columns` in [project].',
            )
        labels = labelled(data, config, ctx)
        for name in columns:
            column = column_of(labels.frame, name, "by")
            if column.null_count():
                rows = ", ".join(str(i) for i in column.is_null().arg_true().head(5))
                raise DataError(
                    f"{column.null_count()} rows have no {name!r} (counted from 0: {rows}, ...), so no group",
                    place=f"column {name!r}",
                    hint="Fill them, or quarantine them by an expectation.",
                )
        number = chance.by_key(labels.frame, columns, ctx.seed)
        groups, group_of, sizes = np.unique(number, return_inverse=True, return_counts=True)
        named = ", ".join(columns)
        if len(groups) < 3:
            raise DataError(
                f"{len(groups)} groups by {named} are too few for three parts",
                hint="Group by a finer column, or use the random split.",
            )
        if config.stable:
            part_of = np.zeros(len(groups), dtype=np.int8)
            part_of[chance.below(groups, config.valid + config.test)] = 1
            part_of[chance.below(groups, config.test)] = 2
        else:
            shares = (1 - config.valid - config.test, config.valid, config.test)
            part_of = np.asarray(fill(sizes.tolist(), shares), dtype=np.int8)
        advice = f"There are {len(groups)} groups by {named}, the largest of {int(sizes.max())} rows: " + (
            "leave out `stable`, or group by a finer column." if config.stable else "group by a finer column."
        )
        return finish(
            labels, part_of[group_of], config, ctx, method=f"by group ({named}), seed {ctx.seed}", advice=advice
        )


def fill(sizes: list[int], shares: tuple[float, float, float]) -> list[int]:
    """A part (0, 1, 2) for each group, given its size, in the order of the list.

    Each group goes to the part that lacks most of its share of all rows; the last groups go to parts that are still
    empty, so that every part has one where there are three groups.
    """
    rows = sum(sizes)
    lacking = [share * rows for share in shares]
    held = [0, 0, 0]
    parts = []
    for i, size in enumerate(sizes):
        empty = [p for p in range(3) if not held[p]]
        choice = empty if len(sizes) - i <= len(empty) else range(3)
        best = max(choice, key=lambda p: (lacking[p], -p))
        parts.append(best)
        held[best] += 1
        lacking[best] -= size
    return parts
