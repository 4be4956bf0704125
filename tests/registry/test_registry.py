"""The registry: versions are numbered once, aliases move one way at a time, history is for ever."""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from headrace.errors import AliasConflictError, ArtifactError, CorruptObjectError, NotFoundError, RegistryError
from headrace.registry import ModelPackage, Registry
from headrace.store import Store, schema
from headrace.types import ModelVersion, PackageView, RegistryView

DIGESTS = [f"{n:064x}" for n in range(10)]


@pytest.fixture
def told() -> list[tuple[str, dict[str, Any]]]:
    return []


@pytest.fixture
def registry(store: Store, told: list[tuple[str, dict[str, Any]]]) -> Registry:
    return Registry(store, who="ada", observer=lambda hook, about: told.append((hook, about)))


def add(registry: Registry, n: int, model: str = "flights") -> ModelVersion:
    files = {"model.onnx": b"model %d" % n, "plan.json": b"{}"}
    return registry.register(model, files, about={"metrics": {"auc": 0.5 + n / 100}}, model_digest=DIGESTS[n])


def break_file(store: Store, sha256: str) -> None:
    path = store.root / "objects" / sha256[:2] / sha256[2:]
    path.chmod(0o644)
    path.write_bytes(b"changed!")


# --- registering --------------------------------------------------------------------------------------------------


def test_it_is_what_stages_expect(registry: Registry) -> None:
    def takes(view: RegistryView, package: PackageView) -> None:  # mypy would object, were it not so
        assert view.champion("m") is None
        assert package.version

    takes(registry, registry.get("flights", add(registry, 1).number))


def test_package_and_its_manifest(registry: Registry, told: list[tuple[str, dict[str, Any]]]) -> None:
    registry.set_run("abc123")
    version = add(registry, 1)
    assert (version.name, version.number) == ("flights", 1)
    package = registry.get("flights", 1)
    assert package.version == version
    assert package.files == ("model.onnx", "plan.json")
    assert package.read("model.onnx") == b"model 1"
    manifest = dict(package.manifest)
    assert manifest.pop("created") > 0
    assert manifest.pop("run") == "abc123"
    assert manifest == {
        "format": 1,
        "name": "flights",
        "about": {"metrics": {"auc": 0.51}},
        "model_digest": DIGESTS[1],
        "files": {
            "model.onnx": {"sha256": hashlib.sha256(b"model 1").hexdigest(), "size": 7},
            "plan.json": {"sha256": hashlib.sha256(b"{}").hexdigest(), "size": 2},
        },
    }
    canonical = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    assert version.package == hashlib.sha256(canonical.encode()).hexdigest()
    assert json.loads(package.read("manifest.json")) == package.manifest
    assert [(hook, list(about)) for hook, about in told] == [("after_version_registered", ["package"])]
    assert told[0][1]["package"].version == version
    with pytest.raises(NotFoundError, match=r"no file 'card.md'"):
        package.read("card.md")


def test_same_package_same_version(registry: Registry, told: list[Any]) -> None:
    first, second = add(registry, 1), add(registry, 2)
    registry.set_run("another run")
    assert add(registry, 1) == first
    assert add(registry, 2) == second
    assert add(registry, 3).number == 3
    assert add(registry, 1, "others").number == 1
    assert len(told) == 4
    assert registry.get("flights", 1).manifest["run"] is None


@pytest.mark.parametrize(
    "change", [{"files": {"f": b"y"}}, {"files": {"g": b"x"}}, {"about": {"a": 2}}, {"model_digest": DIGESTS[2]}]
)
def test_anything_else_is_another_version(registry: Registry, change: dict[str, Any]) -> None:
    same: dict[str, Any] = {"files": {"f": b"x"}, "about": {"a": 1}, "model_digest": DIGESTS[1]}
    first = registry.register("m", **same)
    assert registry.register("m", **{**same, **change}).number == first.number + 1


def test_refused_packages(registry: Registry) -> None:
    good: dict[str, Any] = {"files": {"f": b"x"}, "about": {}, "model_digest": DIGESTS[0]}
    for error, change in (
        (RegistryError, {"files": {}}),
        (RegistryError, {"files": {"../f": b""}}),
        (RegistryError, {"files": {"manifest.json": b""}}),
        (RegistryError, {"about": {"a": math.nan}}),
        (RegistryError, {"about": {1: 2}}),
        (RegistryError, {"about": {"a": object()}}),
        (ArtifactError, {"model_digest": "x"}),
    ):
        with pytest.raises(error):
            registry.register("m", **{**good, **change})
    with pytest.raises(RegistryError):
        registry.register("../m", **good)
    assert registry.models() == []
    assert list(registry.store.objects.names()) == []


