"""`clipserve up` as a command: its options are made from `UpSettings`, so that no setting can be missing."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console

from clip_core.old_names.taking import as_given, names_of
from clip_core.setting_checks import faults
from scripts.commands.names import none_empty, not_empty
from scripts.commands.old_flags import flag_as_given
from scripts.commands.paths import named_path
from scripts.stack.asked import Asked
from scripts.stack.up_settings import UpSettings, unknown_names

_FILE = "clipserve.config"


def up(context: typer.Context | None = None, **given: Any) -> None:
    """Build the archives, start index service, TorchServe and gateway, fill the demo, stay until Ctrl-C.

    A part that ends is started again, after a pause that doubles (--restart-delay). When one ends more than
    --restart-limit times in --restart-window seconds, everything stops with status 1. Ctrl-C or SIGTERM stops
    cleanly within --stop-timeout seconds: requests in flight are answered first; a second one stops at once.
    docs/running.md tells more.

    Every option can be given as an environment variable, too. Those, the services' own settings and the models can
    stand in a YAML file (--config FILE); docs/settings.md lists them all. Options win over the environment, and the
    environment over the file.
    """
    from scripts.stack.lifecycle import run

    try:
        settings = UpSettings(**{name: _whole(name, value) for name, value in given.items()})
    except ValidationError as error:
        fault = faults(error, lambda name: _as_given(context, name))
        typer.echo(f"error {fault}", err=True)
        raise typer.Exit(2) from error
    for line in unknown_names():
        typer.echo(f"notice {line}", err=True)
    raise typer.Exit(run(settings, Console(), _asked(context, settings)))


def _read_config(context: typer.Context, path: Path | None) -> Path | None:
    """Its values become environment variables of this process and its parts, where these are not set already."""
    from scripts.config.config_file import load
    from scripts.config.yaml_file import ConfigError

    if path is None:
        return None
    try:
        file = load(path)
    except ConfigError as error:
        for fault in error.faults:
            typer.echo(f"error {fault}", err=True)
        raise typer.Exit(2) from error
    for notice in file.notices:
        typer.echo(f"notice {notice}", err=True)
    given = {name.upper() for name in os.environ}
    new = {name: value for name, value in file.variables.items() if not given & names_of(name)}
    os.environ.update(new)
    context.meta[_FILE] = file, frozenset(new)
    return path


def _asked(context: typer.Context | None, settings: UpSettings) -> Asked:
    from scripts.config.asked_models import asked_models

    if context is None or _FILE not in context.meta:
        return Asked.of(settings)
    file, exported = context.meta[_FILE]
    return asked_models(file, settings, lambda option: _chosen(context, option, exported))


def _chosen(context: typer.Context, option: str, exported: frozenset[str]) -> bool:
    """On the command line, or in the environment that this process was given."""
    source = context.get_parameter_source(option)
    by_file = f"CLIPSERVE_{option.upper()}" in exported
    return source is not None and (source.name == "COMMANDLINE" or (source.name == "ENVIRONMENT" and not by_file))


def _as_given(context: typer.Context | None, setting: str) -> str:
    """The option, or the variable of the environment that gives it."""
    source = context.get_parameter_source(setting) if context is not None else None
    if source is not None and source.name == "ENVIRONMENT":
        return as_given(f"{UpSettings.model_config['env_prefix']}{setting.upper()}", os.environ)
    return flag_as_given(context, f"--{setting.replace('_', '-')}")


def _whole(name: str, value: Any) -> Any:
    """A list in the environment is separated by commas; the command line's parser splits it at spaces."""
    variable = os.environ.get(f"{UpSettings.model_config['env_prefix']}{name.upper()}", "")
    return variable if isinstance(value, list) and value == variable.split() else value


def _envvars(variable: str) -> list[str]:
    """The name, and the old ones behind it."""
    return [variable, *sorted(names_of(variable) - {variable})]


def _signature() -> inspect.Signature:
    prefix = UpSettings.model_config["env_prefix"]
    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter("context", kind, annotation=typer.Context)]
    for name, setting in UpSettings.model_fields.items():
        is_list = isinstance(setting.default, tuple)
        parser = named_path if setting.annotation in (Path, Path | None) else None
        is_word = setting.annotation in (str, str | None) and setting.default != ""
        checked = none_empty if is_list else not_empty if is_word else None
        callback = _read_config if name == "config" else checked
        option = typer.Option(
            help=setting.description,
            envvar=_envvars(f"{prefix}{name.upper()}"),
            parser=parser,
            is_eager=name == "config",
            callback=callback,
        )
        parameters.append(
            inspect.Parameter(
                name,
                kind,
                default=list(setting.default) if is_list else setting.default,
                annotation=Annotated[list[str] if is_list else setting.annotation, option],
            )
        )
    return inspect.Signature(parameters)


up.__dict__["__signature__"] = _signature()
up.__annotations__ = {name: p.annotation for name, p in _signature().parameters.items()}
