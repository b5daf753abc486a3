"""Questions, asked over HTTP: how many answers are right, by kind, and how long they take."""

from __future__ import annotations

import base64
import io
import statistics
import time
from collections.abc import Sequence
from typing import Any

import httpx

from benchmarks.assistant.questions import KINDS, KnownQuestion, ShownScene, citations_right, is_right
from scripts.demo.render import render

Json = dict[str, Any]
_AT_ONCE = 32
_SIZE = (320, 240)


def fill(
    client: httpx.Client,
    collection: str,
    gallery: Sequence[ShownScene],
    *,
    captions: bool,
    size: tuple[int, int] = _SIZE,
) -> None:
    """Without `captions` an item has nothing that tells what its picture shows."""
    client.put(f"/v1/collections/{collection}", json={}).raise_for_status()
    for start in range(0, len(gallery), _AT_ONCE):
        items = [_item(each, captions, size) for each in gallery[start : start + _AT_ONCE]]
        answer = client.post(f"/v1/collections/{collection}/items", json={"items": items})
        answer.raise_for_status()
        failed = [each for each in answer.json()["results"] if each["status"] != 200]
        assert not failed, failed


def ask(client: httpx.Client, collection: str, question: KnownQuestion, **more: Any) -> Json:
    body = {"collection": collection, "question": question.text, "filter": question.filter, **more}
    answer = client.post("/v1/ask", json=body)
    answer.raise_for_status()
    said: Json = answer.json()
    return said


def accuracy(questions: Sequence[KnownQuestion], answers: Sequence[Json]) -> dict[str, float]:
    """By kind, `mean` of the kinds, and `citations`: the share of answers whose citations show what they say."""
    right = {
        kind: [is_right(q, a) for q, a in zip(questions, answers, strict=True) if q.kind == kind] for kind in KINDS
    }
    scores = {kind: statistics.fmean(each) for kind, each in right.items() if each}
    cited = [citations_right(q, a) for q, a in zip(questions, answers, strict=True) if a["citations"]]
    return {
        **scores,
        "mean": statistics.fmean(scores.values()),
        "citations": statistics.fmean(cited) if cited else 0.0,
        "citations_valid": statistics.fmean(map(_are_given, answers)),
    }


def _are_given(answer: Json) -> bool:
    """Whether it cites nothing but pictures that were looked at."""
    return {each["id"] for each in answer["citations"]} <= {each["id"] for each in answer["hits"]}


def first_piece_ms(client: httpx.Client, collection: str, question: KnownQuestion) -> float:
    """Until the first words of a streamed answer are there."""
    body = {"collection": collection, "question": question.text, "filter": question.filter, "stream": True}
    started = time.perf_counter()
    with client.stream("POST", "/v1/ask", json=body) as answer:
        answer.raise_for_status()
        for line in answer.iter_lines():
            if "answer.delta" in line:
                return (time.perf_counter() - started) * 1e3
    raise RuntimeError(f"no answer came to {question.text!r}")


def _item(shown: ShownScene, captions: bool, size: tuple[int, int]) -> Json:
    written = io.BytesIO()
    render(shown.scene, *size).save(written, "PNG")
    told = {"caption": shown.scene.canonical_caption()} if captions else {}
    metadata = {"group": shown.group, "item": shown.id, **told}
    return {"id": shown.id, "image": base64.b64encode(written.getvalue()).decode(), "metadata": metadata}
