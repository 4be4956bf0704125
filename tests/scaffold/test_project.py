from __future__ import annotations

import datetime as dt
import pickle
import re
import shlex
import stat
import tomllib
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import DataError, SpecError, StoreError
from headrace.pipeline.spec import load
from headrace.scaffold.project import init_project, spec_text
from headrace.scaffold.sketch import recurring_parts, sketch

ROWS = 200


def table(**columns) -> pl.DataFrame:
    frame = pl.DataFrame(
        {
            "x": [i * 7 % 13 / 3 for i in range(ROWS)],
            "kind": ["abc"[i % 3] for i in range(ROWS)],
            "y": [(i * 5 + i % 3) % 2 for i in range(ROWS)],
        }
    )
    return frame.with_columns(**columns)


def seen(frame: pl.DataFrame, target: str = "y", **options):
    return sketch(frame, target, place="data", **options)


def written(tmp_path: Path, frame: pl.DataFrame, target: str = "y", **options):
    data = tmp_path / "data.parquet"
    frame.write_parquet(data)
    done = init_project(tmp_path / "project", data=str(data), target=target, **options)
    return done, tomllib.loads((tmp_path / "project" / "headrace.toml").read_text())


# --- what is seen ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "task"),
    [
        ([i % 2 == 0 for i in range(ROWS)], "binary"),
        (["yes" if i % 3 else "no" for i in range(ROWS)], "binary"),
        ([float(i % 2) for i in range(ROWS)], "binary"),
        (["abc"[i % 3] for i in range(ROWS)], "multiclass"),
        ([i % 4 for i in range(ROWS)], "multiclass"),
        ([i * 3 for i in range(ROWS)], "regression"),
        ([i / 7 for i in range(ROWS)], "regression"),
    ],
)
def test_the_task_follows_from_the_target(values, task):
    assert seen(table(y=pl.Series(values))).task == task


def test_what_a_person_says_wins():
    assert seen(table(y=pl.Series([i % 4 for i in range(ROWS)])), task="regression").task == "regression"


def days(n: int = ROWS, start: dt.date = dt.date(2024, 1, 1)) -> pl.Series:
    return pl.Series([start + dt.timedelta(days=i) for i in range(n)])


def test_a_date_in_every_row_orders_the_rows():
    found = seen(table(sold_on=days()))
    assert (found.division.use, found.division.column, found.time_column) == ("time", "sold_on", "sold_on")


def test_a_birthday_is_not_when_the_row_happened():
    found = seen(table(date_of_birth=days()))
    assert (found.division.use, found.time_column) == ("random", None)


def test_a_date_with_gaps_is_not_when_the_row_happened():
    assert seen(table(day=days().scatter(3, None))).division.use == "random"


def test_of_several_dates_the_sorted_one_is_taken_and_the_others_are_named():
    shuffled = days().sample(fraction=1, shuffle=True, seed=1)
    found = seen(table(updated=shuffled, event_time=days().cast(pl.Datetime("us"))))
    assert found.time_column == "event_time"
    assert list(found.other_times) == ["updated"]


def test_a_division_by_time_that_leaves_a_part_without_a_class_is_not_made():
    late = pl.Series([1 if i < 20 else 0 for i in range(ROWS)])
    found = seen(table(day=days(), y=late))
    assert found.division.use == "random"
    assert "'day'" in found.division.why
    assert "no row in" in found.division.why
    assert found.time_column is None


def test_a_stated_time_column_may_be_a_number():
    found = seen(table(week=pl.Series(range(ROWS))), time_column="week")
    assert (found.division.use, found.time_column, found.time_parts) == ("time", "week", None)


def test_a_stated_time_column_that_is_text_is_refused():
    with pytest.raises(SpecError, match="'kind' is of type String"):
        seen(table(), time_column="kind")


