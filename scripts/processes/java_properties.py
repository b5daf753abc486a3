"""Files of java.util.Properties, which Java reads as Latin-1: other letters and backslashes are written as escapes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_LETTERS = {"\t": r"\t", "\n": r"\n", "\r": r"\r", "\f": r"\f", "\\": r"\\"}
_NAMES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_CONTINUED = re.compile(r"(?<!\\)((?:\\\\)*)\\(?:\r\n|\r|\n)[ \t\f]*")
_LINE = re.compile(r"[ \t\f]*(?![#!])((?:\\.|[^\\=: \t\f])+)[ \t\f]*[=:]?[ \t\f]*(.*)")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))")


def write_properties(path: Path, values: Mapping[str, str]) -> None:
    lines = (f"{_escaped(key, '=:#! ')}={_escaped_value(value)}\n" for key, value in values.items())
    path.write_text("".join(lines), encoding="ascii")


def read_properties(path: Path) -> dict[str, str]:
    text = _CONTINUED.sub(r"\1", path.read_bytes().decode("latin-1"))
    lines = filter(None, map(_LINE.fullmatch, re.split(r"[\r\n]+", text)))
    return {_plain(line[1]): _plain(line[2]) for line in lines}


def _escaped_value(value: str) -> str:
    """Spaces count but for those at the start."""
    start = len(value) - len(value.lstrip(" "))
    return "\\ " * start + _escaped(value[start:])


def _escaped(text: str, special: str = "") -> str:
    return "".join(_LETTERS.get(letter) or _escaped_letter(letter, special) for letter in text)


def _escaped_letter(letter: str, special: str) -> str:
    if " " <= letter <= "~":
        return f"\\{letter}" if letter in special else letter
    units = letter.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _plain(text: str) -> str:
    plain = _ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else _NAMES.get(found[2], found[2]), text)
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
