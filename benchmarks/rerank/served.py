"""What reranking adds to a search of a demo stack, whether budgets are kept, and whether thumbnails do as well.

Where the environment configures a language model (CLIPSERVE_GATEWAY_LLM_URL), its order is judged, too.
"""

from __future__ import annotations

import base64
import io
import statistics
import time
from pathlib import Path
from random import Random
from typing import Any

import httpx
from rich.console import Console

from benchmarks.rerank.queries import HARD, KnownQuery, queries
from benchmarks.rerank.statistics import share
from benchmarks.stack.ready_stack import ready_stack
from gateway.reranking.served.reranker import NO_MODEL
from scripts.demo.evaluate import SIZES
from scripts.demo.render import render

COLLECTION, SEED = "bench-rerank", 707
_AT_ONCE, _BUDGETS = 50, (20, 40, 80)
_LLM_QUERIES = 30  # which a language model is paid for
Json = dict[str, Any]


def measure(work: Path, number: int, console: Console) -> dict[str, float]:
    known = queries(HARD, number, SEED)
    with ready_stack(work / "stack") as stack, httpx.Client(base_url=stack.gateway, timeout=120) as client:
        fill(client, known)
        figures = _first(client, known[0]) | _added(client, known, console)
        return figures | _budgets(client, known) | _many(client, known) | _listwise(client, known)


def fill(client: httpx.Client, known: list[KnownQuery]) -> None:
    client.put(f"/v1/collections/{COLLECTION}", json={}).raise_for_status()
    scenes = [(f"q{place}-{n}", scene) for place, query in enumerate(known) for n, scene in enumerate(query.scenes)]
    items = []
    for place, (name, scene) in enumerate(scenes):
        file = io.BytesIO()
        render(scene, *SIZES[place % len(SIZES)]).save(file, "PNG")
        items.append({"id": name, "image": base64.b64encode(file.getvalue()).decode()})
    for start in range(0, len(items), _AT_ONCE):
        answer = client.post(f"/v1/collections/{COLLECTION}/items", json={"items": items[start : start + _AT_ONCE]})
        assert all(each["status"] == 200 for each in answer.raise_for_status().json()["results"])


def search(client: httpx.Client, query: KnownQuery, rerank: Json | None) -> Json:
    body = {"collection": COLLECTION, "text": query.text, "k": 10} | ({"rerank": rerank} if rerank else {})
    started = time.perf_counter()
    answer: Json = client.post("/v1/search", json=body).raise_for_status().json()
    return answer | {"client_ms": (time.perf_counter() - started) * 1e3}


def _first(client: httpx.Client, query: KnownQuery) -> dict[str, float]:
    """The stack's first reranking, which waits until the captioner is measured."""
    told = search(client, query, {"by": "tree"})["rerank"]
    return {"first_tree_ms": told["ms"], "first_measuring_ms": told["quality"]["waited_ms"]}


def _added(client: httpx.Client, known: list[KnownQuery], console: Console) -> dict[str, float]:
    """Each query plainly, then by the tree with pictures that are new to the captioner or not, then by one sentence."""
    times: dict[str, list[float]] = {name: [] for name in ("plain", "tree", "tree_again", "captioner")}
    right: dict[str, list[bool]] = {name: [] for name in times}
    looked = []
    for place, query in enumerate(known):
        search(client, query, None)  # its vector is kept
        ways = {"plain": None, "tree": {"by": "tree"}, "tree_again": {"by": "tree"}, "captioner": {"by": "captioner"}}
        for name, rerank in ways.items():
            answer = search(client, query, rerank)
            times[name].append(answer["client_ms"])
            right[name].append(_is_right(answer, place))
            if name == "tree":
                looked.append(answer["rerank"]["pictures"])
                assert answer["rerank"]["applied"], answer["rerank"]
    p50 = {name: statistics.median(own) for name, own in times.items()}
    console.print({name: round(ms, 1) for name, ms in p50.items()})
    return {
        **{f"served_{name}_p50_ms": ms for name, ms in p50.items()},
        "added_p50_ms": p50["tree"] - p50["plain"],
        "added_again_p50_ms": p50["tree_again"] - p50["plain"],
        "added_captioner_p50_ms": p50["captioner"] - p50["plain"],
        "pictures_new_to_the_captioner": statistics.fmean(looked),
        "served_plain_recall_at_1": share(right["plain"]),
        "served_tree_recall_at_1": share(right["tree"]),
    }


def _budgets(client: httpx.Client, known: list[KnownQuery]) -> dict[str, float]:
    """By how much reranking of 20 and of 200 candidates outlasts its budget; what it kept to counts as 0."""
    rng, over = Random(SEED), list[float]()
    for query in known:
        budget, candidates = rng.choice(_BUDGETS), rng.choice((20, 200))
        told = search(client, query, {"by": "tree", "budget_ms": budget, "candidates": candidates})["rerank"]
        over.append(max(0.0, told["ms"] - budget))
    return {"over_budget_p99_ms": sorted(over)[int(0.99 * len(over))], "over_budget_p50_ms": statistics.median(over)}


def _many(client: httpx.Client, known: list[KnownQuery]) -> dict[str, float]:
    """1,000 candidates once, without a budget."""
    answer = search(client, known[0], {"by": "captioner", "candidates": 1000})
    return {"many_candidates": float(answer["rerank"]["scored"]), "many_candidates_ms": float(answer["rerank"]["ms"])}


def _listwise(client: httpx.Client, known: list[KnownQuery]) -> dict[str, float]:
    """By the language model that the environment configures for a stack; nothing where there is none."""
    *judged, other = known[: _LLM_QUERIES + 1]
    if search(client, other, {"by": "llm"})["rerank"]["note"] == NO_MODEL:
        return {}
    plain = [search(client, query, None) for query in judged]
    answers = [search(client, query, {"by": "llm"}) for query in judged]
    p50 = statistics.median(answer["client_ms"] for answer in answers)
    return {
        "llm_queries": float(len(judged)),
        "llm_applied": share([answer["rerank"]["applied"] for answer in answers]),
        "llm_tokens": statistics.fmean(answer["rerank"]["tokens"] for answer in answers),
        "served_llm_p50_ms": p50,
        "added_llm_p50_ms": p50 - statistics.median(answer["client_ms"] for answer in plain),
        "served_llm_plain_recall_at_1": share([_is_right(answer, place) for place, answer in enumerate(plain)]),
        "served_llm_recall_at_1": share([_is_right(answer, place) for place, answer in enumerate(answers)]),
    }


def _is_right(answer: Json, place: int) -> bool:
    """Whether the first hit shows what the query at this place means."""
    return bool(answer["hits"][0]["id"] == f"q{place}-0")