def test_things_that_several_rows_are_about_stay_together():
    found = seen(table(customer_id=pl.Series([i // 4 for i in range(ROWS)])))
    assert (found.division.use, found.division.column) == ("group", "customer_id")
    assert "customer_id" in found.id_columns


def test_columns_that_name_rows_are_no_features():
    found = seen(
        table(
            row_id=pl.Series(range(ROWS)),
            mail=pl.Series([f"p{i}@example.org" for i in range(ROWS)]),
            constant=pl.lit(3),
            empty=pl.lit(None),
        )
    )
    assert list(found.id_columns) == ["row_id", "mail"]


def test_rows_without_a_target_are_counted():
    target = pl.Series([None if i % 10 == 0 else i % 2 for i in range(ROWS)])
    found = seen(table(y=target))
    assert (found.unlabelled, found.known) == (ROWS // 10, ROWS - ROWS // 10)


@pytest.mark.parametrize(
    ("count", "parts"),
    [(5, ()), (20, ("day_of_week",)), (100, ("day", "day_of_week")), (800, ("month", "day", "day_of_week"))],
)
def test_only_parts_that_came_round_twice_recur(count, parts):
    assert recurring_parts(days(count)) == parts


def test_the_clock_recurs_daily():
    times = pl.Series([dt.datetime(2024, 1, 1, tzinfo=dt.UTC) + dt.timedelta(hours=i) for i in range(100)])
    assert recurring_parts(times) == ("hour", "minute")


# --- what is written ------------------------------------------------------------------------------------------------


def test_the_spec_is_read_by_headrace_itself(tmp_path):
    done, document = written(tmp_path, table(sold_on=days()))
    spec = load(done.directory)
    assert spec.name == "project"
    kinds = ["ingest", "validate", "split", "features", "train", "evaluate", "gate", "register", "report"]
    assert [stage.kind for stage in spec.stages] == kinds
    assert document["project"]["target"] == "y"
    assert document["project"]["task"] == "binary"
    assert document["project"]["time_column"] == "sold_on"
    assert document["features"]["columns"] == {"sold_on": {"time_parts": ["day", "day_of_week"]}}
    assert document["ingest"]["path"] == "../data.parquet"


def test_the_comments_say_what_was_seen(tmp_path):
    target = pl.Series([None if i % 10 == 0 else i % 2 for i in range(ROWS)])
    done, _ = written(tmp_path, table(y=target, row_id=pl.Series(range(ROWS))))
    text = " ".join((done.directory / "headrace.toml").read_text().replace("\n#", "").split())
    assert "200 rows, 4 columns" in text
    assert "20 of 200 rows have no y" in text
    assert "1 55.6%, 0 44.4%" in text
    assert "kind category: 3 values" in text


def test_the_same_data_gives_the_same_text(tmp_path):
    frame = table(sold_on=days())
    assert spec_text(seen(frame), name="n", path="p", shown="d") == spec_text(
        seen(frame), name="n", path="p", shown="d"
    )


PATTERNS = ["*", "^a$", "^.*$", "type:number", "regex:x", ""]
names = st.sampled_from(PATTERNS) | st.text(
    st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=12
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(names, min_size=4, max_size=6, unique=True),
    st.lists(st.text(st.characters(codec="utf-8"), max_size=6), min_size=2, max_size=3, unique=True),
)
def test_any_names_and_labels_give_a_spec_that_reads_back(columns, labels):
    frame = pl.DataFrame(
        {
            columns[0]: [labels[i % len(labels)] for i in range(60)],
            columns[1]: [i % 7 / 2 for i in range(60)],
            columns[2]: [f"id {i}" for i in range(60)],
            columns[3]: [dt.date(2024, 1, 1) + dt.timedelta(days=i) for i in range(60)],
        }
    )
    found = sketch(frame, columns[0], place="data")
    document = tomllib.loads(spec_text(found, name="n", path=columns[1], shown=columns[2]))
    assert document["project"]["target"] == columns[0]
    assert document["project"]["id_columns"] == [columns[2]]
    assert document["ingest"]["path"] == columns[1]
    if found.time_column is not None:
        assert document["project"]["time_column"] == columns[3]
        assert list(document["features"]["columns"]) == [columns[3]]


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("Churn 2024!", "churn-2024"),
        ("flights", "flights"),
        ("_-.", "project"),
        ("ÄÖ", "project"),
        ("a" * 130, "a" * 100),
    ],
)
def test_the_name_is_made_from_the_folder(tmp_path, folder, name):
    table().write_parquet(tmp_path / "d.parquet")
    assert init_project(tmp_path / folder, data=str(tmp_path / "d.parquet"), target="y").name == name


def test_data_inside_the_folder_is_named_from_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("p/data").mkdir(parents=True)
    table().write_parquet("p/data/d.parquet")
    init_project(Path("p"), data="p/data/d.parquet", target="y")
    assert tomllib.loads(Path("p/headrace.toml").read_text())["ingest"]["path"] == "data/d.parquet"


def test_data_far_away_is_named_from_the_root(tmp_path):
    far = tmp_path / "a" / "b" / "c" / "p"
    table().write_parquet(tmp_path / "d.parquet")
    init_project(far, data=str(tmp_path / "d.parquet"), target="y")
    assert tomllib.loads((far / "headrace.toml").read_text())["ingest"]["path"] == str(tmp_path / "d.parquet")


def test_numbers_with_a_decimal_comma_are_read_as_numbers(tmp_path):
    lines = [f"{i // 7},{i % 7};{'ab'[i % 2]};{i % 3 % 2}" for i in range(ROWS)]
    (tmp_path / "d.csv").write_text("\n".join(["x;kind;y", *lines]))
    done = init_project(tmp_path / "p", data=str(tmp_path / "d.csv"), target="y")
    document = tomllib.loads((tmp_path / "p" / "headrace.toml").read_text())
    assert done.sketch.types["x"] == "float64"
    assert document["ingest"]["decimal_comma"] is True


MIXED = "\n".join(["x,my zip,y", *(f"{i if i != 17 else 'lost'},0{i % 9},{i % 3 % 2}" for i in range(ROWS))])


def test_how_the_data_is_read_is_written_down(tmp_path):
    (tmp_path / "d.csv").write_text(MIXED.replace(",", ";"))
    overrides = ["ingest.null_values=['lost']", 'ingest.types."my zip"=Int64', "ingest.separator=;"]
    done = init_project(tmp_path / "p", data=str(tmp_path / "d.csv"), target="y", overrides=overrides)
    assert (done.sketch.types["x"], done.sketch.types["my zip"]) == ("int64", "int64")
    ingest = tomllib.loads((tmp_path / "p" / "headrace.toml").read_text())["ingest"]
    assert ingest == {
        "use": "files",
        "path": "../d.csv",
        "null_values": ["lost"],
        "types": {"my zip": "Int64"},
        "separator": ";",
    }
    assert load(tmp_path / "p").stage("ingest").config["separator"] == ";"


@pytest.mark.parametrize(
    ("text", "way_out"),
    [
        (MIXED, ["""`--set 'ingest.null_values=["lost"]'`""", """'ingest.types={ "x" = "String" }'"""]),
        (MIXED.replace("my zip", "x"), ["`--set 'ingest.columns=[...]'`"]),
        (MIXED + "\n1,2\n", ["pass `--set ingest.separator=...`"]),
        (MIXED + '\n"1,2,3\n', ["pass `--set ingest.quote=false`"]),
    ],
)
def test_the_way_out_of_data_that_cannot_be_read_is_an_option(tmp_path, text, way_out):
    (tmp_path / "d.csv").write_text(text)
    with pytest.raises(DataError) as caught:
        init_project(tmp_path / "p", data=str(tmp_path / "d.csv"), target="y")
    for words in way_out:
        assert words in caught.value.hint
    assert "set `" not in caught.value.hint
    assert not (tmp_path / "p").exists()


def test_the_way_out_works_as_it_is_said(tmp_path):
    (tmp_path / "d.csv").write_text(MIXED)
    with pytest.raises(DataError) as caught:
        init_project(tmp_path / "p", data=str(tmp_path / "d.csv"), target="y")
    options = [shlex.split(said)[1] for said in re.findall(r"`(--set [^`]*)`", caught.value.hint)]
    assert len(options) == 2
    for number, option in enumerate(options):
        init_project(tmp_path / str(number), data=str(tmp_path / "d.csv"), target="y", overrides=[option])


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.num_leaves=3", "is not about reading"),
        ("ingest.path=x.csv", "--data FILE"),
        ("ingest.seperator=;", "'separator'"),
        ("ingest.separator=;;", "at most 1 character"),
        ("separator=;", "is not an override"),
    ],
)
def test_a_wrong_override(tmp_path, override, words):
    (tmp_path / "d.csv").write_text(MIXED)
    with pytest.raises(SpecError, match=words) as caught:
        init_project(tmp_path / "p", data=str(tmp_path / "d.csv"), target="y", overrides=[override])
    assert caught.value.place.startswith("--set")


def test_text_with_commas_stays_text(tmp_path):
    lines = [f'{i},"{i % 9},{i % 7},{i % 5}",{i % 3 % 2}' for i in range(ROWS)]
    (tmp_path / "d.csv").write_text("\n".join(["x,code,y", *lines]))
    done = init_project(tmp_path / "p", data=str(tmp_path / "d.csv"), target="y")
    assert done.sketch.types["code"] == "string"
    assert "decimal_comma" not in tomllib.loads((tmp_path / "p" / "headrace.toml").read_text())["ingest"]


def test_a_wide_table_is_summed_up(tmp_path):
    wide = table().with_columns(pl.Series(f"c{i}", [(j * i) % 11 for j in range(ROWS)]) for i in range(500))
    done, document = written(tmp_path, wide)
    text = (done.directory / "headrace.toml").read_text()
    assert "and 462 more" in text
    assert len(text.splitlines()) < 140
    assert document["train"]["feature_fraction"] == 0.6


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["headrace.toml", "expectations.toml"])
def test_nothing_is_written_over(tmp_path, name):
    project = tmp_path / "project"
    project.mkdir()
    (project / name).write_text("mine")
    with pytest.raises(SpecError, match="it is there already"):
        written(tmp_path, table())
    assert (project / name).read_text() == "mine"
    assert [path.name for path in project.iterdir()] == [name]
    written(tmp_path, table(), force=True)
    assert (project / name).read_text() != "mine"