def test_listing(registry: Registry) -> None:
    assert registry.models() == []
    for n in (1, 2, 3):
        add(registry, n)
    add(registry, 4, "other")
    registry.promote("flights@2", why="good")
    registry.promote("flights@2", "blue", why="good")
    registry.promote("flights@3", "green", why="good")
    models = {info.name: (info.versions, dict(info.aliases)) for info in registry.models()}
    assert models == {"flights": (3, {"blue": 2, "champion": 2, "green": 3}), "other": (1, {})}
    assert [(v.number, v.aliases) for v in registry.versions("flights")] == [
        (3, ("green",)),
        (2, ("blue", "champion")),
        (1, ()),
    ]
    assert registry.versions("flights")[0].about == {"metrics": {"auc": 0.53}}
    assert registry.versions("flights")[0].who == "ada"
    assert repr(registry.get("flights", "green")) == "ModelPackage(flights@3)"


def test_resolve(registry: Registry) -> None:
    for n in (1, 2):
        add(registry, n)
    registry.promote("flights@1", why="first")
    assert registry.resolve("flights").version.number == 1
    assert registry.resolve("flights@champion").version.number == 1
    assert registry.resolve("flights@2").version.number == 2
    for ref, words in (
        ("flihgts", "Did you mean flights"),
        ("zzz", "There are: flights"),
        ("flights@9", "It has 1 to 2"),
        ("flights@0", "It has 1 to 2"),
        ("flights@blue", "Its aliases: champion"),
    ):
        with pytest.raises(NotFoundError) as caught:
            registry.resolve(ref)
        assert words in str(caught.value.hint)


def test_empty_registry_says_what_to_do(registry: Registry) -> None:
    for act in (
        lambda: registry.resolve("m"),
        lambda: registry.versions("m"),
        lambda: registry.rollback("m", why=""),
        lambda: registry.promote("m@1", why=""),
    ):
        with pytest.raises(NotFoundError) as caught:
            act()
        assert "headrace run" in str(caught.value.hint)
    assert registry.champion("m") is None
    assert registry.history("m") == []


# --- aliases ------------------------------------------------------------------------------------------------------


def numbers(registry: Registry, alias: str | None = None) -> list[tuple[int | None, int | None]]:
    """History as (version, previous), oldest first."""
    return [(move.version, move.previous) for move in reversed(registry.history("flights", alias))]


def test_compare_and_swap(registry: Registry, told: list[tuple[str, dict[str, Any]]]) -> None:
    one, two, three = (add(registry, n) for n in (1, 2, 3))
    told.clear()
    with pytest.raises(AliasConflictError, match="does not exist; it was expected that it is at version 1"):
        registry.move_alias(two, "champion", expected=1, why="x")
    registry.set_run("run1")
    registry.move_alias(one, "champion", expected=None, why="first", gate="f" * 64)
    with pytest.raises(AliasConflictError, match="at version 1; it was expected that it does not exist"):
        registry.move_alias(two, "champion", expected=None, why="x")
    registry.move_alias(two, "champion", expected=1, why="better")
    with pytest.raises(AliasConflictError, match="is at version 2; it was expected that it is at version 1"):
        registry.move_alias(three, "champion", expected=1, why="x")
    assert numbers(registry) == [(1, None), (2, 1)]
    first = registry.history("flights")[-1]
    assert (first.model, first.alias, first.who, first.why) == ("flights", "champion", "ada", "first")
    assert (first.gate, first.run_id) == ("f" * 64, "run1")
    assert [hook for hook, _ in told] == ["after_alias_moved"] * 2
    assert [about["move"] for _, about in told] == registry.history("flights")[::-1]


def test_move_that_was_made_already_is_no_conflict(registry: Registry, told: list[Any]) -> None:
    """A run that died between the move and its record is repeated with the `expected` of the first time."""
    one, two = add(registry, 1), add(registry, 2)
    for _ in range(2):
        registry.move_alias(one, "champion", expected=None, why="x")
    for _ in range(2):
        registry.move_alias(two, "champion", expected=1, why="y")
    assert numbers(registry) == [(1, None), (2, 1)]
    assert len(told) == 4


