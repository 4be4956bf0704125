"""`headrace tokens` as a person calls it, and a server that asks for them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from click.testing import CliRunner

from headrace.cli.main import cli
from headrace.serving import tokens as kept
from serving.served import graph


def call(*args: object, code: int = 0):
    done = CliRunner().invoke(cli, [str(arg) for arg in args])
    assert done.exit_code == code, done.output
    return done


@pytest.fixture
def file(tmp_path):
    return tmp_path / "tokens.json"


def test_a_token_is_shown_once_and_listed_without_its_secret(file):
    done = call("tokens", "create", "shop", "--tokens", file)
    secret = done.stdout.strip()
    assert secret.startswith("hrt_")
    assert done.stderr.startswith("shop (predict) is valid until ")
    made = json.loads(
        call("tokens", "create", "ops", "--scope", "admin", "--expires", "12h", "--tokens", file, "--json").stdout
    )
    assert set(made) == {"token", "about"}
    assert made["about"]["scopes"] == ["admin"]
    listed = call("tokens", "list", "--tokens", file).stdout
    assert "shop" in listed
    assert "ops" in listed
    document = json.loads(call("tokens", "list", "--tokens", file, "--json").stdout)
    assert [one["state"] for one in document["tokens"]] == ["valid", "valid"]
    for hidden in (secret, made["token"], *(token.sha256 for token in kept.read(file))):
        assert hidden not in listed + json.dumps(document)


def test_a_revoked_token_is_listed_as_such(file):
    call("tokens", "create", "shop", "--tokens", file)
    gone = json.loads(call("tokens", "revoke", "shop", "--tokens", file, "--json").stdout)
    assert gone["about"]["state"] == "revoked"
    assert "revoked" in call("tokens", "list", "--tokens", file).stdout


def test_what_is_wrong_has_its_exit_code(file):
    assert "cannot be the name" in call("tokens", "create", "a b", "--tokens", file, code=2).stderr
    assert "is no length of time" in call("tokens", "create", "a", "--expires", "90", "--tokens", file, code=2).stderr
    assert "cannot be valid for" in call("tokens", "create", "a", "--expires", "9999d", "--tokens", file, code=3).stderr
    call("tokens", "create", "a", "--scope", "root", "--tokens", file, code=2)
    assert "there is no file" in call("tokens", "revoke", "a", "--tokens", file, code=2).stderr
    assert "there is no file" in call("tokens", "list", "--tokens", file, code=2).stderr
    call("tokens", "create", "a", "--tokens", file)
    assert "there is no token 'b'" in call("tokens", "revoke", "b", "--tokens", file, code=2).stderr
    file.write_text("{")
    assert "is no file of tokens" in call("tokens", "list", "--tokens", file, code=3).stderr


def test_without_a_store_there_is_no_place_for_them(tmp_path):
    (tmp_path / "headrace.toml").write_text('[project]\nname = "p"\n')
    call("tokens", "create", "a", "--project", tmp_path, code=2)


def serve(*args: object, cwd, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "headrace.cli.main", "serve", *map(str, args), "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
    )


def status(url: str, secret: str | None = None) -> int:
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as reply:  # noqa: S310
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.e2e
def test_beyond_the_loopback_it_takes_tokens(tmp_path):
    model = graph(tmp_path / "late.onnx")
    refused = serve(model, "--host", "0.0.0.0", cwd=tmp_path)  # noqa: S104
    out, err = refused.communicate(timeout=60)
    assert (refused.returncode, out) == (3, "")
    assert "is reachable from other machines, and no tokens are given" in err
    assert "headrace tokens create" in err
    secret = call("tokens", "create", "shop", "--tokens", tmp_path / "tokens.json").stdout.strip()
    (tmp_path / "serve.toml").write_text('[server]\nhost = "0.0.0.0"\ntokens = "tokens.json"\n')
    ways = [
        ((model, "--host", "0.0.0.0", "--tokens", "tokens.json"), {}),  # noqa: S104
        ((model, "--host", "0.0.0.0"), {"HEADRACE_TOKENS": "tokens.json"}),  # noqa: S104
        ((model, "--config", tmp_path / "serve.toml"), {}),
    ]
    for args, environment in ways:
        running = serve(*args, cwd=tmp_path, **environment)
        try:
            url = json.loads(running.stdout.readline())["url"].replace("0.0.0.0", "127.0.0.1")  # noqa: S104
            assert [status(f"{url}/v2"), status(f"{url}/v2", secret), status(f"{url}/ping")] == [401, 200, 200]
        finally:
            running.send_signal(signal.SIGTERM)
            out, err = running.communicate(timeout=60)
        assert running.returncode == 0
        assert secret not in out + err
