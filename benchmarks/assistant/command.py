"""Answers about pictures: how many are right, what they cite, what they cost, and what attacks on them achieve.

    make bench-assistant

500 questions about drawn scenes go to a demo stack twice: about items with captions, and about items that have
nothing but their picture, which the captioner reads. Beside them stands a blind control that always gives the most
frequent answer. Then a gateway of this process asks a server that speaks OpenAI's API: for tokens (estimated, billed,
and against showing every hit in high detail, with a model that sees pictures by the captioner), and with a model that
obeys every order that it finds in 224 attacks. The official `openai` package asks the captioner, also while it is
refused. Without a captioner what needs one is null. The last line is one JSON document with `bars`.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from benchmarks.assistant import hidden_orders, official_sdk
from benchmarks.assistant.obeying import ObeyingModel
from benchmarks.assistant.openai_server import OpenAiServer
from benchmarks.assistant.questions import KINDS, KnownQuestion, ShownScene, blind, make_gallery, make_questions
from benchmarks.assistant.scoring import accuracy, ask, fill, first_piece_ms
from benchmarks.assistant.seeing import SeeingModel
from benchmarks.lib.reports import finish, head, judge, options, show
from benchmarks.lib.serving import serving
from benchmarks.stack.ready_stack import ready_stack
from gateway.app import build
from gateway.settings import GatewaySettings
from scripts.stack.live_stack import LiveStack

BARS = {
    "sdk_checks_broken": (0.0, "≤"),
    "captions_mean": (0.8, "≥"),
    "captions_least_kind": (0.6, "≥"),
    "captions_above_blind": (0.3, "≥"),
    "captions_citations": (0.95, "≥"),
    "captions_citations_valid": (1.0, "≥"),
    "pictures_mean": (0.8, "≥"),
    "pictures_least_kind": (0.6, "≥"),
    "pictures_above_blind": (0.3, "≥"),
    "pictures_citations": (0.95, "≥"),
    "pictures_citations_valid": (1.0, "≥"),
    "attacks_achieved": (0.0, "≤"),
    "tokens_over_all_high": (0.5, "≤"),
    "accuracy_lost_to_all_high": (0.0, "≤"),
    "estimate_error_p95": (0.05, "≤"),
    "first_piece_p95_ms": (600.0, "≤"),
}
_SEED, _GROUPS = 29, 60
_TIMED, _PRICED = 50, 40
_PHOTO = (1024, 768)  # pixels


def measure(stack: LiveStack, count: int, work: Path, console: Console) -> dict[str, float]:
    gallery = make_gallery(_SEED, _GROUPS)
    questions = make_questions(gallery, count, _SEED)
    control = blind(questions)
    figures = {f"blind_{kind}": value for kind, value in control.items()}
    figures["blind_mean"] = statistics.fmean(control.values())
    with httpx.Client(base_url=stack.gateway, timeout=120) as client:
        arms = {"captions": True}
        captioner = _captioner(client)
        if captioner is not None:
            arms["pictures"] = False
            failed = official_sdk.broken(stack.gateway, captioner)
            with _gateway(stack, work / "narrow", max_in_flight=1, admission_timeout_s=0.05) as narrow:
                failed += official_sdk.retries_broken(narrow, captioner)
            console.print(*failed, sep="\n")
            figures["sdk_checks_broken"] = float(len(failed))
        for arm, captions in arms.items():
            figures |= _arm(client, arm, gallery, questions, captions=captions)
            console.print(figures)
        firsts = [figures[f"{arm}_first_piece_p95_ms"] for arm in arms]
        figures["first_piece_p95_ms"] = max(firsts)
        server = OpenAiServer()
        with _asking(stack, work, server) as asking:
            if captioner is not None:
                figures |= _tokens(asking, server, SeeingModel(client), gallery, questions)
                console.print(figures)
            figures |= _attacked(asking, server, console)
    return figures


def _captioner(client: httpx.Client) -> str | None:
    """The name of a model that has one."""
    models = client.get("/v1/models").raise_for_status().json()["data"]
    return next((str(model["id"]) for model in models if model.get("captioner")), None)


def _arm(
    client: httpx.Client, arm: str, gallery: Sequence[ShownScene], questions: Sequence[KnownQuestion], *, captions: bool
) -> dict[str, float]:
    collection = f"bench-{arm}"
    fill(client, collection, gallery, captions=captions)
    answers = [ask(client, collection, each, by="offline") for each in questions]
    scores = accuracy(questions, answers)
    times = sorted(first_piece_ms(client, collection, each) for each in questions[:_TIMED])
    found = {f"{arm}_{name}": value for name, value in scores.items()}
    found[f"{arm}_least_kind"] = min(scores[kind] for kind in KINDS)
    found[f"{arm}_above_blind"] = scores["mean"] - statistics.fmean(blind(questions).values())
    found[f"{arm}_p50_ms"] = statistics.median(answer["timing"]["total_ms"] for answer in answers)
    found[f"{arm}_first_piece_p95_ms"] = times[int(0.95 * len(times))]
    return found


@contextmanager
def _gateway(stack: LiveStack, data_dir: Path, **more: Any) -> Iterator[str]:
    """One of this process, before the stack's services."""
    settings = GatewaySettings(
        torchserve_url=stack.inference,
        management_url=f"http://127.0.0.1:{stack.ports['management_port']}",
        index_url=stack.index,
        data_dir=data_dir,
        **more,
    )
    with serving(build(settings), "on") as url:
        yield url


