"""open_clip's cleaning of a text, step by step, so that no text costs more than a small multiple of its length.

ftfy repeats all its steps until a line stays the same, which takes as many rounds as `&amp;amp;amp;…` has levels.
"""

from __future__ import annotations

import functools
import html
import itertools
import re
import string
import unicodedata
from collections.abc import Callable, Iterator

import ftfy
from ftfy import fixes
from ftfy.badness import is_bad

from clip_core.errors import BadText

_MOST_ROUNDS = 16  # of ftfy's steps; the worst text found needs 5
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_ENTITY = re.compile(r"&#?[0-9A-Za-z]{1,24};")
_AMPERSANDS = re.compile(r"&(?:(?:amp|AMP|#0{0,20}38|#[xX]0{0,20}26);){2,}")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_STEPS: tuple[Callable[[str], str], ...] = (
    ftfy.fix_encoding,
    fixes.fix_c1_controls,
    fixes.fix_latin_ligatures,
    fixes.fix_character_width,
    fixes.uncurl_quotes,
    fixes.fix_line_breaks,
    fixes.fix_surrogates,
    fixes.remove_terminal_escapes,
    fixes.remove_control_chars,
)


def _whitespace(text: str) -> str:
    return " ".join(basic_clean(text).split())


def _lower(text: str) -> str:
    return _whitespace(text).lower()


def _canonicalize(text: str) -> str:
    return " ".join(basic_clean(text).replace("_", " ").translate(_PUNCTUATION).lower().split())


_CLEANERS = {"_clean_whitespace": _whitespace, "_clean_lower": _lower, "_clean_canonicalize": _canonicalize}


def bounded(clean: Callable[[str], str]) -> Callable[[str], str]:
    """What does the same as one of open_clip's cleaning functions; `clean` itself where it is none of them."""
    return _CLEANERS.get(clean.__name__, clean)


def basic_clean(text: str) -> str:
    """What open_clip's function of this name gives. Raises BadText where that fails, at a number without end."""
    try:
        return html.unescape(html.unescape("".join(_fixed_lines(text)))).strip()
    except ValueError as error:
        raise BadText("the text holds a character reference of too many digits") from error


def depends_on_all(line: str) -> bool:
    """Whether the start of a line may be cleaned in another way without its end: HTML entities, or broken encodings."""
    return _ENTITY.search(line) is not None or (not line.isascii() and is_bad(line))


def _fixed_lines(text: str) -> Iterator[str]:
    """ftfy's `fix_text`, a line at a time; lines whose characters do not depend on each other are taken together."""
    for alone, unescape, lines in _grouped(text):
        if alone:
            yield from (line if _is_blank(line) else _fixed(line, unescape) for line in lines)
        else:
            joined = "".join(lines)
            yield joined if joined.replace("\n", "").isprintable() else _fixed(joined, unescape)


def _grouped(text: str) -> Iterator[tuple[bool, bool, list[str]]]:
    """Neighbouring lines; ftfy takes entities for text from the first line on that has a `<`."""
    first = text.find("<")
    end = len(text) if first < 0 else text.rfind("\n", 0, first) + 1
    for part, unescape in ((text[:end], True), (text[end:], False)):
        for alone, lines in itertools.groupby(_LINE.findall(part), functools.partial(_depends, unescape)):
            yield alone, unescape, list(lines)


def _depends(unescape: bool, line: str) -> bool:
    return not line.isascii() or (unescape and "&" in line)


def _is_blank(line: str) -> bool:
    """Of a line of whitespace ftfy makes whitespace, but for what Windows-1252 has for an ellipsis."""
    return line.isspace() and "\x85" not in line


def _fixed(line: str, unescape: bool) -> str:
    for _ in range(_MOST_ROUNDS):
        before = line
        if unescape:
            line = fixes.unescape_html(_AMPERSANDS.sub("&amp;", line))
        for step in _STEPS:
            line = step(line)
        line = unicodedata.normalize("NFC", line)
        if line == before:
            break
    return line
