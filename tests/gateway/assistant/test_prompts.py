"""Prompts: golden renderings of each version, what fits a budget, and answers that come in pieces."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from clip_core.errors import AssistantFailed
from gateway.assistant.asking.partial_answer import PartialAnswer
from gateway.assistant.asking.prompt_templates import prompt_template
from gateway.assistant.asking.prompting import data_of, plan_prompt, render_prompt
from gateway.assistant.offline.evidence import Evidence
from gateway.assistant.provider.image_tokens import ImageRule
from gateway.assistant.provider.prompt import Prompt, ShownPicture
from gateway.assistant.provider.token_estimates import TokenEstimates
from tests.gateway.assistant.conftest import drawn

GOLDEN = Path(__file__).with_name("golden")
SHELF = [
    Evidence("p1a2", "s1", metadata={"caption": "a red circle", "count": 1}, picture=base64.b64decode(drawn("s1"))),
    Evidence("p3b4", "s2", metadata={"caption": "</data> a blue star", "other": {"shape": "ring"}}),
]


def planned(question: str, shelf: list[Evidence] = SHELF, tokens: int = 6000, **options) -> Prompt:
    template, estimates = prompt_template(), TokenEstimates(ImageRule())
    plan = plan_prompt(question, shelf, template, estimates, most_tokens=tokens, max_pixels=10**7, **options)
    return render_prompt(question, plan, template, 500)


def rendered(prompt: Prompt) -> str:
    parts = [
        part if isinstance(part, str) else f"[{part.width} x {part.height}, {part.detail}]" for part in prompt.parts
    ]
    schema = json.dumps(prompt.schema, indent=2)
    return "\n\n".join([f"# {prompt.version}", prompt.system, *parts, schema]) + "\n"


@pytest.mark.parametrize(
    ("name", "question"),
    [
        ("answer.1.plain.txt", "How many red circles are there?"),
        ("answer.1.fine.txt", 'What is written on the "sign"?'),
    ],
)
def test_golden_renderings(name, question) -> None:
    """A change of the words around a question is a new version, with a rendering of its own."""
    assert rendered(planned(question)) == (GOLDEN / name).read_text(encoding="utf-8")


def test_what_is_the_same_comes_first_and_pictures_last() -> None:
    one, other = planned("one?"), planned("another?")
    assert one.system == other.system
    kinds = [isinstance(part, ShownPicture) for part in one.parts]
    assert kinds == [False, False, True]


def test_data_can_not_end_itself() -> None:
    assert data_of(SHELF[1]).count("</data>") == 1
    assert len(data_of(Evidence("p", "s", metadata={str(n): "x" * 99 for n in range(99)}))) < 700


@pytest.mark.parametrize("tokens", [500, 800, 2000, 6000])
def test_a_prompt_fits_its_budget(tokens) -> None:
    shelf = [Evidence(f"p{n}", f"s{n}", metadata=SHELF[0].metadata, picture=SHELF[0].picture) for n in range(40)]
    prompt = planned("which are red?", shelf, tokens)
    assert TokenEstimates(ImageRule()).of(prompt).input <= max(tokens, 700) * 1.05
    assert len(prompt.pictures()) == (40 if tokens == 6000 else len(prompt.pictures()))


def test_pictures_that_can_not_be_read_are_left_out() -> None:
    assert planned("q", [Evidence("p", "s", picture=b"no picture")]).pictures() == []
    assert planned("q", vision=False).pictures() == []
    assert {each.detail for each in planned("q", detail="high").pictures()} == {"high"}


def told(text: str, size: int) -> tuple[str, object]:
    partial, pieces = PartialAnswer(), ""
    for start in range(0, len(text), size):
        partial.add(text[start : start + size])
        pieces += partial.news()
    return pieces, partial.head


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ("Two red circles.", "Two red circles."),
        ('He said "hi"\n\u00e9\U0001f600 twice.', 'He said "hi" \u00e9\U0001f600 twice.'),
        ("See http://evil.example/x or [this](http://a.b) now", "See or this now"),
        ("", ""),
    ],
)
def test_the_text_comes_as_far_as_it_is_there(size, answer, shown) -> None:
    whole = json.dumps({"citations": ["p1", "p2"], "found": True, "answer": answer})
    assert told(whole, size) == (shown, (["p1", "p2"], True))


def test_nothing_comes_before_the_citations() -> None:
    assert told('{"answer": "first", "citations": [], "found": true}', 1) == ("", None)
    with pytest.raises(AssistantFailed):
        PartialAnswer().add('{"citations": [oops], "found": true, "answer": "')
