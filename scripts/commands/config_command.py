"""`clipserve config show | check | schema`: the configuration file of `clipserve up`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scripts.commands.paths import named_path

if TYPE_CHECKING:
    from scripts.config.config_file import ConfigFile
    from scripts.config.layers import Layered

config = typer.Typer(help="Show and check the configuration of `clipserve up`.", no_args_is_help=True)
_File = Annotated[
    Path | None,
    typer.Option("--config", envvar="CLIPSERVE_CONFIG", help="The YAML file; none unless given.", parser=named_path),
]


@config.command("show")
def show(
    file: _File = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
    changed: Annotated[bool, typer.Option("--changed", help="Only what is not a default.")] = False,
) -> None:
    """Show every value that `clipserve up` would use here, and where it comes from: environment, file or default.

    Example: clipserve config show --config clipserve.yaml --changed
    """
    from scripts.config import layers
    from scripts.stack.up_settings import unknown_names

    with _faults_told():
        loaded = _loaded(file)
        for notice in (*loaded.notices, *unknown_names()):
            typer.echo(f"notice {notice}", err=True)
        if as_json:
            typer.echo(json.dumps(layers.as_json(loaded), indent=2, ensure_ascii=False))
            return
        rows = [("models", layers.models(loaded)), *_batching(loaded)]
        rows += [(str(key), value) for key, value in layers.layered(loaded).items()]
    told = [(name, each) for name, each in rows if not changed or each.source != "default"]
    width = max((len(name) for name, _ in told), default=0)
    for name, each in told:
        typer.echo(f"{name:<{width}}  {_text(each.value)}  ({each.where or each.source})")


@config.command("check")
def check(file: Annotated[Path, typer.Argument(help="The YAML file.", parser=named_path)]) -> None:
    """Say what is wrong with a file, a line for each fault; exit status 1 when there is any.

    Example: clipserve config check clipserve.yaml
    """
    from scripts.config.config_file import load

    with _faults_told():
        for notice in load(file, alone=True).notices:
            typer.echo(f"notice {notice}", err=True)


@config.command("schema")
def schema() -> None:
    """Print the JSON Schema of the file, for editors.

    Example: clipserve config schema > clipserve.schema.json
    """
    from scripts.config.schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


@contextmanager
def _faults_told() -> Iterator[None]:
    from scripts.config.yaml_file import ConfigError

    try:
        yield
    except ConfigError as error:
        for fault in error.faults:
            typer.echo(fault, err=True)
        raise typer.Exit(1) from error


def _loaded(file: Path | None) -> ConfigFile:
    """Without a file: one that says nothing. Raises ConfigError."""
    from scripts.config.config_file import ConfigFile, load
    from scripts.config.yaml_file import Document

    return ConfigFile(Document(Path())) if file is None else load(file)


def _batching(file: ConfigFile) -> list[tuple[str, Layered]]:
    from scripts.config.layers import Layered

    return [
        (f"batching.{kind}.{name}", Layered(value, "file", file.document.where(("batching", kind, name))))
        for kind, given in file.batching.items()
        for name, value in given.items()
    ]


def _text(value: object) -> str:
    return "–" if value in (None, "", [], {}) else json.dumps(value, ensure_ascii=False, default=str).strip('"')
