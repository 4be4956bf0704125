"""`FeaturePlan`: the fitted transformation from raw rows to model input, as an artifact."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from headrace.compute.mixed import is_pandas, naming_column
from headrace.compute.plan.config import FeatureConfig, parse_config
from headrace.compute.plan.document import TABLES, PlanDocument, parse_document
from headrace.compute.plan.encoding import cross_fitted, fold_of_rows
from headrace.compute.plan.execute import compile_plan, exportable
from headrace.compute.plan.fit import Fitted, fit
from headrace.compute.plan.read import checked_frame, column_of
from headrace.compute.plan.skew import explain, row_json
from headrace.compute.plan.target import class_text, decode_labels, encode_target, infer_task, labelled
from headrace.compute.plan.transforms import fit_transforms, sources_of, with_columns_given
from headrace.compute.sparse import csr
from headrace.errors import ConfigError, HeadraceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt
    import polars as pl

    from headrace import _core
    from headrace.compute.plan.config import ModelKind
    from headrace.compute.plan.document import Transform
    from headrace.types import (
        JSON,
        ArtifactReader,
        ArtifactWriter,
        BoundTransform,
        Skew,
        SupportsArrowStream,
        Task,
        TransformSource,
    )

    Row: TypeAlias = Mapping[str, Any] | str | bytes | SupportsArrowStream

ExtraColumns: TypeAlias = Literal["error", "ignore"]


class FeaturePlan:
    """A fitted transformation raw row -> model input. Immutable; made by `fit` or `from_document`.

    The same plan gives the same bits for a row, whether it comes alone, in a batch, chunked or sliced, and after a
    round trip through JSON. Two plans are equal if their fingerprints are.
    """

    type_name: ClassVar[str] = "feature-plan"
    Config: TypeAlias = FeatureConfig
    """What `[features]` may say, as a pydantic model."""
    __slots__ = ("_bound", "_compiled", "_plan")

    def __init__(
        self, plan: PlanDocument, bound: Sequence[BoundTransform] = (), compiled: _core.Plan | None = None
    ) -> None:
        self._plan = plan
        self._bound = tuple(bound)
        self._compiled = compiled if compiled is not None else compile_plan(plan)

    # --- making and keeping ------------------------------------------------------------------------------------------

    @classmethod
    def fit(
        cls,
        frame: SupportsArrowStream,
        *,
        target: str,
        task: Task,
        config: Mapping[str, JSON] | None = None,
        transforms: TransformSource | None = None,
    ) -> FeaturePlan:
        """Look at training rows and decide what each column becomes.

        The plan does not depend on the order of the rows. What `auto` chose, and why, is in `choices`.

        Parameters
        ----------
        frame
            The training rows, with the target and without missing labels (see `labelled`).
        target, task
            The column to predict, and what kind of prediction it is (see `infer_task`).
        config
            Keys of `FeaturePlan.Config`.
        transforms
            Where the transforms that `config` names are looked up.

        Raises
        ------
        ConfigError
            A key is unknown, a selector matches nothing, a column cannot be what `columns` says.
        DataError
            The target is absent, constant, has missing labels or does not fit the task; or no feature is left.

        """
        fitted, bound, _ = _fitted(frame, target, task, config, transforms)
        return cls(fitted.plan, bound)

    @classmethod
    def fit_transform(
        cls,
        frame: SupportsArrowStream,
        *,
        target: str,
        task: Task,
        config: Mapping[str, JSON] | None = None,
        transforms: TransformSource | None = None,
        seed: int = 0,
    ) -> tuple[FeaturePlan, pl.DataFrame]:
        """The plan that `fit` gives, and the training rows as a model should learn from them.

        They are what `transform` gives, but for target encodings: there a row has what the rows of the other folds say
        (`folds` in the config, drawn with `seed`, each class spread evenly), so that its own target is not among its
        features. With `transform` instead, a model would learn from the training rows what it will not find in others.

        Parameters and errors as for `fit`; the folds, and nothing else, depend on the order of the rows.
        """
        import polars as pl

        fitted, bound, rows = _fitted(frame, target, task, config, transforms)
        plan = cls(fitted.plan, bound)
        out = plan._compiled.matrix(exportable(rows, ()), order="F")
        columns = {name: pl.Series(out[:, index]) for index, name in enumerate(fitted.plan.outputs)}
        if fitted.encoded:
            folds = fold_of_rows(fitted.labels, fitted.folds, seed)
            for about in fitted.encoded:
                found = cross_fitted(about, fitted.labels, folds)
                columns |= {name: pl.Series(found[:, index]) for index, name in enumerate(about.step.outputs)}
        return plan, pl.DataFrame(columns)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> FeaturePlan:
        """From `document`, after checking all of it; `ModelFormatError` if it is newer, damaged or changed."""
        plan, compiled = parse_document(document)
        return cls(plan, compiled=compiled)

    def bind(self, transforms: TransformSource) -> FeaturePlan:
        """The same plan, able to compute the columns that only Python can; itself if it has none.

        Raises
        ------
        UnknownNameError, PluginError
            A transform is not installed here, or is broken.

        """
        if not self._plan.transforms:
            return self
        return FeaturePlan(self._plan, [_bound(about, transforms) for about in self._plan.transforms], self._compiled)

    @property
    def document(self) -> dict[str, Any]:
        """The whole plan as JSON values; a new copy each time."""
        return self._plan.as_json()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that the plan computes, as 64 hexadecimal digits."""
        return self._plan.fingerprint

    def save(self, to: ArtifactWriter) -> None:
        """As one JSON document."""
        to.json("document", self.document)

    @classmethod
    def load(cls, source: ArtifactReader) -> FeaturePlan:
        """What `save` wrote."""
        return cls.from_document(source.json("document"))

    # --- what it is ----------------------------------------------------------------------------------------------

    @property
    def inputs(self) -> dict[str, str]:
        """The columns that the plan reads: name -> type, such as `int64`, `string`, `datetime[us, UTC]`."""
        return {column.name: column.type for column in self._plan.inputs}

    @property
    def nullable(self) -> frozenset[str]:
        """The inputs that had missing values in training. Missing values are accepted in all of them."""
        return frozenset(column.name for column in self._plan.inputs if column.nullable)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in the order in which the model takes them."""
        return self._plan.outputs

    @property
    def sources(self) -> dict[str, tuple[str, ...]]:
        """The columns that each output is computed from: output -> `inputs`, in the order of `outputs`."""
        made = self._plan.transforms
        found: dict[str, tuple[str, ...]] = {}
        for step in self._plan.steps:
            read = tuple(dict.fromkeys(raw for name in step.reads for raw in sources_of(name, made)))
            found |= dict.fromkeys(step.gives, read)
        return found

    @property
    def transforms(self) -> tuple[dict[str, Any], ...]:
        """What Python computes before the steps: `use`, `distribution`, `version`, `config`, `reads`, `gives`, ..."""
        return tuple(transform.model_dump(mode="json") for transform in self._plan.transforms)

    @property
    def categorical(self) -> tuple[str, ...]:
        """The outputs that are category codes, not quantities."""
        return tuple(name for step in self._plan.steps if step.op in ("category", "bucket") for name in step.gives)

    @property
    def model_kind(self) -> ModelKind:
        """The kind of model that the features were chosen for: `trees` or `linear`."""
        return "linear" if self._plan.config.get("model_kind") == "linear" else "trees"

    @property
    def target(self) -> str:
        """The column to predict."""
        return self._plan.target.name

    @property
    def task(self) -> Task:
        """What kind of prediction it is."""
        return self._plan.target.task

    @property
    def classes(self) -> tuple[Any, ...]:
        """Labels by class index, sorted; empty for regression. Of a binary task the second is the positive one."""
        return self._plan.target.classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """`classes` as text, as they stand in column names: `false`, `true`, `3`, `setosa`."""
        return tuple(map(class_text, self.classes))

    @property
    def choices(self) -> tuple[dict[str, Any], ...]:
        """What became of each column of the training frame: `column`, `decision`, `reason`, `outputs`."""
        return tuple(choice.model_dump(mode="json") for choice in self._plan.choices)

    def provenance(self, output: str) -> dict[str, Any]:
        """Where an output comes from: the step without its tables; KeyError for a name that is no output."""
        for step in self._plan.steps:
            if output in step.gives:
                return step.model_dump(mode="json", exclude=set(TABLES))
        raise KeyError(output)

    # --- what it does --------------------------------------------------------------------------------------------

    def transform(self, frame: SupportsArrowStream, *, extra_columns: ExtraColumns = "error") -> pl.DataFrame:
        """Rows as the model takes them.

        Parameters
        ----------
        frame
            With the columns that the plan reads (`inputs`). Others that training had (the target, identifiers) may be
            there or not.
        extra_columns
            What becomes of a column that the plan neither reads nor saw in training: `"error"`, or `"ignore"`.

        Returns
        -------
        DataFrame
            Float32 columns named `outputs`, row order kept.

        Raises
        ------
        DataError
            A column is missing, extra or has a wrong type; names the column and the first row.

        """
        import polars as pl

        made, strict = self._prepared(frame, extra_columns)
        with naming_column(made):
            out = self._compiled.matrix(made, order="F", strict=strict)
        # A dict, because a list of series would rename a column whose name is empty.
        return pl.DataFrame({name: out[:, index] for index, name in enumerate(self.outputs)})

    def matrix(self, frame: SupportsArrowStream, *, extra_columns: ExtraColumns = "error") -> npt.NDArray[np.float32]:
        """What `transform` gives, as float32 [rows, outputs], row-major."""
        made, strict = self._prepared(frame, extra_columns)
        with naming_column(made):
            return self._compiled.matrix(made, strict=strict)

    def sparse(self, frame: SupportsArrowStream, *, extra_columns: ExtraColumns = "error") -> Any:
        """What `transform` gives, as scipy's CSR of float32 [rows, outputs]: zeros are left out, NaN is kept."""
        made, strict = self._prepared(frame, extra_columns)
        with naming_column(made):
            return csr(self._compiled.sparse(made, strict=strict), len(self.outputs))

    def row(
        self, row: Mapping[str, Any] | str | bytes, *, extra_columns: ExtraColumns = "error"
    ) -> npt.NDArray[np.float32]:
        """One row as the model takes it, float32 [outputs]: the bits that the row has in a frame.

        `row` is a JSON object (dates and times as ISO 8601, durations in seconds), or a mapping of Python values;
        `extra_columns` is about its keys, as for `transform`.
        """
        strict = _refuses(extra_columns)
        if self._plan.transforms:
            raise ConfigError(
                f"it needs columns that only Python computes ({self._plan.transforms[0].use}), so it takes frames",
                place="feature plan",
                hint="Call `matrix` with a frame of one row.",
            )
        if isinstance(row, str):
            row = row.encode()
        if isinstance(row, Mapping):
            # What nothing reads need not have a form in JSON; only its name matters.
            names = {column.name for column in self._plan.inputs}
            row = {name: value if str(name) in names else None for name, value in row.items()}
        return self._compiled.row(row if isinstance(row, bytes) else row_json(row), strict=strict)

    def _prepared(self, frame: SupportsArrowStream, extra_columns: ExtraColumns) -> tuple[SupportsArrowStream, bool]:
        """The frame with the columns that Python gives, and whether its columns are still to be looked at."""
        strict = _refuses(extra_columns)
        made = self._plan.transforms
        if len(self._bound) != len(made):
            raise ConfigError(
                f"the plan needs {', '.join(about.use for about in made)} of {made[0].distribution}, and was not told "
                "where to find it",
                place="feature plan",
                hint="Predict through the project (`headrace.Project(...).predict`), or call `plan.bind(...)` first.",
            )
        if strict and is_pandas(frame):
            # By its own names: as an Arrow frame its index would be a column too, and some of the columns left out.
            self._compiled.check_columns([str(name) for name in getattr(frame, "columns", ())])
            strict = False
        if made:
            frame = with_columns_given(checked_frame(frame), made, self._bound)
        given = (column.name for about in made for column in about.gives)
        return exportable(frame, [*self.inputs, *given]), strict

    def explain_skew(self, training_row: Row, serving_row: Row) -> Skew:
        """Why two rows that should be the same are not the same to the plan: which column, how, and what it changes.

        Compared are the columns that the plan reads, in the meaning that the plan gives them: `1` and `1.0` in a column
        of numbers are the same, `"1"` and `"1.0"` in a column of text are not.

        Parameters
        ----------
        training_row, serving_row
            A mapping of column names to Python values, a JSON object as text or bytes (dates and times as ISO 8601,
            durations in seconds), or a frame of one row.

        Returns
        -------
        Skew
            False if both rows mean the same; `print` shows a line for each column.

        Raises
        ------
        DataError
            A row cannot be read as one, the training row has a value that the plan refuses, or neither row has a column
            that the plan reads.

        """
        return explain(self, self._plan.inputs, self._plan.steps, training_row, serving_row)

    def encode_target(self, frame: SupportsArrowStream, *, strict: bool = True) -> pl.Series:
        """The target as class index (Int32), or for regression as Float64, under its own name.

        A missing label, or one that is no class of training, is a `DataError` that names the row; with
        `strict=False` it becomes null.
        """
        return encode_target(column_of(checked_frame(frame), self.target), self._plan.target, strict=strict)

    def decode_labels(self, indices: npt.NDArray[np.intp], *, name: str = "prediction") -> pl.Series:
        """Class indices as labels, in the type that the target had in training."""
        return decode_labels(indices, self._plan.target, name)

    @staticmethod
    def infer_task(frame: SupportsArrowStream, target: str) -> Task:
        """The task that a target asks for; see `headrace.compute.plan.infer_task`."""
        return infer_task(column_of(checked_frame(frame), target))

    @staticmethod
    def labelled(frame: SupportsArrowStream, target: str) -> pl.DataFrame:
        """The rows that have a label: neither null nor NaN in `target`."""
        made = checked_frame(frame)
        column_of(made, target)
        return labelled(made, target)

    # --- itself --------------------------------------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FeaturePlan) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        return (
            f"FeaturePlan({len(self._plan.inputs)} columns -> {len(self.outputs)} features, "
            f"{self.task} {self.target!r}, {self.fingerprint[:12]})"
        )

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(choice.column)}</td><td>{choice.decision}</td>"
            f"<td>{html.escape(', '.join(choice.outputs))}</td><td>{html.escape(choice.reason)}</td></tr>"
            for choice in self._plan.choices
        )
        head = "<tr><th>column</th><th>becomes</th><th>features</th><th>why</th></tr>"
        return f"<p>{html.escape(repr(self))}</p><table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _refuses(extra_columns: ExtraColumns) -> bool:
    if extra_columns not in ("error", "ignore"):
        raise ConfigError(f"extra_columns is {extra_columns!r}, expected 'error' or 'ignore'", place="feature plan")
    return extra_columns == "error"