def refused(tmp_path: Path, data: Path, target: str = "y", **options) -> str:
    with pytest.raises((DataError, SpecError)) as caught:
        init_project(tmp_path / "project", data=str(data), target=target, **options)
    assert not (tmp_path / "project").exists()
    assert caught.value.hint
    return str(caught.value)


def test_a_missing_file(tmp_path):
    assert "there is no such file" in refused(tmp_path, tmp_path / "none.csv")


def test_a_folder(tmp_path):
    (tmp_path / "d").mkdir()
    assert "folder" in refused(tmp_path, tmp_path / "d")


def test_an_empty_file(tmp_path):
    (tmp_path / "d.csv").touch()
    assert "the file is empty" in refused(tmp_path, tmp_path / "d.csv")


def test_zero_rows(tmp_path):
    (tmp_path / "d.csv").write_text("x,y\n")
    assert "no rows" in refused(tmp_path, tmp_path / "d.csv")
    table().clear().write_parquet(tmp_path / "d.parquet")
    assert "no rows" in refused(tmp_path, tmp_path / "d.parquet")


def test_an_absent_target_names_the_nearest(tmp_path):
    table().write_parquet(tmp_path / "d.parquet")
    text = refused(tmp_path, tmp_path / "d.parquet", target="knd")
    assert "there is no column 'knd'" in text
    assert "'kind'" in text


