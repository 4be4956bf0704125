"""`headrace.Project` and what a run looks like from Python and in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from headrace.errors import NotFoundError, SpecError, StageError, StoreError

if TYPE_CHECKING:
    from chain_project import Chain


def test_looking_writes_nothing_and_running_afterwards_does(chain):
    with chain.project() as project:
        assert next(iter(project.plan())).will == "execute"
        assert project.runs() == []
        assert project.registry.models() == []
        with pytest.raises(StoreError, match="read-only"):
            project.registry.register("m", {"f": b"x"}, about={}, model_digest="0" * 64)
        empty = project.store_to_read.root
        assert not (chain.folder / ".headrace").exists()
        assert project.run().succeeded
        assert len(project.runs()) == 1
        assert project.registry.store is project.store
        assert {step.will for step in project.plan()} == {"cached"}
    assert not empty.exists()


def test_a_project_reads_nothing_before_it_must(chain: Chain) -> None:
    project = chain.project(env="nowhere")
    assert repr(project).startswith("Project(")
    with pytest.raises(SpecError, match=r"no overlay \[env.nowhere\]"):
        project.run()
    assert not (chain.folder / ".headrace").exists()


def test_artifacts_of_a_run(chain: Chain) -> None:
    chain.spec(
        '[project]\nname="c"\n[start]\nkind="step"\nuse="{package}.steps:Start"\n'
        '[fork]\nkind="step"\nuse="{package}.steps:Fork"\n'
    )
    with chain.project() as project:
        run = project.run()
        assert run["fork", "left"].value == 1
        assert run["fork", "right"].value == -1
        with pytest.raises(NotFoundError, match=r"2 outputs: left, right"):
            run["fork"]
        with pytest.raises(NotFoundError, match=r"no output 'rihgt'(.|\n)*right"):
            run["fork", "rihgt"]
        with pytest.raises(NotFoundError, match=r"no stage 'frok'(.|\n)*fork"):
            run["frok"]
        assert project.get_run().id == run.id
        assert project.get_run(run.id[:6]).id == run.id
        with pytest.raises(NotFoundError):
            project.get_run("zzzz")


def test_a_run_in_words_and_as_html(chain: Chain) -> None:
    with chain.project(overrides=["two.fail=9"]) as project:
        run = project.run()
    assert "failed" in repr(run)
    page = run._repr_html_()
    assert page.count("<tr>") == 4
    chain.edit("steps", 'f"try {done}"', '"<script>alert(1)</script>"')
    with chain.project(overrides=["two.fail=9"]) as project:
        run = project.run()
        assert "<script>" not in run._repr_html_()
        with pytest.raises(StageError, match="stage two"):
            run.raise_on_failure()


def test_the_store_can_be_elsewhere(chain: Chain) -> None:
    chain.spec('[project]\nname="c"\n[store]\npath="../elsewhere"\n[start]\nkind="step"\nuse="{package}.steps:Start"\n')
    elsewhere = chain.folder.parent / "elsewhere"
    with chain.project() as project:
        project.run().raise_on_failure()
    assert (elsewhere / "objects").is_dir()
    assert not (chain.folder / ".headrace").exists()


def test_a_store_url_may_be_a_reference(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    chain.spec('[project]\nname="c"\n[store]\nurl="env:NO_SUCH"\n[start]\nkind="step"\nuse="{package}.steps:Start"\n')
    monkeypatch.delenv("NO_SUCH", raising=False)
    with chain.project() as project, pytest.raises(SpecError, match="NO_SUCH, which is not set"):
        project.run()


def test_the_same_folder_by_file_or_by_name(chain: Chain) -> None:
    from headrace import Project

    assert Project(chain.folder / "headrace.toml").spec == Project(str(chain.folder)).spec


def test_own_code_that_does_not_import_is_an_error_with_its_reason(chain: Chain) -> None:
    chain.edit("steps", "from pydantic import", "import no_such_module\nfrom pydantic import")
    with chain.project() as project, pytest.raises(SpecError, match=r"stage \[start\](.|\n)*no_such_module"):
        project.run()
    chain.spec('[project]\nname="c"\n[start]\nkind="step"\nuse="{package}.maths:Nothing"\n')
    with chain.project() as project, pytest.raises(SpecError, match="no class 'Nothing'"):
        project.run()
