"""`Predictor`: a feature plan and a model, together from raw rows to predictions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from headrace.compute import golden
from headrace.compute.plan.feature_plan import FeaturePlan
from headrace.compute.plan.read import as_frame
from headrace.errors import ConfigError, DataError, ModelFormatError
from headrace.types import Model

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt
    import onnxruntime
    import polars as pl

    from headrace.types import JSON, PackageView, SupportsArrowStream, TransformSource

_ROWS_AT_ONCE: Final = 65_536
_LOG_WARNINGS: Final = 2


class Predictor:
    """Predicts with a model package, in this process.

    Parameters
    ----------
    plan, model
        Must belong together: the plan's outputs are the model's features, in order.
    threads
        How many threads ONNX Runtime may use for one call. They do not spin while they wait.

    Raises
    ------
    ModelFormatError
        The model is not ONNX, refers to files outside itself, does not have the inputs and outputs that
        `headrace.Model` describes, or does not belong to the plan.

    """

    def __init__(self, plan: FeaturePlan, model: Model, *, threads: int = 1) -> None:
        if threads < 1:
            raise ConfigError(f"a predictor needs at least one thread, not {threads}")
        self.plan = plan
        self.model = model
        _check_pair(plan, model)
        self._session = _session(model.onnx, threads)
        self._output = _check_graph(self._session, plan)

    @classmethod
    def from_package(
        cls, package: PackageView, *, threads: int = 1, transforms: TransformSource | None = None
    ) -> Predictor:
        """From a registered package, after its golden rows were replayed.

        `transforms` is where columns that only Python can compute are looked up, for a package that has some.

        Raises
        ------
        ModelFormatError
            A part of the package is damaged, or the golden rows do not give what they gave when it was made.

        """
        plan = FeaturePlan.from_document(_json(package, "plan.json"))
        if transforms is not None:
            plan = plan.bind(transforms)
        onnx = package.read("model.onnx")
        refuse_external_data(onnx)
        model = Model(task=plan.task, target=plan.target, features=plan.outputs, classes=tuple(plan.classes), onnx=onnx)
        predictor = cls(plan, model, threads=threads)
        golden.replay(predictor, _json(package, "golden.json"))
        return predictor

    def predict(self, frame: SupportsArrowStream) -> pl.DataFrame:
        """Predictions, one row for each row, order kept.

        Returns
        -------
        DataFrame
            Classification: `prediction`, the most probable label (of equal ones the first class) in the type of the
            target, and `probability_<class>` (Float64) for each class. Regression: `prediction` (Float64).

        Raises
        ------
        DataError
            A column that the plan reads is missing or has a wrong type. Columns that it does not read are ignored.

        """
        import polars as pl

        scores = self.scores(frame)
        if not self.plan.classes:
            return pl.DataFrame({"prediction": scores})
        labels = self.plan.decode_labels(scores.argmax(axis=1))
        columns = [pl.Series(f"probability_{name}", scores[:, i]) for i, name in enumerate(self.plan.class_names)]
        return pl.DataFrame([labels, *columns])

    def scores(self, frame: SupportsArrowStream) -> npt.NDArray[np.float64]:
        """Probabilities [rows, classes], or for regression predictions [rows], as float64."""
        return self.scores_of(self.plan.matrix(as_frame(frame), extra_columns="ignore"))

    def scores_of(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """The same from the plan's outputs: float32 [rows, features]."""
        import numpy as np

        width = len(self.plan.outputs)
        if features.ndim != 2 or features.shape[1] != width or features.dtype != np.float32:
            raise DataError(
                f"expected float32 features of the shape (rows, {width}), found {features.dtype} {features.shape}",
                hint="Pass what `FeaturePlan.matrix` gives.",
            )
        shape = (len(features), len(self.plan.classes)) if self.plan.classes else (len(features),)
        out = np.empty(shape, dtype=np.float64)
        for start in range(0, len(features), _ROWS_AT_ONCE):
            block = np.ascontiguousarray(features[start : start + _ROWS_AT_ONCE])
            out[start : start + len(block)] = self._session.run([self._output], {"features": block})[0]
        return out

    def golden_rows(self, frame: SupportsArrowStream, *, n: int = 16, tolerance: float | None = None) -> JSON:
        """Rows of `frame` and what becomes of them, to be replayed when a package is loaded; see `compute.golden`."""
        return golden.make(self, as_frame(frame), n=n, tolerance=tolerance)

    def replay(self, golden_rows: Mapping[str, Any]) -> None:
        """Compute golden rows again; `ModelFormatError` names the first row and column that differ."""
        golden.replay(self, golden_rows)

    def __repr__(self) -> str:
        return f"Predictor({self.plan.task} {self.plan.target!r}, {len(self.plan.inputs)} columns)"


