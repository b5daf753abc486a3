"""Flags that had other names in 0.1: still taken, with a notice, and shown nowhere but in errors about their values."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import typer
from typer.core import TyperCommand

from clip_core.old_names.taking import told_as

OLD_FLAGS = {
    "build": {"--gate-images": "--eval-images"},
    "bulk": {"--dedupe-from": "--dedupe-threshold"},
    "caption-collection": {"--most-usd": "--max-cost-usd"},
    "caption-folder": {"--most-usd": "--max-cost-usd"},
    "ingest": {"--again": "--force"},
    "sync": {"--again": "--checksum", "--interval": "--poll-interval", "--remove-at-most": "--max-delete-ratio"},
    "up": {"--stop-patience": "--stop-timeout"},
}
"""By the command's own name: old flag → flag."""
_OLD = "clipserve.old_flags"


class TakesOldFlags(TyperCommand):
    """A command with such flags."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Raises BadParameter where both names are given."""
        new = OLD_FLAGS.get(self.name or "", {})
        end = args.index("--") if "--" in args else len(args)
        named = {word.partition("=")[0] for word in args[:end]}
        if twice := next((old for old in new if {old, new[old]} <= named), None):
            raise typer.BadParameter(f"{twice} is an old name of {new[twice]}: give one of them", ctx)
        ctx.meta[_OLD] = {new[old]: old for old in new.keys() & named}
        try:
            return super().parse_args(ctx, [*(_renamed(word, new) for word in args[:end]), *args[end:]])
        except typer.BadParameter as error:
            if type(error) is typer.BadParameter and error.param is not None:  # not one that is missing
                error.param_hint = _hint(ctx, error.param)
            raise

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Of several variables of an option, the others are old names."""
        for param in self.params:
            if isinstance(param.envvar, list):
                param.envvar = param.envvar[0]
        super().format_help(ctx, formatter)


def flag_as_given(ctx: Any, flag: str) -> str:
    """The flag, with the old name by which the command line has it."""
    old: Mapping[str, str] = ctx.meta.get(_OLD, {}) if ctx is not None else {}
    return told_as(flag, old[flag]) if flag in old else flag


def _hint(ctx: Any, param: Any) -> str:
    """How an error names an option or an argument: by what gave its value, of several variables by the one that did."""
    source = ctx.get_parameter_source(param.name)
    variables = [param.envvar] if isinstance(param.envvar, str) else param.envvar or []
    given = next((name for name in variables if os.environ.get(name)), None)
    if source is not None and source.name == "ENVIRONMENT" and given is not None:
        return f"'{param.opts[0]}' (env var: '{given}')"
    if param.param_type_name == "argument":
        return str(param.get_error_hint())
    names, old = " / ".join(f"'{flag}'" for flag in param.opts), ctx.meta[_OLD]
    return next((told_as(names, f"'{old[flag]}'") for flag in param.opts if flag in old), names)


def _renamed(word: str, new: dict[str, str]) -> str:
    flag, equals, value = word.partition("=")
    if flag not in new:
        return word
    typer.echo(f"notice {flag} is an old name: write {new[flag]}", err=True)
    return f"{new[flag]}{equals}{value}"
