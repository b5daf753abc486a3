"""The words around a question, as files: `templates/NAME.VERSION.PART.txt`. A change of words is a new version."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template

_FOLDER = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class PromptTemplate:
    """`system` is the same for every question; `question` and `picture` have places for `$names`.

    A prompt without pictures has nothing for `picture`.
    """

    version: str
    system: str
    question: Template
    picture: Template


@cache
def prompt_template(version: str = "answer.1") -> PromptTemplate:
    """Read once."""

    def part(name: str) -> str:
        return (_FOLDER / f"{version}.{name}.txt").read_text(encoding="utf-8").strip()

    pictures = (_FOLDER / f"{version}.picture.txt").exists()
    picture = part("picture") if pictures else ""
    return PromptTemplate(version, part("system"), Template(part("question")), Template(picture))
