"""An empty path, as `clipserve ingest "$UNSET"` gives, is never taken for the current folder."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import typer
from typer.models import ParameterInfo

from scripts.cli import app
from scripts.commands.paths import existing_folder, named_path


def commands(group: typer.Typer) -> Iterator[Callable[..., Any]]:
    yield from (each.callback for each in group.registered_commands if each.callback is not None)
    for each in group.registered_groups:
        if each.typer_instance is not None:
            yield from commands(each.typer_instance)


def paths() -> Iterator[Any]:
    for command in commands(app):
        for name, hint in get_type_hints(command, include_extras=True).items():
            info = next((each for each in get_args(hint) if isinstance(each, ParameterInfo)), None)
            if info is not None and "Path" in str(get_args(hint)[0]):
                yield pytest.param(info, id=f"{inspect.unwrap(command).__name__} {name}")


@pytest.mark.parametrize("info", list(paths()))
def test_every_command_refuses_it(info: ParameterInfo) -> None:
    assert info.parser in (named_path, existing_folder) or not info.dir_okay


def test_what_is_named(tmp_path: Path) -> None:
    assert named_path(".") == Path()
    assert existing_folder(str(tmp_path)) == tmp_path
    for parse, given in ((named_path, ""), (existing_folder, ""), (existing_folder, __file__)):
        with pytest.raises(typer.BadParameter, match=r"it is empty|is no folder"):
            parse(given)