def _check_pair(plan: FeaturePlan, model: Model) -> None:
    theirs = (model.task, model.target, tuple(model.features), tuple(model.classes))
    ours = (plan.task, plan.target, plan.outputs, tuple(plan.classes))
    for what, expected, found in zip(("task", "target", "features", "classes"), ours, theirs, strict=True):
        if expected != found or repr(expected) != repr(found):  # repr: True is not 1
            raise ModelFormatError(
                f"the model and the feature plan do not belong together: the plan's {what} are {_short(expected)}, the "
                f"model's {_short(found)}",
                place="model",
                hint="Take both from the same run or package.",
            )


def _session(onnx: bytes, threads: int) -> onnxruntime.InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = _LOG_WARNINGS
    try:
        return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's errors share no base but Exception
        raise ModelFormatError(
            f"ONNX Runtime {onnxruntime.__version__} cannot load the model: {_first_line(error)}",
            place="model.onnx",
            hint="The file is damaged, or needs a newer onnxruntime.",
        ) from error


def _check_graph(session: onnxruntime.InferenceSession, plan: FeaturePlan) -> str:
    """The name of the output, after checking that inputs and outputs are as `headrace.Model` describes."""
    wanted = "probabilities" if plan.classes else "prediction"
    shape_in = [None, len(plan.outputs)]
    shape_out = [None, len(plan.classes)] if plan.classes else [None]
    for what, values, name, shape in (
        ("input", session.get_inputs(), "features", shape_in),
        ("output", session.get_outputs(), wanted, shape_out),
    ):
        found = [(v.name, v.type, [d if isinstance(d, int) else None for d in v.shape]) for v in values]
        if found != [(name, "tensor(float)", shape)]:
            raise ModelFormatError(
                f"the model's {what}s are {found}, expected one, {name!r}, float32 {shape} (None: any number of rows)",
                place="model.onnx",
                hint="Convert the model to these inputs and outputs; see `headrace.Model`.",
            )
    return wanted


def refuse_external_data(onnx_bytes: bytes) -> None:
    """`ModelFormatError` for weights that would be read from wherever the model says, and for what is no ONNX model."""
    import onnx
    from onnx.external_data_helper import uses_external_data

    try:
        model = onnx.load_from_string(onnx_bytes)
    except Exception as error:  # protobuf's DecodeError has no public base that stays in one place
        raise ModelFormatError(
            "the file is not an ONNX model", place="model.onnx", hint="The file is damaged; make it again."
        ) from error
    graphs: list[Any] = [model.graph, *model.functions]
    while graphs:
        graph = graphs.pop()
        # A function has nodes, and no weights of its own.
        tensors = list(getattr(graph, "initializer", ()))
        for sparse in getattr(graph, "sparse_initializer", ()):
            tensors += [sparse.values, sparse.indices]
        for node in graph.node:
            for attribute in node.attribute:
                tensors += [attribute.t, *attribute.tensors]
                for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                    tensors += [sparse.values, sparse.indices]
                graphs += [attribute.g, *attribute.graphs] if attribute.HasField("g") else attribute.graphs
        if any(uses_external_data(tensor) for tensor in tensors):
            raise ModelFormatError(
                "the model keeps weights in another file, which packages do not allow",
                place="model.onnx",
                hint="Save it with all of its data inside.",
            )


def _json(package: PackageView, name: str) -> dict[str, Any]:
    try:
        document = json.loads(package.read(name))
    except ValueError as error:
        raise ModelFormatError(f"not JSON: {error}", place=name, hint="Register the model again.") from error
    if not isinstance(document, dict):
        raise ModelFormatError("expected a JSON object", place=name, hint="Register the model again.")
    return document


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