@pytest.mark.parametrize("value", [1, "always", True, 2.5])
def test_a_constant_target(tmp_path, value):
    table(y=pl.lit(value)).write_parquet(tmp_path / "d.parquet")
    assert "in every row" in refused(tmp_path, tmp_path / "d.parquet")


@pytest.mark.parametrize("dtype", [pl.Int64, pl.String, pl.Boolean, pl.Float64])
def test_a_target_without_values(tmp_path, dtype):
    table(y=pl.lit(None, dtype=dtype)).write_parquet(tmp_path / "d.parquet")
    assert "no value" in refused(tmp_path, tmp_path / "d.parquet")


def test_a_target_that_cannot_be_one(tmp_path):
    table(y=days()).write_parquet(tmp_path / "d.parquet")
    assert "cannot be a target" in refused(tmp_path, tmp_path / "d.parquet")


def test_duplicate_columns(tmp_path):
    (tmp_path / "d.csv").write_text("x,y,x\n1,0,2\n2,1,3\n")
    assert "stands twice" in refused(tmp_path, tmp_path / "d.csv")


def test_an_unknown_format(tmp_path):
    (tmp_path / "d.dat").write_bytes(b"\x00\x01\x02\x03" * 10)
    assert "no known format" in refused(tmp_path, tmp_path / "d.dat")


