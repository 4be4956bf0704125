"""What every stage must do, as tests: `stage_conformance` makes the class that pytest collects."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from headrace.errors import HeadraceError
from headrace.hooks.contract import StageContract, describe
from headrace.hooks.manager import PluginManager
from headrace.hooks.reference import config_keys
from headrace.testing.fresh import check_light, check_quick, fail
from headrace.testing.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from headrace.hooks.catalog import StageEntry
    from headrace.types import ArtifactRef

_UNKNOWN_KEY = "no_such_key_of_any_stage"


@dataclass(frozen=True)
class Refusal:
    """Input that the stage must refuse: what is changed, and a word that the message must contain.

    `config` replaces keys of the test's config, `inputs` replaces inputs.
    """

    mentions: str
    config: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """The stage under test and what it is tested with."""

    kind: str
    name: str
    config: Mapping[str, Any]
    given: Mapping[str, Any] | Callable[[], Mapping[str, Any]]
    refuses: Sequence[Refusal]
    prepare: Callable[[Path], None] | None

    @cached_property
    def inputs(self) -> Mapping[str, Any]:
        return self.given() if callable(self.given) else self.given

    @cached_property
    def manager(self) -> PluginManager:
        return PluginManager.discover()

    @cached_property
    def entry(self) -> StageEntry:
        return self.manager.stages.entry(self.kind, self.name)

    @cached_property
    def stage(self) -> type:
        return self.manager.stages.load(self.entry)

    @cached_property
    def contract(self) -> StageContract:
        return describe(self.stage)

    @property
    def modules(self) -> list[str]:
        """The plugin's own modules in the order in which a run imports them: entry points first, then the stage's."""
        plugins = [p for p in self.manager.plugins if p.distribution == self.entry.distribution]
        return [*(p.target.partition(":")[0] for p in plugins), self.entry.target.partition(":")[0]]

    def trial(self, folder: Path, config: Mapping[str, Any] | None = None) -> Trial:
        return Trial(self.stage, {**self.config, **(config or {})}, folder, self.prepare)


def stage_conformance(
    kind: str,
    name: str,
    *,
    config: Mapping[str, Any] | None = None,
    inputs: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None = None,
    refuses: Sequence[Refusal] = (),
    prepare: Callable[[Path], None] | None = None,
) -> type[StageConformance]:
    """A pytest class that checks the stage `kind:name` of an installed plugin. Assign it to a name like `TestStage`.

    Parameters
    ----------
    kind, name
        Under what the stage is registered.
    config
        A working config, as its table in `headrace.toml` would say it.
    inputs
        A value for each input of `run`: an artifact, or a table (a dict of columns, or any frame that speaks Arrow).
        Small is enough: each test runs the stage, some twice. What takes long to make is better given as a function
        that returns them, which is called once, when the first check needs it.
    refuses
        Input that the stage must refuse; each is tried, and its message is read.
    prepare
        Called with the project folder before each run, for stages that read files.

    """
    subject = Subject(kind, name, dict(config or {}), inputs or {}, tuple(refuses), prepare)
    return type("StageConformance", (StageConformance,), {"subject": subject, "__doc__": StageConformance.__doc__})


class StageConformance:
    """The checks of a stage. Made by `stage_conformance`."""

    subject: ClassVar[Subject]

    def test_is_registered_once_and_can_be_imported(self) -> None:
        """`use = "name"` finds the stage, and nobody else claims the name."""
        problems = [p for p in self.subject.manager.problems if p.phase != "observer"]
        try:
            entry = self.subject.entry
            self.subject.stage  # noqa: B018  # imports it
        except HeadraceError as error:
            broken = "; ".join(f"{p.distribution}: {p.message}" for p in problems)
            fail(f"{error}", f"Is it installed (`pip install -e .`) and registered? {broken}".rstrip())
        for problem in problems:
            if problem.distribution == entry.distribution:
                fail(f"{problem.distribution}: {problem.message}", "See `headrace plugins doctor`.")

    def test_keeps_the_contract(self) -> None:
        """`Config`, `run` and its annotations are as the engine needs them."""
        try:
            describe(self.subject.stage)
        except HeadraceError as error:
            fail(error.message, error.hint or "")

    def test_is_light_to_import(self) -> None:
        """Registering and describing a stage must not import what only running it needs."""
        check_light(self.subject.modules)

    def test_is_quick_to_import(self) -> None:
        """In proportion to headrace's own names."""
        check_quick(self.subject.modules)

    def test_says_what_it_does_and_what_each_key_means(self) -> None:
        """`headrace plugins show` prints it."""
        if not (self.subject.stage.__doc__ or "").strip():
            fail(f"{self.subject.stage.__qualname__} has no docstring", "Say in a sentence what the stage does.")
        for key in config_keys(self.subject.contract.config):
            if not key.meaning:
                fail(
                    f"the config key {key.name!r} has no description",
                    'Write it as `Field(..., description="...")`.',
                )

    def test_refuses_unknown_keys(self) -> None:
        """A typing error in a config is an error, not a setting that is silently not there."""
        from pydantic import ValidationError

        try:
            self.subject.contract.config.model_validate({**self.subject.config, _UNKNOWN_KEY: 1})
        except ValidationError as error:
            if any(_UNKNOWN_KEY in map(str, e["loc"]) for e in error.errors()):
                return
            fail(f"the config of the test is not valid: {error}", "Give `config` as headrace.toml would have it.")
        fail("the Config takes unknown keys", 'Set `model_config = ConfigDict(extra="forbid", frozen=True)`.')

    def test_config_cannot_be_changed(self) -> None:
        """The cache key is computed from the config before the stage runs."""
        if not self.subject.contract.config.model_config.get("frozen"):
            fail("the Config can be changed", 'Set `model_config = ConfigDict(extra="forbid", frozen=True)`.')

    def test_config_survives_json(self) -> None:
        """A config is recorded, compared and sent to workers as JSON."""
        from pydantic import ValidationError

        model = self.subject.contract.config
        try:
            before = model.model_validate(dict(self.subject.config))
        except ValidationError as error:
            fail(f"the config of the test is not valid: {error}", "Give `config` as headrace.toml would have it.")
        try:
            text = json.dumps(before.model_dump(mode="json"), allow_nan=False)
        except ValueError as error:
            fail(f"the config cannot be written as JSON: {error}", "Use None where there is no number.")
        after = model.model_validate(json.loads(text))
        if after != before:
            fail(
                f"the config is {before!r}, and after a round trip through JSON it is {after!r}",
                "Use types that JSON holds without loss.",
            )

    def test_gives_what_it_is_annotated_to_give(self, tmp_path: Path) -> None:
        """And what it gives can be kept: saved, loaded and saved again, it has the same digest."""
        with self.subject.trial(tmp_path) as trial:
            refs = trial.run(trial.save(self.subject.inputs))
            for name, type_ in trial.contract.outputs.items():
                again = trial.store.artifacts.save(trial.load(refs[name], type_))
                if again.digest != refs[name].digest:
                    fail(
                        f"the output {name!r} is another one after it was saved and loaded",
                        f"`{type_.__name__}.load` must give back exactly what `save` kept.",
                    )

    def test_leaves_its_inputs_alone(self, tmp_path: Path) -> None:
        """Other stages get the same artifacts."""
        with self.subject.trial(tmp_path) as trial:
            refs = trial.save(self.subject.inputs)
            inputs = {name: trial.load(ref, trial.contract.inputs[name].type) for name, ref in refs.items()}
            trial.stage(trial.validated()).run(trial.context(refs), **inputs)
            for name, value in inputs.items():
                if trial.store.artifacts.save(value).digest != refs[name].digest:
                    fail(f"the stage changes its input {name!r}", "Work on a copy: polars' expressions make one.")

    def test_gives_the_same_again(self, tmp_path: Path) -> None:
        """A stage that says it is deterministic is answered from the cache."""
        self._compare(tmp_path, "run a second time", {"threads": 2})

    def test_gives_the_same_on_another_number_of_threads(self, tmp_path: Path) -> None:
        """`ctx.threads` is not part of the cache key."""
        self._compare(tmp_path, "run on one thread instead of four", {"threads": 4}, {"threads": 1})

    def _compare(self, folder: Path, change: str, first: dict[str, int], second: dict[str, int] | None = None) -> None:
        self._skip_unless_deterministic()
        with self.subject.trial(folder) as trial:
            refs = trial.save(self.subject.inputs)
            before = trial.run(refs, name="first", **first)
            after = trial.run(refs, name="second", **(second or first))
            _same(before, after, change)

    def test_works_in_a_worker_process(self, tmp_path: Path) -> None:
        """`timeout` and `isolation = "process"` run it there; another process has another hash seed, too."""
        with self.subject.trial(tmp_path) as trial:
            refs = trial.save(self.subject.inputs)
            here = trial.run(refs)
            trial.store.artifacts.flush()
            there = trial.run_in_worker(refs)
            if trial.contract.deterministic:
                _same(here, there, "run in another process")

    def test_external_state_is_json(self, tmp_path: Path) -> None:
        """What `external` returns is part of the cache key."""
        if not self.subject.contract.has_external:
            _skip("the stage reads nothing besides its inputs")
        with self.subject.trial(tmp_path) as trial:
            refs = trial.save(self.subject.inputs)
            stage = self.subject.stage(trial.validated())
            values = [stage.external(trial.project_dir, **_external_arguments(trial, refs)) for _ in range(2)]
            try:
                texts = [json.dumps(value, sort_keys=True, allow_nan=False) for value in values]
            except (TypeError, ValueError) as error:
                fail(f"`external` does not return JSON: {error}", "Return strings, numbers, lists and dicts.")
            if texts[0] != texts[1]:
                fail(
                    "`external` returns something else each time, so nothing is ever taken from the cache",
                    "Return what changes only when the outside changes, or set `deterministic = False`.",
                )

    def test_a_table_without_rows_is_no_accident(self, tmp_path: Path) -> None:
        """Either it works, or the message says what is wrong."""
        self._try_tables(tmp_path, "without rows", lambda frame: frame.clear())

    def test_a_table_with_other_columns_is_no_accident(self, tmp_path: Path) -> None:
        """Either it works, or the message says which column is missing."""
        self._try_tables(tmp_path, "with other columns", lambda frame: frame.rename(lambda name: f"not_{name}"))

    def test_a_table_full_of_nulls_is_no_accident(self, tmp_path: Path) -> None:
        """Either it works, or the message says what is wrong."""
        self._try_tables(tmp_path, "full of nulls", lambda frame: frame.clear(frame.height))

    def _try_tables(self, folder: Path, what: str, change: Callable[[Any], Any]) -> None:
        from headrace import Dataset
        from headrace.testing.trial import as_artifact

        for position, (name, value) in enumerate(self.subject.inputs.items()):
            artifact = as_artifact(value)
            if isinstance(artifact, Dataset):
                changed = {name: Dataset.from_frame(change(artifact.frame()))}
                error = self._provoke(folder / str(position), {}, changed)
                if error is not None:
                    _check_wording(error, f"a table {what} as {name!r}")

    def test_refuses_what_it_must_refuse(self, tmp_path: Path) -> None:
        """Each `Refusal` of the test: an error of headrace that names what is wrong."""
        if not self.subject.refuses:
            _skip("the test names nothing that the stage refuses")
        for position, refusal in enumerate(self.subject.refuses):
            error = self._provoke(tmp_path / str(position), refusal.config, refusal.inputs)
            what = f"{refusal.config or refusal.inputs!r}"[:200]
            if error is None:
                fail(f"the stage accepts {what}", "Raise one of `headrace.errors`, or take the Refusal out.")
            _check_wording(error, what)
            if refusal.mentions not in str(error):
                fail(
                    f"for {what} the stage says {str(error)!r}",
                    f"The message must mention {refusal.mentions!r}.",
                )

    def _provoke(self, folder: Path, config: Mapping[str, Any], inputs: Mapping[str, Any]) -> Exception | None:
        with self.subject.trial(folder, config) as trial:
            refs = trial.save({**self.subject.inputs, **inputs})
            try:
                trial.run(refs)
            except Exception as error:  # noqa: BLE001  # whatever it is, its wording is what is checked
                return error
        return None

    def _skip_unless_deterministic(self) -> None:
        if not self.subject.contract.deterministic:
            _skip("the stage says `deterministic = False`")


