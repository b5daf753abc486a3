"""`clipserve up` as a command: its options are made from `UpSettings`, so that no setting can be missing."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console

from clip_core.setting_checks import faults
from scripts.commands.paths import named_path
from scripts.stack.up_settings import UpSettings, unknown_names


def up(**given: Any) -> None:
    """Build the archives, start index service, TorchServe and gateway, fill the demo, stay until Ctrl-C.

    A part that ends is started again, after a pause that doubles (--restart-delay). When one ends more than
    --restart-limit times in --restart-window seconds, everything stops with status 1. Ctrl-C or SIGTERM stops
    cleanly within --stop-patience seconds: requests in flight are answered first; a second one stops at once.
    docs/running.md tells more.

    Every option can be given as an environment variable, too. The services' own settings are environment
    variables only; docs/settings.md lists them all (CLIPSERVE_GATEWAY_…, CLIPSERVE_INDEX_…, CLIPSERVE_HANDLER_…).
    """
    from scripts.stack.lifecycle import run

    try:
        settings = UpSettings(**{name: _whole(name, value) for name, value in given.items()})
    except ValidationError as error:
        fault = faults(error, lambda name: f"--{name.replace('_', '-')}")
        typer.echo(f"error {fault}", err=True)
        raise typer.Exit(2) from error
    for line in unknown_names():
        typer.echo(f"notice {line}", err=True)
    raise typer.Exit(run(settings, Console()))


def _whole(name: str, value: Any) -> Any:
    """A list in the environment is separated by commas; the command line's parser splits it at spaces."""
    variable = os.environ.get(f"{UpSettings.model_config['env_prefix']}{name.upper()}", "")
    return variable if isinstance(value, list) and value == variable.split() else value


def _signature() -> inspect.Signature:
    prefix = UpSettings.model_config["env_prefix"]
    parameters = []
    for name, field in UpSettings.model_fields.items():
        is_list = isinstance(field.default, tuple)
        parser = named_path if field.annotation in (Path, Path | None) else None
        option = typer.Option(help=field.description, envvar=f"{prefix}{name.upper()}", parser=parser)
        parameters.append(
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=list(field.default) if is_list else field.default,
                annotation=Annotated[list[str] if is_list else field.annotation, option],
            )
        )
    return inspect.Signature(parameters)


up.__dict__["__signature__"] = _signature()
up.__annotations__ = {name: p.annotation for name, p in _signature().parameters.items()}
