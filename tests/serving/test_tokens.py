"""The file of tokens: what is written there, what is not, and who may change it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from headrace.errors import InvalidNameError, NotFoundError, ServingError, StoreError
from headrace.serving import tokens

DAY = 86_400.0


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tokens.json"


def test_a_token_is_256_random_bits_and_kept_as_its_hash(path):
    made = [tokens.create(path, f"t{i}", scopes=["predict"], seconds=DAY) for i in range(20)]
    assert len({secret for _, secret in made}) == len({token.id for token, _ in made}) == 20
    for token, secret in made:
        prefix, _, random = secret.partition("_")
        assert prefix == "hrt"
        assert len(base64.urlsafe_b64decode(random + "=")) == 32
        assert token.sha256 == hashlib.sha256(secret.encode()).hexdigest()
        assert secret not in path.read_text()
        assert random not in path.read_text()
    assert tokens.read(path) == [token for token, _ in made]


def test_only_its_owner_can_read_the_file_even_where_everybody_could(path):
    before = os.umask(0)
    try:
        tokens.create(path, "a", scopes=["predict"], seconds=DAY)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        tokens.revoke(path, "a")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(before)
    assert [one.name for one in path.parent.iterdir()] == ["tokens.json"]


def test_scopes_are_those_that_there_are(path):
    token, _ = tokens.create(path, "a", scopes=["observe", "predict", "observe"], seconds=DAY)
    assert token.scopes == ("predict", "observe")
    for scopes, found in [([], "none"), (["predict", "root"], "'root'")]:
        with pytest.raises(ServingError, match=f"the scope is {found}, expected predict, observe, admin"):
            tokens.create(path, "b", scopes=scopes, seconds=DAY)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf"), 11 * 365 * DAY])
def test_every_token_ends(path, seconds):
    with pytest.raises(ServingError, match="cannot be valid for"):
        tokens.create(path, "a", scopes=["predict"], seconds=seconds)


def test_a_token_is_valid_until_it_ends_or_is_revoked(path):
    token, _ = tokens.create(path, "a", scopes=["predict"], seconds=100, now=1000)
    assert [token.state(now) for now in (1000, 1099, 1100, 1e12)] == ["valid", "valid", "expired", "expired"]
    gone = tokens.revoke(path, "a", now=1050)
    assert (gone.state(1051), gone.revoked) == ("revoked", 1050)
    assert tokens.revoke(path, token.id, now=1060) == gone
    assert tokens.read(path) == [gone]
    # A name is free again.
    again, _ = tokens.create(path, "a", scopes=["admin"], seconds=100, now=1070)
    assert tokens.revoke(path, "a", now=1080).id == again.id


@pytest.mark.parametrize("name", ["", "a b", "a/b", "../a", "a\n", "-a", "ü", "a" * 65, "a\0"])
def test_names_are_checked(path, name):
    with pytest.raises(InvalidNameError, match="cannot be the name of a token"):
        tokens.create(path, name, scopes=["predict"], seconds=DAY)
    assert not path.exists()


def test_no_two_valid_tokens_have_a_name(path):
    tokens.create(path, "a", scopes=["predict"], seconds=DAY)
    with pytest.raises(InvalidNameError, match="there is a valid token of the name 'a'"):
        tokens.create(path, "a", scopes=["predict"], seconds=DAY)


def test_what_is_not_there_is_said(path):
    with pytest.raises(NotFoundError, match="there is no file of tokens"):
        tokens.revoke(path, "a")
    with pytest.raises(NotFoundError, match="there is no such folder"):
        tokens.create(path.parent / "none" / "t.json", "a", scopes=["predict"], seconds=DAY)
    tokens.create(path, "a", scopes=["predict"], seconds=DAY)
    with pytest.raises(NotFoundError, match="there is no token 'b'") as caught:
        tokens.revoke(path, "b")
    assert caught.value.hint == "Those that are valid: a."


def test_a_damaged_file_is_neither_used_nor_overwritten(path):
    tokens.create(path, "a", scopes=["predict"], seconds=DAY)
    good = path.read_text()
    for text in ("", "{", "[]", '{"tokens": []}', good.replace("expires", "ends"), good.replace('"predict"', "1")):
        path.write_text(text)
        for change in (
            lambda: tokens.create(path, "b", scopes=["admin"], seconds=DAY),
            lambda: tokens.revoke(path, "a"),
        ):
            with pytest.raises(ServingError, match="is no file of tokens"):
                change()
        assert path.read_text() == text
    path.write_text(json.dumps({"format_version": 2, "tokens": []}))
    with pytest.raises(ServingError, match="has the format 2, expected 1"):
        tokens.read(path)


def test_those_that_ended_long_ago_are_forgotten(path):
    now = time.time()
    tokens.create(path, "old", scopes=["predict"], seconds=10, now=now - 100 * DAY)
    tokens.create(path, "lately", scopes=["predict"], seconds=10, now=now - 80 * DAY)
    tokens.create(path, "new", scopes=["predict"], seconds=DAY, now=now)
    assert [token.name for token in tokens.read(path)] == ["lately", "new"]


def test_many_at_once_lose_none(path):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: tokens.create(path, f"t{i}", scopes=["predict"], seconds=DAY), range(12)))
    code = (
        "import sys; from pathlib import Path; from headrace.serving import tokens\n"
        "for i in range(4): tokens.create(Path(sys.argv[1]), sys.argv[2] + str(i), scopes=['predict'], seconds=99)"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, path, name]) for name in ("p", "q")]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert len({token.name for token in tokens.read(path)}) == 20


def test_where_nothing_can_be_written_the_old_file_stays(path, monkeypatch):
    tokens.create(path, "a", scopes=["predict"], seconds=DAY)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="cannot write the tokens: No space left"):
        tokens.create(path, "b", scopes=["predict"], seconds=DAY)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == ["tokens.json"]