def test_a_pickle_in_disguise(tmp_path):
    (tmp_path / "d.parquet").write_bytes(pickle.dumps({"x": [1, 2]}))
    assert "pickle" in refused(tmp_path, tmp_path / "d.parquet")


def test_too_few_rows(tmp_path):
    table().head(4).write_parquet(tmp_path / "d.parquet")
    assert "too few" in refused(tmp_path, tmp_path / "d.parquet")


def test_a_class_with_one_row(tmp_path):
    table(y=pl.Series([int(i == 7) for i in range(ROWS)])).write_parquet(tmp_path / "d.parquet")
    assert "has no row in" in refused(tmp_path, tmp_path / "d.parquet")


def test_nothing_but_a_target_and_a_name(tmp_path):
    frame = table(mail=pl.Series([f"{i}@example.org" for i in range(ROWS)])).select("mail", "y")
    frame.write_parquet(tmp_path / "d.parquet")
    said = refused(tmp_path, tmp_path / "d.parquet")
    assert "no column is left to be a feature" in said
    assert "d.parquet" in said
    assert "[features]" not in said  # there is no spec yet


@pytest.mark.parametrize("name", ["", "No", "a b", "../x", "x" * 101])
def test_a_name_that_is_not_allowed(tmp_path, name):
    table().write_parquet(tmp_path / "d.parquet")
    assert "is not allowed" in refused(tmp_path, tmp_path / "d.parquet", name=name)


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "project").write_text("")
    table().write_parquet(tmp_path / "d.parquet")
    with pytest.raises(SpecError, match="must be a folder"):
        init_project(tmp_path / "project", data=str(tmp_path / "d.parquet"), target="y")


@pytest.mark.skipif(Path("/proc/self").owner() == "root", reason="root may write anywhere")
def test_a_read_only_folder(tmp_path):
    table().write_parquet(tmp_path / "d.parquet")
    locked = tmp_path / "locked"
    locked.mkdir(mode=stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(StoreError, match="cannot be made"):
        init_project(locked / "project", data=str(tmp_path / "d.parquet"), target="y")


def test_a_folder_that_cannot_be_made(tmp_path):
    table().write_parquet(tmp_path / "d.parquet")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be made"):
        init_project(tmp_path / "file" / "project", data=str(tmp_path / "d.parquet"), target="y")
