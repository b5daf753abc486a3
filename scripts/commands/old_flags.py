"""Flags that had other names in 0.1: still taken, with a notice, and shown nowhere."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand

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


class TakesOldFlags(TyperCommand):
    """A command with such flags."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Raises BadParameter where both names are given."""
        new = OLD_FLAGS.get(self.name or "", {})
        end = args.index("--") if "--" in args else len(args)
        named = {word.partition("=")[0] for word in args[:end]}
        if twice := next((old for old in new if {old, new[old]} <= named), None):
            raise typer.BadParameter(f"{twice} is an old name of {new[twice]}: give one of them", ctx)
        return super().parse_args(ctx, [*(_renamed(word, new) for word in args[:end]), *args[end:]])


def _renamed(word: str, new: dict[str, str]) -> str:
    flag, equals, value = word.partition("=")
    if flag not in new:
        return word
    typer.echo(f"notice {flag} is an old name: write {new[flag]}", err=True)
    return f"{new[flag]}{equals}{value}"