def run_stage(
    stage: type,
    *,
    config: Mapping[str, Any] | None = None,
    inputs: Mapping[str, Any] | None = None,
    prepare: Callable[[Path], None] | None = None,
) -> dict[str, Any]:
    """Run a stage once and return its outputs by name, as they come out of the store.

    `config`, `inputs` and `prepare` are as in `stage_conformance`. What the stage raises is raised.
    """
    with (
        tempfile.TemporaryDirectory(prefix="headrace-") as folder,
        Trial(stage, dict(config or {}), Path(folder), prepare) as trial,
    ):
        refs = trial.run(trial.save(dict(inputs or {})))
        loaded = {name: trial.load(refs[name], type_) for name, type_ in trial.contract.outputs.items()}
        for value in loaded.values():
            if hasattr(value, "frame"):
                value.frame()  # a dataset is read on first use, and the store is about to go
        return loaded


def _external_arguments(trial: Trial, refs: Mapping[str, ArtifactRef]) -> dict[str, Any]:
    return {"registry": trial.registry, "inputs": refs} if trial.contract.external_takes_registry else {}


def _same(before: Mapping[str, ArtifactRef], after: Mapping[str, ArtifactRef], change: str) -> None:
    __tracebackhide__ = True
    for name, ref in before.items():
        if after[name].digest != ref.digest:
            fail(
                f"the output {name!r} is another one when the stage is {change}",
                "Take randomness from `ctx.seed`, sort what has no order, or set `deterministic = False`.",
            )


def _check_wording(error: Exception, what: str) -> None:
    __tracebackhide__ = True
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        return  # a wrong config; the engine words it, with file and line
    if not isinstance(error, HeadraceError):
        raise AssertionError(  # noqa: TRY004  # a check that failed
            f"for {what} the stage raises {type(error).__name__}: {error}\n"
            "  Check before you compute, and raise `errors.DataError(message, place=..., hint=...)`."
        ) from error
    if not error.hint:
        fail(f"for {what} the stage says {error.message!r} without a way out", "Give the error a `hint`.")


def _skip(reason: str) -> None:
    import pytest

    pytest.skip(reason)
