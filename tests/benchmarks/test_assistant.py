"""Questions with known answers, asked before a stand-in for the model: captions alone are enough to answer them."""

from __future__ import annotations

import pytest

from benchmarks.assistant.questions import KINDS, blind, citations_right, is_right, make_gallery, make_questions
from benchmarks.assistant.scoring import accuracy, ask, fill, first_piece_ms
from tests.gateway.conftest import plain_gateway, stack, stack_of, upstreams

__all__ = ["plain_gateway", "stack", "stack_of", "upstreams"]


def test_questions_are_of_all_kinds_and_no_guess_answers_them() -> None:
    questions = make_questions(make_gallery(1, 20), 200, 1)
    assert {kind: sum(each.kind == kind for each in questions) for kind in KINDS} == dict.fromkeys(KINDS, 40)
    assert max(blind(questions).values()) < 0.7
    assert make_questions(make_gallery(1, 20), 200, 1) == questions


def test_captions_answer_them(stack) -> None:
    gallery = make_gallery(2, 8)
    questions = make_questions(gallery, 60, 2)
    fill(stack.client, "bench", gallery, captions=True)
    answers = [ask(stack.client, "bench", each) for each in questions]
    wrong = [(q.text, a["answer"]) for q, a in zip(questions, answers, strict=True) if not is_right(q, a)]
    scores = accuracy(questions, answers)
    assert scores["mean"] >= 0.95, wrong
    assert scores["citations"] == 1.0
    assert first_piece_ms(stack.client, "bench", questions[0]) > 0


@pytest.mark.parametrize("answer", ["Two red circles.", "2 red circles", "There are two."])
def test_numbers_are_read_as_they_are_written(answer) -> None:
    question = next(q for q in make_questions(make_gallery(3, 9), 90, 3) if q.kind == "count" and q.said == "2")
    said = {"answer": answer, "found": True, "citations": [{"id": each} for each in question.cited]}
    assert is_right(question, said)
    assert citations_right(question, said)
    assert not is_right(question, {**said, "answer": "Three."})
    assert not citations_right(question, {**said, "citations": [{"id": "g0-none"}]})
