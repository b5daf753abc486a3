"""Questions in English → one of five kinds with its things: what can be answered without a language model."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from gateway.assistant.offline.scenes import (
    RELATION,
    PictureScene,
    Related,
    Thing,
    Verdict,
    parse_relation,
    parse_thing,
    without_background,
)
from gateway.assistant.offline.words import CLASSES, words

Kind = Literal["count", "color", "exists", "relation", "relative", "which", "other"]
_SEVERAL = {"and", "or", "not", "no", "without", "but", "except", "than", "both", "either", "neither", "most"}
_NO_THING = {"it", "they", "them", "are", "is", "do", "does", "zero", "none", "nor", "never", "only", "exactly"}
_PICTURE = {"picture", "photo", "image"}
_LONGEST = 300  # a longer question is none of these kinds
_PICTURES = r"(?:pictures?|images?|photos?|scenes?|drawings?|hits?|ones?)"
_HERE = re.compile(
    rf"\b(?:in|on|among|of|from) (?:all |any |each |one )?(?:of )?(?:the |these |this |those |my )?{_PICTURES}\b"
    r"|\b(?:in|on) (?:it|them|here|there)\b|\bhere\b|\bplease\b"
)
_TAIL = re.compile(r"(?:,? and (?:where|which|in which).*)$")
_COUNT = re.compile(
    r"^(?:how many|what number of|(?:the )?number of|count(?: the| all)*) (?P<thing>.+?)"
    r"(?: (?:are|is|can|do|have|has)\b(?P<rest>.*))?$"
)
_FILLERS = r"(?:there|visible|shown|seen|present|you|we|i|see|find|count|have|in (?:total|all)|altogether)"
_FILLED = re.compile(rf"^(?: {_FILLERS})+\b|(?: {_FILLERS})+$")
_COLOR = re.compile(r"^(?:what|which) colou?r (?:is|are|does|do|has|have) (?P<thing>.+?)(?: have)?$")
_COLOR_OF = re.compile(r"^what is the colou?r of (?P<thing>.+)$")
_EXISTS = re.compile(
    rf"^(?:is|are) there (?P<a>.+)$|^(?:do|does) (?:any|this|the|it|one)(?: of)?(?: these| the)?(?: {_PICTURES})? "
    r"(?:show|have|contain|depict) (?P<b>.+)$|^(?:can|do) you see (?P<c>.+)$"
)
_RELATION = re.compile(rf"^(?:is|are) (?P<text>.+\b(?:{RELATION})\b.+)$")
_RELATIVE = re.compile(
    rf"^(?:what|which thing|which object) (?:is|are|lies|stands) (?P<relation>{RELATION}) (?P<thing>.+)$"
)
_WHICH = re.compile(
    rf"^(?:which(?: of (?:these|the|those))?(?: {_PICTURES})?|what {_PICTURES}) "
    r"(?:shows?|ha(?:s|ve)|contains?|depicts?|is|are|with) (?P<a>.+)$"
    r"|^(?:find|show(?: me)?|where (?:is|are)) (?P<b>.+)$"
    rf"|^how many (?:{_PICTURES} )?(?:are there )?(?:shows?|ha(?:s|ve)|contains?|depicts?|with) (?P<c>.+)$"
)


@dataclass(frozen=True)
class ParsedQuestion:
    """`thing` or `related` is what it is about; `words` are its own, to search with."""

    kind: Kind
    words: str
    thing: Thing = field(default_factory=lambda: Thing(frozenset()))
    related: Related | None = None
    relation: str = ""
    background: str | None = None

    def verdict(self, scene: PictureScene) -> Verdict:
        """Whether a picture shows what the question is about."""
        own = scene.holds(self.related) if self.related is not None else scene.shows(self.thing)
        if self.background is None or own == "no":
            return own
        if scene.background is None:
            return "unknown"
        return own if scene.background == self.background else "no"


def parse_question(text: str) -> ParsedQuestion:
    """`other` where it is none of the kinds."""
    plain = _plain(text)
    if len(plain) > _LONGEST:
        return ParsedQuestion("other", plain[:_LONGEST])
    for read in (_which, _count, _color, _relative, _relation, _exists):
        parsed = read(plain)
        if parsed is not None:
            return parsed
    return ParsedQuestion("other", plain or text.strip())


def _plain(text: str) -> str:
    """In small letters, without a question mark, and without `in these pictures` and the like."""
    text = re.sub(r"[?!.]+\s*$", "", " ".join(text[: 2 * _LONGEST].lower().replace("’", "'").split()))
    text = text.replace("what's", "what is").replace("there's", "there is")
    return " ".join(_HERE.sub("", _TAIL.sub("", text)).split())


def _about(kind: Kind, phrase: str) -> ParsedQuestion | None:
    """Of a phrase that may have a relation in it."""
    bare, background = without_background(phrase)
    related = parse_relation(bare)
    thing = parse_thing(bare) if related is None else related.first
    if thing.words <= _PICTURE or any(map(_is_more, words(phrase))):
        return None
    return ParsedQuestion(kind, phrase, thing, related, background=background)


def _is_more(word: str) -> bool:
    """Whether it makes a question one about several things, about what is not there, or about nothing named."""
    return word in _SEVERAL or word in _NO_THING or word.endswith("n't") or word.startswith("non-")


def _count(text: str) -> ParsedQuestion | None:
    found = _COUNT.match(text)
    phrase = _whole(found["thing"], found["rest"] or "") if found else None
    return _about("count", phrase) if phrase else None


def _whole(thing: str, rest: str) -> str | None:
    """`circles`, ` red` → `red circles`. None where what is said after the verb is more than a thing has."""
    rest = _FILLED.sub("", _FILLED.sub("", rest)).strip()
    bare, _ = without_background(rest)
    if not bare or parse_relation(f"{thing} {bare}") is not None:
        return f"{thing} {rest}".strip()
    adjectives = parse_thing(bare)
    said = adjectives.count is None and all(any(word in each for each in CLASSES) for word in adjectives.words)
    return f"{bare} {thing}{rest.removeprefix(bare)}" if said and rest.startswith(bare) else None


def _color(text: str) -> ParsedQuestion | None:
    found = _COLOR.match(text) or _COLOR_OF.match(text)
    return _about("color", found["thing"]) if found else None


def _relative(text: str) -> ParsedQuestion | None:
    found = _RELATIVE.match(text)
    related = parse_relation(f"it {found['relation']} {found['thing']}") if found else None
    if related is None:
        return None
    words = f"something {related.relation} {found and found['thing']}"
    return ParsedQuestion("relative", words, related.second, relation=related.relation)


def _relation(text: str) -> ParsedQuestion | None:
    if text.startswith(("is there", "are there")):
        return None
    found = _RELATION.match(text)
    return _about("relation", found["text"]) if found else None


def _exists(text: str) -> ParsedQuestion | None:
    found = _EXISTS.match(text)
    return _about("exists", found["a"] or found["b"] or found["c"]) if found else None


def _which(text: str) -> ParsedQuestion | None:
    found = _WHICH.match(text)
    return _about("which", found["a"] or found["b"] or found["c"]) if found else None
