"""What a pickle names beside tensors, told from its opcodes: nothing of it is loaded."""

from __future__ import annotations

import pickletools
import re
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

_OF_TENSORS = ("collections.OrderedDict", "torch._utils.")


def first_name(path: Path) -> str | None:
    """The first class or function that is none of tensors, such as `posix.system`; None where none can be told."""
    names = []
    try:
        with path.open("rb") as file:
            for name in _names(file):
                names.append(name)
                if not name.startswith(_OF_TENSORS):
                    break
    except (OSError, ValueError, IndexError):
        pass  # the rest is damaged, or no pickle
    found = names[-1] if names else ""
    return found if re.fullmatch(r"[\w.]{1,200}", found) else None


def _names(file: BufferedReader) -> Iterator[str]:
    """Of one pickle after the other, as torch's old format has them."""
    while file.peek(1):
        yield from _names_of_one(file)


def _names_of_one(file: BufferedReader) -> Iterator[str]:
    texts: list[str] = []  # those that were pushed, the last one on top
    memo: list[str] = []
    top = ""
    for opcode, value, _ in pickletools.genops(file):
        if opcode.name == "MEMOIZE":
            memo.append(top)
            continue
        top = ""
        if opcode.name == "GLOBAL":
            yield str(value).replace(" ", ".")
        elif opcode.name == "STACK_GLOBAL":
            yield ".".join(texts[-2:])
        elif opcode.name.endswith("UNICODE") or opcode.name in ("BINGET", "LONG_BINGET"):
            top = str(value) if isinstance(value, str) else "".join(memo[int(value or 0) :][:1])
            texts.append(top)
