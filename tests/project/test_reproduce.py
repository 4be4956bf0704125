"""`reproduce`: the same again is identical; what changed is found at the stage where it changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from headrace.errors import NotFoundError
from headrace.project.reproduce import _largest_difference

if TYPE_CHECKING:
    from chain_project import Chain

KEEP = """

from headrace import ModelVersion


class Keep(_Base):
    def run(self, ctx: StageContext, number: Number) -> ModelVersion:
        self.work(ctx)
        digest = ctx.inputs["number"].digest
        return ctx.registry.register("chain", {"n.txt": str(number.value).encode()}, about={}, model_digest=digest)
"""
ASK = '''


class Ask(_Base):
    """Gives the number of the champion, 0 without one."""

    def external(self, project_dir, registry, inputs):
        found = registry.champion("chain", besides=inputs["number"].digest)
        return None if found is None else found.version.number

    def run(self, ctx: StageContext, number: Number) -> Number:
        found = ctx.registry.champion("chain", besides=ctx.inputs["number"].digest)
        return Number(0 if found is None else found.version.number)
'''
SPEC = (
    '[project]\nname="chain"\n[start]\nkind="step"\nuse="{package}.steps:Start"\n'
    '[two]\nkind="step"\nuse="{package}.steps:Add"\n[three]\nkind="step"\nuse="{package}.steps:Add"\n'
    '[keep]\nkind="register"\nuse="{package}.steps:Keep"\n'
)


@pytest.fixture
def kept(chain: Chain) -> Chain:
    path = chain.folder / chain.package / "steps.py"
    path.write_text(path.read_text() + KEEP)
    chain.spec(SPEC)
    with chain.project() as project:
        project.run().raise_on_failure()
    chain.ran()
    return chain


def verdicts(found) -> dict[str, str]:
    return {stage.stage: stage.verdict for stage in found.stages}


def test_the_same_again_is_identical(kept: Chain) -> None:
    with kept.project() as project:
        found = project.reproduce("chain@1")
        assert found.equal
        assert found.changed == ()
        assert verdicts(found) == {
            "start": "not repeated",
            "two": "identical",
            "three": "identical",
            "keep": "not repeated",
        }
        assert kept.ran() == ["two", "three"], "the cache is not asked"
        assert len(project.runs()) == 1, "a repetition is no run"
        assert len(project.registry.versions("chain")) == 1


def test_a_change_is_found_where_it_is(kept: Chain) -> None:
    kept.edit("deepest", "sum(numbers)", "sum(numbers) + (1 if numbers == [2, 1] else 0)")
    with kept.project() as project:
        found = project.reproduce("chain@1")
        assert not found.equal
        # `three` is fed what was recorded, so it does not inherit the difference of `two`.
        assert verdicts(found) == {
            "start": "not repeated",
            "two": "identical",
            "three": "different",
            "keep": "not repeated",
        }
        assert any("deepest changed" in text for text in found.changed)
        assert project.reproduce("chain@1", tolerance=1.0).equal


def test_a_stage_that_asks_for_the_champion_sees_that_of_then(kept: Chain) -> None:
    path = kept.folder / kept.package / "steps.py"
    path.write_text(path.read_text() + ASK)
    kept.forget()
    kept.spec(SPEC + '[ask]\nkind="gate"\nuse="{package}.steps:Ask"\ninputs={number="three"}\nafter=["keep"]\n')
    with kept.project() as project:
        project.registry.promote("chain@1", why="first")
        run = project.run()  # asks besides chain@1's own model: nobody
        assert run["ask"].value == 0
    with kept.project(overrides=["two.by=9"]) as project:
        run = project.run()
        assert run["ask"].value == 1
        project.registry.promote("chain@2", why="second")
        project.registry.register("chain", {"n.txt": b"x"}, about={}, model_digest="1" * 64)
        project.registry.promote("chain@3", why="third")
        assert verdicts(project.reproduce("chain@2"))["ask"] == "identical"


def test_a_stage_that_fails_is_told(kept: Chain) -> None:
    kept.edit("deepest", "return sum(numbers)", "raise OSError('no')")
    with kept.project() as project:
        found = project.reproduce("chain@1")
        assert verdicts(found)["two"] == "failed"
        assert not found.equal
        assert "OSError: no" in found.stages[1].detail


def test_a_version_without_a_run_cannot_be_repeated(kept: Chain) -> None:
    with kept.project() as project:
        project.registry.set_run(None)
        project.registry.register("other", {"a.txt": b"a"}, about={}, model_digest="0" * 64)
        with pytest.raises(NotFoundError, match="not registered by a run"):
            project.reproduce("other@1")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"a": [1, 2.0]}, {"a": [1, 2.5]}, 0.5),
        ({"a": 1}, {"b": 1}, None),
        ([1], [1, 2], None),
        (True, 1, None),
        (None, 0, None),
        (float("nan"), float("nan"), 0.0),
        ("x", "y", None),
        ("x", "x", 0.0),
    ],
)
def test_largest_difference(old: object, new: object, expected: float | None) -> None:
    assert _largest_difference(old, new) == expected
