"""Names of collections and empty words are checked by every command that takes one, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from typer.models import ParameterInfo
from typer.testing import CliRunner

from scripts.cli import app
from scripts.commands.names import collection_name, collection_names, not_empty
from tests.scripts.test_empty_paths import commands

NAMES = ("collection", "alias", "old", "new")
MAY_BE_EMPTY = ("prefix", "prompt", "java_options", "management_hosts")
CHECKED = ("embed", "layout", "expires")  # by the command itself


def parameters(*kinds: object) -> Iterator[tuple[str, str, ParameterInfo]]:
    """Command, name and typer's account of each parameter of one of these types."""
    for command in commands(app):
        for name, hint in get_type_hints(command, include_extras=True).items():
            info = next((each for each in get_args(hint) if isinstance(each, ParameterInfo)), None)
            if info is not None and get_args(hint)[0] in kinds:
                yield command.__name__, name, info


def words() -> list[Any]:
    found = parameters(str, str | None)
    return [pytest.param(i, id=f"{c} {n}") for c, n, i in found if n not in (*MAY_BE_EMPTY, *CHECKED)]


def names() -> list[Any]:
    found = parameters(str, str | None, list[str] | None)
    return [pytest.param(i, id=f"{c} {n}") for c, n, i in found if n in NAMES]


@pytest.mark.parametrize("info", words())
def test_an_empty_word_is_not_taken_for_none(info: ParameterInfo) -> None:
    assert info.parser is not None or info.callback in (not_empty, collection_name)


@pytest.mark.parametrize(
    "words",
    [
        ["search", "a star", "--rerank"],
        ["search", "a star", "--url"],
        ["sync", ".", "--collection", "a", "--name"],
        ["keys", "list", "--database"],
        ["caption", "a.jpg", "--method"],
        ["model", "remove"],
        ["archive", "build"],
        ["up", "--precision"],
        ["up", "--model"],
        ["bulk", "--model", "demo", "--out", "o"],
    ],
)
def test_it_is_refused(words: list[str]) -> None:
    ended = CliRunner().invoke(app, [*words, ""], env={"COLUMNS": "200"})
    assert (ended.exit_code, "it is empty: give it a value" in ended.output) == (2, True), ended.output


def test_an_empty_variable_is_none(tmp_path: Path) -> None:
    words = ["keys", "list", "--file", str(tmp_path / "keys.db")]
    ended = CliRunner().invoke(app, words, env={"CLIPSERVE_GATEWAY_DATABASE_URL": ""})
    assert ended.exit_code == 0, ended.output


@pytest.mark.parametrize("info", names())
def test_every_command_checks_it(info: ParameterInfo) -> None:
    assert info.callback in (collection_name, collection_names)


@pytest.mark.parametrize(
    "words",
    [
        ["search", "a star", "--collection"],
        ["ask", "what?", "--collection"],
        ["sync", ".", "--collection"],
        ["bulk", ".", "--model", "demo", "--out", "o", "--collection"],
        ["keys", "create", "me", "--collection"],
        ["duplicates"],
        ["caption-collection"],
        ["index", "snapshot"],
        ["index", "move", "demo", "--to", "milvus", "--as"],
        ["index", "move", "demo", "--to", "milvus", "--alias"],
        ["reindex", "demo"],
    ],
)
@pytest.mark.parametrize("name", ["x/../demo", ""])
def test_what_is_no_name_is_refused(words: list[str], name: str) -> None:
    ended = CliRunner().invoke(app, [*words, name], env={"COLUMNS": "200"})
    assert (ended.exit_code, "a name is 1 to 64 of A-Z a-z 0-9 _ -" in ended.output) == (2, True), ended.output
