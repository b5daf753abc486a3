"""Names and other words that callers give. What can be none is refused before anything is read or sent."""

from __future__ import annotations

import re

import typer

from clip_core.wire import COLLECTION_NAME, COLLECTION_NAME_RULE

_SHOWN = 80  # characters


def not_empty(given: str | None) -> str | None:
    """Raises BadParameter: an empty word, as an unset variable leaves, is not the same as none."""
    if given is not None and not given.strip():
        raise typer.BadParameter("it is empty: give it a value, or leave it out")
    return given


def none_empty(given: list[str] | None) -> list[str] | None:
    """The same of each of several words."""
    for word in given or ():
        not_empty(word)
    return given


def collection_name(given: str | None) -> str | None:
    """Of a collection or of an alias; None is none. Raises BadParameter."""
    if given is not None and not re.fullmatch(COLLECTION_NAME, given):
        raise typer.BadParameter(f"{given[:_SHOWN]!r} is no name: {COLLECTION_NAME_RULE}")
    return given


def collection_names(given: list[str] | None) -> list[str] | None:
    """Raises BadParameter."""
    for name in given or ():
        collection_name(name)
    return given