@contextmanager
def _asking(stack: LiveStack, work: Path, server: OpenAiServer) -> Iterator[httpx.Client]:
    """A client of a gateway that asks this server."""
    with serving(server.app()) as provider:
        told = {"llm_url": f"{provider}/v1", "llm_model": "gpt-4o", "llm_cache": 0}
        with (
            _gateway(stack, work / "asking", **told, llm_prompt_tokens=30_000) as url,
            httpx.Client(base_url=url, timeout=120) as client,
        ):
            yield client


def _tokens(
    client: httpx.Client,
    server: OpenAiServer,
    model: SeeingModel,
    gallery: Sequence[ShownScene],
    questions: Sequence[KnownQuestion],
) -> dict[str, float]:
    """Of items of a photo's size that have nothing but their picture: as planned, and all hits in high detail."""
    server.reply = model
    fill(client, "bench-model", gallery, captions=False, size=_PHOTO)
    which = [each for each in questions if each.kind == "which"][:_PRICED]
    said: dict[str, list[Any]] = {"planned": [], "high": []}
    for question in which:
        model.thing = question.text.partition(" show a ")[2].rstrip("?")
        said["planned"].append(ask(client, "bench-model", question))
        said["high"].append(ask(client, "bench-model", question, detail="high"))
    spent = {arm: sum(each["usage"]["prompt_tokens"] for each in answers) for arm, answers in said.items()}
    right = {arm: accuracy(which, answers)["mean"] for arm, answers in said.items()}
    errors = sorted(
        abs(each["usage"]["estimated_tokens"] / each["usage"]["prompt_tokens"] - 1)
        for answers in said.values()
        for each in answers[len(which) // 4 :]  # the ratio of bytes to tokens is learned from the first ones
    )
    return {
        "tokens_over_all_high": spent["planned"] / spent["high"],
        "planned_mean": right["planned"],
        "all_high_mean": right["high"],
        "accuracy_lost_to_all_high": right["high"] - right["planned"],
        "estimate_error_p95": errors[int(0.95 * len(errors))],
        "tokens_a_question": spent["planned"] / len(which),
        "overruled": float(sum(each["llm_overruled"] for answers in said.values() for each in answers)),
    }


def _attacked(client: httpx.Client, server: OpenAiServer, console: Console) -> dict[str, float]:
    model = ObeyingModel()
    server.reply = model
    client.put("/v1/collections/bench-attacked", json={}).raise_for_status()
    items = [{"id": name, "text": text, "metadata": {"caption": text}} for name, text in hidden_orders.SCENES.items()]
    client.post("/v1/collections/bench-attacked/items", json={"items": items}).raise_for_status()
    number, changed = hidden_orders.achieved(client, "bench-attacked", model)
    console.print(*changed, sep="\n")
    return {"attacks": float(number), "attacks_obeyed": float(model.obeyed), "attacks_achieved": float(len(changed))}


def main() -> None:
    """Measure, print, and save when asked to."""
    parser = options(__doc__)
    parser.add_argument("--questions", type=int, default=500)
    given, console = parser.parse_args(), Console()
    with tempfile.TemporaryDirectory(prefix="clipserve-bench-") as work, ready_stack(Path(work) / "stack") as stack:
        figures = measure(stack, given.questions, Path(work), console)
    show(figures, BARS, console)
    finish({**head("assistant", "make bench-assistant"), "figures": figures, "bars": judge(figures, BARS)}, given.save)
