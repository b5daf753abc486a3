"""Question and evidence → a prompt: what is the same comes first, pictures come last, and all of it fits its budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from clip_core.errors import ClipServeError
from gateway.assistant.asking.answer_schema import answer_schema
from gateway.assistant.asking.prompt_templates import PromptTemplate
from gateway.assistant.offline.evidence import Evidence
from gateway.assistant.provider.prompt import Detail, Prompt, ShownPicture
from gateway.assistant.provider.shown_pictures import shown_picture
from gateway.assistant.provider.token_estimates import TokenEstimates

_DATA_BYTES = 600  # of one hit
_FINE = (
    "read",
    "written",
    "text",
    "word",
    "letter",
    "number on",
    "sign",
    "label",
    "small",
    "tiny",
    "detail",
    "exactly",
)
_MOST_FINE = 4  # pictures in high detail, where the question is about what is small


@dataclass(frozen=True)
class PromptPlan:
    """What is shown: data of all `evidence`, and a picture of some, each at a detail."""

    evidence: tuple[Evidence, ...]
    pictures: dict[str, ShownPicture]

    def details(self) -> dict[str, Detail]:
        return {ref: picture.detail for ref, picture in self.pictures.items()}


def plan_prompt(
    question: str,
    evidence: Sequence[Evidence],
    template: PromptTemplate,
    estimates: TokenEstimates,
    *,
    most_tokens: int,
    max_pixels: int,
    vision: bool = True,
    detail: Detail | None = None,
) -> PromptPlan:
    """The best hits that fit into `most_tokens`, at the least detail that answers: `detail` for all, or low and, where
    the question is about what is small, high for the first few. To be called off the event loop.
    """
    left = most_tokens - estimates.text(template.system + question) - 200  # the schema and what stands around
    taken: list[Evidence] = []
    pictures: dict[str, ShownPicture] = {}
    for place, each in enumerate(evidence):
        left -= estimates.text(data_of(each)) + 8
        if left < 0 and taken:
            break
        taken.append(each)
        wanted = detail or ("high" if place < _MOST_FINE and _is_fine(question) else "low")
        shown = _shown(each, wanted, estimates, max_pixels) if vision else None
        if shown is not None and estimates.rule.tokens(shown) <= left:
            pictures[each.ref] = shown
            left -= estimates.rule.tokens(shown)
    return PromptPlan(tuple(taken), pictures)


def render_prompt(question: str, plan: PromptPlan, template: PromptTemplate, max_tokens: int) -> Prompt:
    data = "\n".join(map(data_of, plan.evidence))
    text = template.question.substitute(question=orjson.dumps(question).decode(), data=data)
    parts: list[str | ShownPicture] = [text]
    for ref, picture in plan.pictures.items():
        parts += [template.picture.substitute(ref=ref), picture]
    schema = answer_schema([each.ref for each in plan.evidence])
    return Prompt(template.system, tuple(parts), template.version, schema, max_tokens)


def data_of(evidence: Evidence) -> str:
    """Its metadata as JSON that can't end the element around it."""
    told = dict(evidence.metadata)
    while told and len(orjson.dumps(told)) > _DATA_BYTES:
        told.popitem()
    written = orjson.dumps(told).decode().replace("<", "\\u003c").replace(">", "\\u003e")
    return f'<data picture="{evidence.ref}">{written}</data>'


def _is_fine(question: str) -> bool:
    lower = question.lower()
    return any(word in lower for word in _FINE)


def _shown(evidence: Evidence, detail: Detail, estimates: TokenEstimates, max_pixels: int) -> ShownPicture | None:
    """None where there is no picture, or none that can be read."""
    if evidence.picture is None:
        return None
    try:
        return shown_picture(evidence.picture, estimates.rule.side(detail), detail, max_pixels)
    except ClipServeError:
        return None
