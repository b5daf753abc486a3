"""The searches of the demo collection that the documents show, and which scenes answer them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from index_service.metadata.filters import compile_filter
from scripts.demo.claims import UNSAID, claims, facts
from scripts.demo.scenes import Scene

ROOT = Path(__file__).resolve().parents[2]
_TYPED = (
    r'clipserve search "([^"]+)"(?! --collection (?!demo))(?! .*--rerank)',
    r'\.search\("demo", "([^"]+)"(?!.*rerank)',
    "a search for “([^”]+)”",
)


@dataclass(frozen=True)
class ShownSearch:
    """A text, and a filter as JSON; empty without one."""

    text: str
    filter: str = ""

    def allows(self, scene: Scene) -> bool:
        return not self.filter or compile_filter(self.filter.encode())(scene.metadata())

    def answered_by(self, scene: Scene) -> bool:
        """Whether everything that the text says is true of one kind of object of the scene."""
        said = claims(self.text)
        kinds = (facts(scene, each) for each in scene.objects)
        return any(all(word in (UNSAID, fact) for word, fact in zip(said, kind, strict=True)) for kind in kinds)


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "clipserve_client" / "README.md"]


def shown_searches(documents: Sequence[Path]) -> list[ShownSearch]:
    """Every search by a text alone, once, in the order of the documents."""
    texts = [path.read_text(encoding="utf-8") for path in documents]
    return list(dict.fromkeys(search for text in texts for search in _shown(text)))


def _shown(text: str) -> Iterator[ShownSearch]:
    for pattern in _TYPED:
        yield from (ShownSearch(found) for found in re.findall(pattern, text))
    for start in re.finditer(r"\{", text):
        yield from _in_body(_json_at(text, start.start()))


def _json_at(text: str, start: int) -> Any:
    try:
        return json.JSONDecoder().raw_decode(text, start)[0]
    except ValueError:
        return None


def _in_body(body: Any) -> Iterator[ShownSearch]:
    """Of the gateway's `/v1/search`, and of TorchServe's predictions; what is reranked shows more than the model."""
    match body:
        case {"collection": "demo", "text": str(text)} if "rerank" not in body:
            yield ShownSearch(text, json.dumps(body["filter"]) if "filter" in body else "")
        case {"input": list(texts), "search": {"collection": "demo"}}:
            yield from (ShownSearch(text) for text in texts)
