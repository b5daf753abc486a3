"""`clipserve keys`, as it is typed."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from clip_core.errors import BadInput
from gateway.keys.api_key import KeyLimits
from gateway.keys.key_lookup import KeyLookup
from gateway.keys.key_store import KeyStore
from scripts.cli import app
from scripts.commands.keys_command import revoke, seconds, show


@pytest.fixture
def run(tmp_path: Path):
    def call(*words: str, status: int = 0) -> str:
        environment = {"CLIPSERVE_GATEWAY_KEYS_FILE": str(tmp_path / "keys.db"), "COLUMNS": "200"}
        result = CliRunner().invoke(app, ["keys", *words], env=environment)
        assert result.exit_code == status, result.output
        return result.stdout

    return call


def test_create_list_revoke(run, tmp_path):
    secret = run(
        "create", "shop", "--scope", "embed", "--collection", "a", "--expires", "90d", "--concurrency", "2"
    ).strip()
    key = KeyLookup((), KeyStore(tmp_path / "keys.db")).identify(secret)
    assert (key.name, key.scopes, key.collections) == ("shop", ("embed",), ("a",))
    assert key.limits == KeyLimits(concurrency=2)
    listed = run("list")
    assert key.id in listed
    assert "active" in listed
    assert secret.removeprefix(f"cs_{key.id}_") not in listed
    run("revoke", key.id)
    assert "revoked" in run("list")


def test_what_cannot_be_done(run):
    run("create", "shop", "--scope", "root", status=1)
    run("revoke", "nobody", status=1)
    run("create", "shop", "--expires", "soon", status=2)


def test_a_damaged_file_is_named_in_one_line(tmp_path):
    file = tmp_path / "keys.db"
    file.write_bytes(b"not a database, but long enough to be looked at")
    for command in (lambda: show(file), lambda: revoke("a", file)):
        with pytest.raises(BadInput, match="cannot be used"):
            command()


@pytest.mark.parametrize("expires", [float("inf"), 1e18, "tomorrow"])
def test_a_damaged_key_is_shown_as_such(run, tmp_path, expires):
    run("create", "[/good]")
    run("create", "bad")
    with closing(sqlite3.connect(tmp_path / "keys.db")) as connection, connection:
        connection.execute("UPDATE keys SET expires = ? WHERE name = 'bad'", (expires,))
    listed = run("list")
    assert "damaged" in listed
    assert "[/good]" in listed


def test_a_pipe_is_no_file_of_keys(tmp_path):
    file = tmp_path / "keys.db"
    os.mkfifo(file)
    for command in (lambda: show(file), lambda: revoke("a", file)):
        with pytest.raises(BadInput, match="no regular file"):
            command()


def test_times():
    assert [seconds(text) for text in ("30m", "12h", "90d", "8w")] == [1800, 43200, 7776000, 4838400]
    for text in ("", "0d", "-1d", "1y", "d"):
        with pytest.raises(typer.BadParameter):
            seconds(text)
