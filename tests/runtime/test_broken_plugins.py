"""A run in an environment with broken plugins: what does not use them is not touched by them."""

from __future__ import annotations

import logging

import pytest

from headrace.errors import PluginConflictError, PluginError, SpecError, UnknownNameError

HEALTHY = """
from headrace import hookimpl

@hookimpl
def headrace_stages(registry):
    registry.add("step", "theirs", "{package}.steps:Add")
"""
BROKEN = {
    "at import": "raise RuntimeError('no licence')",
    "by leaving": "import sys; sys.exit(0)",
    "by syntax": "def f(:",
    "at registration": HEALTHY + "    raise KeyError('gone')",
    "by an unknown hook": "from headrace import hookimpl\n@hookimpl\ndef after_everything(run): pass",
    "in observers": """
from headrace import hookimpl

@hookimpl
def before_run(run): raise ValueError("before")

@hookimpl
def before_stage(run, stage): raise SystemExit(3)

@hookimpl
def after_stage(run, record): raise ValueError("after")

@hookimpl
def after_run(run): 1/0
""",
}


def install(site, chain, name, source):
    module = f"{name.replace('-', '_')}_{chain.package}"
    files = {f"{module}.py": source.replace("{package}", chain.package)}
    site.install(name, plugins={"p": module}, files=files)


def use_theirs(chain):
    chain.spec(
        '[project]\nname = "chain"\n[start]\nkind = "step"\nuse = "{package}.steps:Start"\n'
        '[two]\nkind = "step"\nuse = "theirs"\n'
    )


@pytest.mark.parametrize("source", BROKEN.values(), ids=BROKEN)
def test_a_run_that_does_not_use_it_succeeds(chain, site, source):
    install(site, chain, "broken", source)
    with chain.project() as project:
        run = project.run()
        assert run.succeeded
        assert [r.outcome for r in run] == ["executed"] * 3
        assert [p.distribution for p in project.plugins.problems if p.distribution != "broken"] == []
        assert project.plugins.problems


def test_an_observer_that_raises_is_named(chain, site, caplog):
    install(site, chain, "broken", BROKEN["in observers"])
    with caplog.at_level(logging.WARNING, "headrace.plugins"), chain.project() as project:
        assert project.run().succeeded
    said = [record.getMessage() for record in caplog.records]
    for hook in ("before_run", "before_stage", "after_stage", "after_run"):
        assert any(f"plugin broken (entry point 'p'): its hook `{hook}` raised" in line for line in said)


def test_a_healthy_plugins_stage_runs(chain, site):
    install(site, chain, "broken", "1/0")
    install(site, chain, "healthy", HEALTHY)
    use_theirs(chain)
    with chain.project() as project:
        run = project.run()
        assert run.succeeded
        assert run.record("two").stage.distribution == "healthy"
        assert run["two"].value == 2


def test_a_stage_of_a_broken_plugin_is_an_error_that_says_whose(chain, site):
    install(site, chain, "broken", HEALTHY + "\nraise RuntimeError('no licence')")
    use_theirs(chain)
    with chain.project() as project, pytest.raises(UnknownNameError, match="'theirs'") as caught:
        project.run()
    assert "broken" in str(caught.value)
    assert "headrace plugins doctor" in str(caught.value)


def test_a_stage_that_two_plugins_claim(chain, site):
    install(site, chain, "healthy", HEALTHY)
    install(site, chain, "rival", HEALTHY)
    use_theirs(chain)
    with chain.project() as project, pytest.raises(PluginConflictError, match=r"healthy 1\.0 .* and rival 1\.0"):
        project.run()
    (chain.folder / "headrace.toml").write_text(
        (chain.folder / "headrace.toml").read_text() + '[plugins]\ndisabled = ["rival"]\n'
    )
    with chain.project() as project:
        assert project.run().succeeded


def test_a_stage_whose_dependency_is_missing(chain, site):
    install(site, chain, "healthy", HEALTHY.replace(".steps:", ".lacking:"))
    (chain.folder / chain.package / "lacking.py").write_text("import no_such_thing\n")
    use_theirs(chain)
    with chain.project() as project, pytest.raises(PluginError, match="'no_such_thing' is not installed") as caught:
        project.run()
    assert "stage step:theirs of healthy 1.0" in str(caught.value)


def test_a_project_whose_own_module_ends_the_process(chain):
    chain.edit("steps", "from __future__ import annotations", "from __future__ import annotations\nraise SystemExit(0)")
    with chain.project() as project, pytest.raises(SpecError, match="SystemExit: 0") as caught:
        project.run()
    assert caught.value.place == "headrace.toml:7"
    assert "stage [start]" in caught.value.message