def test_move_to_what_is_not_there(registry: Registry) -> None:
    version = add(registry, 1)
    for wrong in (
        ModelVersion("flights", 2, version.package),
        ModelVersion("other", 1, version.package),
    ):
        with pytest.raises(NotFoundError):
            registry.move_alias(wrong, "champion", expected=None, why="x")
    with pytest.raises(RegistryError, match="another package"):
        registry.move_alias(ModelVersion("flights", 1, "0" * 64), "champion", expected=None, why="x")
    with pytest.raises(RegistryError):
        registry.move_alias(version, "7", expected=None, why="x")
    assert registry.history("flights") == []


def test_promote(registry: Registry) -> None:
    for n in (1, 2, 3):
        add(registry, n)
    move = registry.promote("flights@2", why="I like it")
    assert move is not None
    assert (move.version, move.previous, move.who, move.why) == (2, None, "ada", "I like it")
    assert registry.history("flights") == [move]
    assert registry.promote("flights@2", why="again") is None
    assert registry.promote("flights@champion", "blue", why="same").version == 2
    with pytest.raises(AliasConflictError):
        registry.promote("flights@3", why="x", expected=1)
    with pytest.raises(AliasConflictError):
        registry.promote("flights@3", why="x", expected=None)
    assert registry.promote("flights@3", why="x", expected=2).previous == 2
    assert numbers(registry, "champion") == [(2, None), (3, 2)]
    assert numbers(registry, "blue") == [(2, None)]


def test_rollback_goes_back_step_by_step(registry: Registry) -> None:
    for n in (1, 2, 3):
        add(registry, n)
        registry.promote(f"flights@{n}", why="up")
    assert registry.rollback("flights", why="bad").version == 2
    assert registry.rollback("flights", why="worse").version == 1
    with pytest.raises(RegistryError, match="none to go back to"):
        registry.rollback("flights", why="more")
    assert registry.promote("flights@3", why="mended").previous == 1
    assert registry.rollback("flights", why="not mended").version == 1
    assert numbers(registry) == [(1, None), (2, 1), (3, 2), (2, 3), (1, 2), (3, 1), (1, 3)]
    with pytest.raises(NotFoundError, match="no alias 'blue'"):
        registry.rollback("flights", "blue", why="x")


def test_champion_besides_itself(registry: Registry) -> None:
    for n in (1, 2, 3):
        add(registry, n)
        registry.promote(f"flights@{n}", why="up")

    def rival(besides: int | None) -> int | None:
        package = registry.champion("flights", besides=DIGESTS[besides] if besides is not None else None)
        return package.version.number if package else None

    assert rival(None) == 3
    assert rival(3) == 2
    assert rival(2) == 3
    registry.rollback("flights", why="bad")
    assert rival(None) == 2
    assert rival(2) == 1, "the one that was rolled back is nobody's rival"
    registry.rollback("flights", why="bad")
    assert rival(1) is None


def test_same_model_in_two_packages_is_not_its_own_rival(registry: Registry) -> None:
    add(registry, 1)
    for about in ({"card": 1}, {"card": 2}):
        registry.register("flights", {"model.onnx": b"same"}, about=about, model_digest=DIGESTS[5])
    for n in (1, 2, 3):
        registry.promote(f"flights@{n}", why="up")
    package = registry.champion("flights", besides=DIGESTS[5])
    assert package is not None
    assert package.version.number == 1


# --- what is damaged is not served ---------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["change", "delete"])
def test_damaged_package_is_not_opened_and_not_promoted(registry: Registry, store: Store, how: str) -> None:
    one, two = add(registry, 1), add(registry, 2)
    registry.promote("flights@1", why="x")
    package = registry.get("flights", 2)
    sha256 = package.manifest["files"]["model.onnx"]["sha256"]
    if how == "change":
        break_file(store, sha256)
    else:
        store.objects.delete(sha256)
    with pytest.raises(CorruptObjectError if how == "change" else NotFoundError):
        package.read("model.onnx")
    for act in (
        lambda: registry.get("flights", 2),
        lambda: registry.promote("flights@2", why="x"),
        lambda: registry.move_alias(two, "champion", expected=1, why="x"),
    ):
        with pytest.raises(RegistryError, match="missing from the store or damaged"):
            act()
    assert registry.get("flights", "champion").version == one
    assert numbers(registry) == [(1, None)]
    assert add(registry, 2) == two, "registering the package again brings its bytes back"
    assert registry.promote("flights@2", why="mended") is not None


