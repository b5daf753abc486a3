"""How old names are taken: `given` by new names, and a line on each old one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TypeVar

from clip_core.old_names.table import OLD_SETTINGS

Value = TypeVar("Value")

_VARIABLES = {
    f"{prefix}{old.upper()}": f"{prefix}{new.upper()}"
    for prefix, names in OLD_SETTINGS.items()
    for old, new in names.items()
}


def with_new_names(given: Mapping[str, Value], renamed: Mapping[str, str]) -> dict[str, Value]:
    """`given` with all under its new name. Where both names are given, the new one wins."""
    old = {renamed[name]: value for name, value in given.items() if name in renamed}
    return {**old, **{name: value for name, value in given.items() if name not in renamed}}


def with_new_variables(environ: Mapping[str, Value]) -> dict[str, Value]:
    """The same of environment variables, in capital or in small letters; the old ones stay beside them."""
    given = {name.upper() for name in environ}
    new = {name: _VARIABLES[name.upper()] for name in environ if name.upper() in _VARIABLES}
    added = {to.lower() if name.islower() else to: environ[name] for name, to in new.items() if to not in given}
    return {**environ, **added}


def old_variables(environ: Iterable[str]) -> Iterator[str]:
    """A line on each variable that has a new name."""
    return old_names({name.upper() for name in environ}, _VARIABLES)


def old_names(given: Iterable[str], renamed: Mapping[str, str]) -> Iterator[str]:
    """A line on each old name."""
    names = set(given)
    return (_told(name, renamed[name], names) for name in sorted(names & renamed.keys()))


def _told(name: str, new: str, given: Collection[str]) -> str:
    return f"{name} is an old name: write {new}{', which is given, too, and wins' if new in given else ''}"


def as_given(variable: str, environ: Iterable[str]) -> str:
    """The variable, with the old name by which the environment has it."""
    given = names_of(variable) & {name.upper() for name in environ}
    return variable if variable in given or not given else told_as(variable, min(given))


def told_as(name: str, old: str) -> str:
    """How an error names what was given by its old name."""
    return f"{name} (given as {old})"


def is_old(variable: str) -> bool:
    return variable.upper() in _VARIABLES


def names_of(variable: str) -> set[str]:
    """The variable's name and its old ones, in capital letters."""
    return {variable, *(old for old, new in _VARIABLES.items() if new == variable)}
