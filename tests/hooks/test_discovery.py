from __future__ import annotations

import subprocess
import sys

import pytest

from headrace.errors import MissingExtraError, PluginError
from headrace.hooks.discovery import GROUP, check_target, entry_points, load_class, load_plugin, normalized


def test_headraces_own_entry_point_comes_first_and_the_others_by_name(site):
    site.install("zebra", plugins={"z": "zebra"})
    site.install("Alpha_One", "2.0", plugins={"b": "alpha.b", "a": "alpha.a"})
    points, problems = entry_points()
    assert problems == []
    ours = [p for p in points if p.distribution in {"headrace", "zebra", "Alpha_One"}]
    assert [(p.distribution, p.name, p.value) for p in ours] == [
        ("headrace", "builtins", "headrace.builtins"),
        ("Alpha_One", "a", "alpha.a"),
        ("Alpha_One", "b", "alpha.b"),
        ("zebra", "z", "zebra"),
    ]
    assert ours[1].version == "2.0"


def test_of_two_distributions_of_one_name_the_first_on_the_path_counts(site, tmp_path, monkeypatch):
    site.install("twin", "1.0", plugins={"x": "twin_old"})
    nearer = type(site)(tmp_path / "nearer")
    nearer.folder.mkdir()
    nearer.install("Twin", "2.0", plugins={"x": "twin_new"})
    monkeypatch.syspath_prepend(str(nearer.folder))
    points, _ = entry_points()
    assert [(p.version, p.value) for p in points if normalized(p.distribution) == "twin"] == [("2.0", "twin_new")]


def test_a_distribution_that_shadows_without_entry_points_hides_the_other(site, tmp_path, monkeypatch):
    """What is imported is the first on the path, so an old copy's plugin must not be registered either."""
    site.install("twin", "1.0", plugins={"x": "twin_old"})
    nearer = type(site)(tmp_path / "nearer")
    nearer.folder.mkdir()
    nearer.install("twin", "2.0")
    monkeypatch.syspath_prepend(str(nearer.folder))
    assert [p for p in entry_points()[0] if p.distribution == "twin"] == []


def test_unreadable_metadata_is_a_problem_and_hides_nothing_else(site):
    site.install("good", plugins={"g": "good"})
    bad = site.install("bad", plugins={"b": "bad"})
    (bad / "entry_points.txt").write_bytes(b"[headrace]\nb = \xff\xfe\n")
    nameless = site.install("nameless", plugins={"n": "nameless"}, metadata="")
    points, problems = entry_points()
    assert "good" in {p.distribution for p in points}
    assert {problem.phase for problem in problems} == {"metadata"}
    assert {p.distribution for p in problems} == {str(bad), str(nameless)}


def test_other_groups_are_not_ours(site):
    info = site.install("other")
    (info / "entry_points.txt").write_text("[console_scripts]\nheadrace-x = x:main\n[headrace.cli]\ny = y\n")
    assert "other" not in {p.distribution for p in entry_points()[0]}


def test_an_entry_point_names_a_module_an_object_or_a_class(site):
    site.install("p", files={"p_plain.py": "class K:\n    pass\nk = K()\nclass N:\n    k = k\n"})
    import p_plain

    assert load_plugin("p_plain") is p_plain
    assert load_plugin("p_plain:k") is p_plain.k
    assert load_plugin("p_plain:N.k") is p_plain.k
    assert isinstance(load_plugin("p_plain:K"), p_plain.K)


@pytest.mark.parametrize(
    "target", ["", "module", "module:", ":Class", "a..b:C", "a:b c", "os.system('x'):C", "é:C", "a:C\n", None, 3]
)
def test_a_target_is_a_module_and_a_class(target):
    with pytest.raises(PluginError, match="does not say where a class is"):
        check_target(target)


def test_load_class(site):
    site.install("p", files={"p_load.py": "class K:\n    class Inner:\n        pass\nvalue = 3\n"})
    assert load_class("p_load:K", owner="o").__name__ == "K"
    assert load_class("p_load:K.Inner", owner="o").__name__ == "Inner"


@pytest.mark.parametrize(
    ("source", "target", "says"),
    [
        ("value = 3", "p_bad:value", "is not a class but int"),
        ("", "p_bad:Missing", "module 'p_bad' has no class 'Missing'"),
        ("class K: pass", "p_bad:K.Missing", r"no class 'K\.Missing'(.|\n)*It has K\."),
        ("import no_such_module_x", "p_bad:K", "the module 'no_such_module_x' is not installed"),
        ("def broken(:", "p_bad:K", r"SyntaxError: .*p_bad\.py, line 1"),
        ("import sys; sys.exit(7)", "p_bad:K", "SystemExit: 7"),
        ("raise RuntimeError", "p_bad:K", "RuntimeError"),
        ("1/0", "p_bad:K", "ZeroDivisionError: division by zero"),
        ("", "p_bad.sub:K", "there is no module 'p_bad.sub'|is not installed"),
        ("", "p_not_there:K", "there is no module 'p_not_there'"),
    ],
)
def test_a_class_that_cannot_be_loaded(site, source, target, says):
    site.install("p", files={"p_bad.py": source})
    with pytest.raises(PluginError, match=says) as caught:
        load_class(target, owner="stage train:bad of p 1.0")
    assert caught.value.place == "stage train:bad of p 1.0"
    assert caught.value.hint
    if "class" not in says:
        assert caught.value.__cause__ is not None


def test_errors_of_headrace_pass_as_they_are(site):
    raising = "from headrace import errors\nraise errors.MissingExtraError('no xyz', hint='pip install xyz')"
    site.install("p", files={"p_extra.py": raising})
    with pytest.raises(MissingExtraError) as caught:
        load_class("p_extra:K", owner="o")
    assert caught.value.hint == "pip install xyz"


def test_ctrl_c_is_not_the_plugins(site):
    site.install("p", files={"p_int.py": "raise KeyboardInterrupt"})
    with pytest.raises(KeyboardInterrupt):
        load_class("p_int:K", owner="o")


def test_discovery_imports_nothing_heavy():
    code = (
        "import sys; from headrace.hooks.discovery import entry_points; entry_points();"
        "print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    heavy = {"polars", "pyarrow", "numpy", "pydantic", "lightgbm", "onnx", "onnxruntime", "sklearn", "sqlalchemy"}
    assert not loaded & heavy


def test_the_group_is_named_as_documented():
    assert GROUP == "headrace"