def test_rollback_to_a_damaged_package_is_refused(registry: Registry, store: Store) -> None:
    for n in (1, 2):
        add(registry, n)
        registry.promote(f"flights@{n}", why="x")
    break_file(store, registry.get("flights", 1).manifest["files"]["model.onnx"]["sha256"])
    with pytest.raises(RegistryError, match="flights@1"):
        registry.rollback("flights", why="x")
    assert registry.resolve("flights").version.number == 2


def test_changed_manifest_is_noticed(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s") as store:
        registry = Registry(store, who="ada")
        add(registry, 1)
    with sqlite3.connect(tmp_path / "s" / "headrace.db") as connection:
        connection.execute("DROP TRIGGER versions_no_update")
        connection.execute("UPDATE versions SET manifest = replace(manifest, '0.51', '0.99')")
    connection.close()
    with Store.open(tmp_path / "s") as store, pytest.raises(RegistryError, match="does not match its digest"):
        Registry(store, who="ada").get("flights", 1)


# --- for ever -----------------------------------------------------------------------------------------------------

CHANGES = [table.delete() for table in (schema.alias_history, schema.versions, schema.package_files)] + [
    schema.alias_history.update().values(who="eve"),
    schema.alias_history.update().values(number=schema.alias_history.c.number),
    schema.versions.update().values(model_digest="0" * 64),
    schema.package_files.update().values(size=0),
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_database_refuses_to_rewrite_history(registry: Registry, change: sa.Update | sa.Delete) -> None:
    add(registry, 1)
    registry.promote("flights@1", why="x")
    before = registry.history("flights"), registry.versions("flights")
    database = registry.store.database
    with pytest.raises(Exception, match="append-only"), database.write() as connection:
        connection.execute(change)
    assert (registry.history("flights"), registry.versions("flights")) == before


def test_replacing_a_row_is_refused_too(registry: Registry) -> None:
    add(registry, 1)
    registry.promote("flights@1", why="x")
    database = registry.store.database
    if database.dialect == "sqlite":
        statement = "INSERT OR REPLACE INTO alias_history SELECT * FROM alias_history"
    else:
        statement = "TRUNCATE alias_history"
    with pytest.raises(Exception, match="append-only"), database.write() as connection:
        connection.core.exec_driver_sql(statement)
    assert len(registry.history("flights")) == 1


def test_history_survives_the_clock(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    from headrace.store import versions

    moments = iter([2_000_000_000.0, 1_000_000_000.0, 1_500_000_000.0])
    for n in (1, 2, 3):
        add(registry, n)
    monkeypatch.setattr(versions.time, "time", lambda: next(moments))
    for n in (1, 2, 3):
        registry.promote(f"flights@{n}", why="x")
    monkeypatch.undo()
    assert numbers(registry, "champion") == [(1, None), (2, 1), (3, 2)]
    assert registry.rollback("flights", why="x").version == 2


def test_registry_after_reopening(open_store: Callable[..., Store]) -> None:
    with open_store() as store:
        registry = Registry(store, who="ada")
        version = add(registry, 1)
        registry.promote("flights@1", why="x")
        history = registry.history("flights")
    with open_store(read_only=True) as store:
        registry = Registry(store, who="bob")
        assert registry.resolve("flights").version == version
        assert isinstance(registry.resolve("flights"), ModelPackage)
        assert registry.history("flights") == history


def test_predictor(registry: Registry) -> None:
    from headrace.errors import HeadraceError

    add(registry, 1)
    with pytest.raises(HeadraceError):  # these are not the files of a model, and it says so
        registry.get("flights", 1).predictor()


def test_a_version_that_lost_a_file_needs_repair_unless_somebody_took_it_down(store: Store, registry: Registry) -> None:
    first, second, never = (add(registry, n) for n in (1, 2, 3))
    registry.promote("flights@1", why="x")
    registry.promote("flights@2", why="x")
    assert not any(registry.needs_repair(v) for v in (first, second, never))
    for n in (1, 2, 3):
        break_file(store, hashlib.sha256(b"model %d" % n).hexdigest())
    assert registry.needs_repair(second)
    assert registry.needs_repair(never)
    assert not registry.needs_repair(first)  # registered again, it would be champion again
    assert not registry.needs_repair(ModelVersion("flights", 9, second.package))