def _fitted(
    frame: SupportsArrowStream,
    target: str,
    task: Task,
    config: Mapping[str, JSON] | None,
    transforms: TransformSource | None,
) -> tuple[Fitted, tuple[BoundTransform, ...], pl.DataFrame]:
    """What fitting gives, what executes the transforms, and the rows with what those gave."""
    settings = parse_config(config or {})
    rows = checked_frame(frame)
    documents: tuple[Transform, ...] = ()
    bound: tuple[BoundTransform, ...] = ()
    if settings.transforms:
        if transforms is None:
            raise ConfigError(
                f"the plan needs the transform {settings.transforms[0].use!r}, and was not told where to find it",
                place="[[features.transforms]]",
                hint="Pass `transforms`, such as `headrace.Project(...).transforms`.",
            )
        rows, documents, bound = fit_transforms(rows, settings.transforms, transforms, target=target)
    return fit(rows, target=target, task=task, settings=settings, transforms=documents), bound, rows


def _bound(about: Transform, transforms: TransformSource) -> BoundTransform:
    try:
        return transforms.bind(about.use, about.config)
    except HeadraceError as error:
        made = f"{about.distribution} {about.version}".rstrip()
        hint = f"The plan was made with it from {made}: install that. {error.hint or ''}".rstrip()
        raise type(error)(error.message, place=error.place or "feature plan", hint=hint) from error
