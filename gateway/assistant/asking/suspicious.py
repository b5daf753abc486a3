"""Texts of items that read like orders to a language model. They are withheld from it: a caption gives no orders.

Lists of words never find everything. So the answer is checked, too, whatever was found here.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import islice
from typing import Any

Json = dict[str, Any]
_VERBS = (
    "respond|reply|answer|output|print|return|write|say|repeat|translate|summari[sz]e|use|call|click|visit|open|send"
)
_FILLERS = " back| only| just| exactly| always| this| that| the| all| every| with| in| as| a| an| to| your| out"
_WHOSE = "previous|prior|above|following|new|these|all|my|your|system"
_ORDERS = re.compile(
    "|".join(
        (
            r"\b(?:ignore|disregard|override|bypass|obey|comply)\b|\bforget\b(?!-)|\bpretend (?:you|that you)\b",
            r"\bexecute (?:the|this|that|these|my|all|any)\b",
            r"\b(?:ignoriere|vergiss|ignorez|oublie|ignora|olvida|ignorar|игнорируй)\b|忽略|無視",
            rf"\b(?:{_WHOSE}) (?:instructions?|prompts?|rules?|orders?)\b",
            r"\b(?:system prompt|jailbreak|chatbot|language model|developer mode|tool call)\b|\binstructions?\s*:",
            r"\b(?:cite|citations?|quote)\b|\byour (?:answer|task|role|rules?)\b",
            r"\byou (?:must|should|shall|have to|are now|are an? )",
            rf"\b(?:{_VERBS})(?:{_FILLERS})* ?[:\"'“`{{\[]",
            r"\b(?:answer|respond|reply|output) (?:with|only|that|in|as|yes|no|by)\b",
            r"\bset found\b|\bfound\W{1,4}(?:true|false)\b|\bbase64\b",
            r"\b(?:call|invoke|run|use) (?:the |a |an )?(?:tool|function|command|api|code|plugin)s?\b",
            r"\b(?:new|important|urgent|admin|system|user|developer|assistant)\s*:",
            r"\bimportant (?:note|message|notice)\b|\bnew task\b|\bthe (?:right|correct) answer\b",
            r"https?\W{0,3}//|\bwww\.|\bjavascript\b",
            r"<[a-z!/|]|\|>|\[/?inst\]|^#{2,}|```|!\[",
        )
    ),
    re.IGNORECASE | re.MULTILINE,
)
_MIXED = re.compile(r"[a-zA-Z][\u0400-\u052f]|[\u0400-\u052f][a-zA-Z]")  # Cyrillic that looks like Latin
_ENCODED = re.compile(r"[A-Za-z0-9+/=_-]{60,}")
_KEY = re.compile(r"[\w][\w .:-]{0,47}")
_NEVER = {"digest", "file", "path", "image_url", "url", "gps", "thumbnail"}  # of no use for an answer
_LONGEST, _READ = 300, 1200  # characters of a value that are shown, and that are looked at
_MOST_FIELDS = 64  # those after them are not shown
_INVISIBLE = {"Cf", "Cc", "Co", "Cn"}


def plain_text(text: str) -> str:
    """As it is read: compatibility forms unified, nothing invisible, spaces joined."""
    shown = "".join(
        " " if char.isspace() else char
        for char in unicodedata.normalize("NFKC", text)
        if char.isspace() or unicodedata.category(char) not in _INVISIBLE
    )
    return " ".join(shown.split())


def reads_like_an_order(text: str) -> bool:
    """Also where it is spelled with invisible, spaced or foreign letters, and where it could be an encoded one."""
    plain = plain_text(text)
    spaced = re.sub(r"(?<=\b\w)[ ._-](?=\w\b)", "", plain)  # i g n o r e
    return any(found.search(plain) for found in (_ORDERS, _ENCODED, _MIXED)) or bool(_ORDERS.search(spaced))


def vetted(metadata: Json) -> tuple[Json, list[str]]:
    """What of an item's metadata may be shown, cut short; and the names of the fields that may not."""
    kept: Json = {}
    withheld: list[str] = []
    for name, value in islice(metadata.items(), _MOST_FIELDS):
        if name in _NEVER:
            continue
        if not _KEY.fullmatch(name) or reads_like_an_order(name.replace("_", " ")):
            withheld.append("a name")
            continue
        good = _vetted_value(value)
        if good is None and value is not None:
            withheld.append(name)
        elif value is not None:
            kept[name] = good
    return kept, withheld


def _vetted_value(value: Any) -> Any:
    """None for what is not to be shown."""
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        shown = plain_text(value[:_READ])[:_LONGEST]
        return None if reads_like_an_order(value[:_READ]) else shown
    if isinstance(value, list):
        good = [_vetted_value(each) for each in value[:20]]
        return None if None in good else good
    if isinstance(value, dict):
        kept, withheld = vetted(value)
        return None if withheld else kept
    return None
