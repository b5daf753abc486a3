"""`ask` of the client and the command line, against a gateway."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from clipserve_client import AsyncClient, Client, errors
from scripts.cli import app
from tests.client.answering import answering

FOUND = {
    "answer": "Two red circles.",
    "found": True,
    "kind": "count",
    "by": "offline",
    "citations": [{"id": "s1", "collection": "demo", "caption": "two red circles", "verified": True}],
    "usage": {"cost_usd": 0.0},
}
NOTHING = {**FOUND, "answer": "Not in these pictures.", "found": False, "citations": []}
FAILED = (503, {"error": {"message": "down", "type": "x", "param": None, "code": "llm_unavailable"}}, {})


def test_an_answer() -> None:
    with answering((200, FOUND, {})) as server, Client(server.url) as client:
        answer = client.ask("how many red circles?", "demo", k=5, by="offline")
    assert (answer.text, answer.found, answer.citations[0].id) == ("Two red circles.", True, "s1")
    assert answer.raw == FOUND


async def test_an_answer_asynchronously() -> None:
    with answering((200, FOUND, {})) as server:
        async with AsyncClient(server.url) as client:
            assert (await client.ask("how many?", "demo")).citations[0].verified


def test_a_question_is_not_asked_twice() -> None:
    with answering(FAILED, (200, FOUND, {})) as server, Client(server.url) as client:
        with pytest.raises(errors.AssistantUnavailable):
            client.ask("how many?", "demo")
        assert len(server.requests) == 1


@pytest.mark.parametrize(("told", "status"), [(FOUND, 0), (NOTHING, 1)])
def test_the_command(told, status) -> None:
    with answering((200, told, {})) as server:
        run = CliRunner().invoke(app, ["ask", "how many red circles?", "--offline", "--url", server.url])
    assert run.exit_code == status
    lines = run.stdout.splitlines()
    assert lines[0] == told["answer"]
    assert lines[1:] == (["s1\ttwo red circles"] if status == 0 else [])
