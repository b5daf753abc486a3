"""Admin requests: only with the token, and they do what they say without touching their batch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from clip_core.encode.embedding_cache import EmbeddingCache
from clip_core.errors import Unavailable
from clip_core.serving.admin import Admin
from handlers.text_handler import TextHandler
from tests.clip_core.test_batch_handler import HTTP, FakeContext, started
from tests.waiting import until

TOKEN = "a-long-secret"


@pytest.fixture(scope="module")
def handler(model_dirs: dict[str, Path]) -> TextHandler:
    handler = started(model_dirs)
    handler.admin = Admin(TOKEN, handler.encoders, handler.accepts, "9000")
    return handler


@pytest.fixture
def ask(handler: TextHandler, model_dirs: dict[str, Path]) -> Any:
    handler.encoders.cache.clear()

    def send(*bodies: Any, authorization: str | None = None) -> list[tuple[int, Any]]:
        header = {**HTTP, "Content-Type": "application/json"}
        if authorization:
            header["Authorization"] = authorization
        context = FakeContext(model_dirs["text"], [header] * len(bodies))
        answers = handler.handle([{"body": json.dumps(body).encode()} for body in bodies], context)
        return [(context.statuses.get(i, 200), json.loads(answer)) for i, answer in enumerate(answers)]

    return send


@pytest.mark.parametrize(
    ("body", "authorization", "status"),
    [
        ({"cache": "clear", "token": TOKEN}, None, 200),
        ({"cache": "clear"}, f"Bearer {TOKEN}", 200),
        ({"cache": "clear"}, None, 401),
        ({"cache": "clear", "token": "other"}, f"Bearer {TOKEN}", 401),
        ({"cache": "clear"}, "Bearer other", 401),
        ({"cache": "clear", "token": 3}, None, 401),
        ({"cache": "burn", "token": TOKEN}, None, 400),
        ({"cache": "clear", "scope": "model", "token": TOKEN}, None, 200),
        ({"cache": "clear", "scope": "mine", "token": TOKEN}, None, 400),
        ({"token": TOKEN}, None, 400),
        ({"cache": "forget", "token": TOKEN}, None, 400),
        ({"cache": "forget", "input": "x", "token": ""}, None, 401),
    ],
)
def test_who_may_and_what(ask: Any, body: dict[str, Any], authorization: str | None, status: int) -> None:
    ((got, answer),) = ask({"admin": body}, authorization=authorization)
    assert got == status
    if status == 401:
        assert answer["error"]["code"] == "invalid_api_key"


def test_without_a_token_in_the_settings_nobody_may(handler: TextHandler) -> None:
    closed = Admin("", handler.encoders, handler.accepts, "9000")
    from clip_core.inputs.request import AdminRequest

    for token in ("", TOKEN):
        assert closed.answer(AdminRequest({"cache": "clear", "token": token}), "Bearer ").status == 401


def test_clear_empties_the_cache_and_its_batch_goes_on(ask: Any) -> None:
    ask({"input": ["a", "b"]})
    first, admin, last = ask({"input": "a"}, {"admin": {"cache": "clear", "token": TOKEN}}, {"input": "c"})
    assert (first[0], admin[0], last[0]) == (200, 200, 200)
    assert (admin[1]["cache"]["cleared"], admin[1]["cache"]["entries"], admin[1]["worker"]) == (2, 0, "9000")
    assert len(first[1]["data"]) == len(last[1]["data"]) == 1
    ((_, stats),) = ask({"admin": {"cache": "stats", "token": TOKEN}})
    assert stats["cache"]["entries"] == 2, "what came with the clear was computed after it"


def test_forget_drops_what_it_names(ask: Any) -> None:
    ask({"input": ["a", "b"]})
    ((_, answer),) = ask({"admin": {"cache": "forget", "input": ["a", {"text": "never seen"}], "token": TOKEN}})
    assert (answer["cache"]["forgotten"], answer["cache"]["entries"]) == (1, 1)


def test_an_input_called_admin_is_none(ask: Any) -> None:
    ((status, answer),) = ask({"input": "a", "admin": True})
    assert status == 200
    assert "data" in answer


class Deaf(EmbeddingCache):
    """A cache whose second level does not answer."""

    def clear(self, **_: bool) -> None:
        raise Unavailable("this worker has cleared its cache, but Redis did not confirm it")

    def discard_many(self, _keys: Sequence[bytes]) -> set[bytes]:
        raise Unavailable("this worker has forgotten them, but Redis did not confirm it")


@pytest.mark.parametrize("action", [{"cache": "clear"}, {"cache": "forget", "input": "a"}])
def test_a_level_that_does_not_confirm_is_a_503(
    ask: Any, handler: TextHandler, action: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler.encoders, "cache", Deaf(1 << 20))
    ((status, answer),) = ask({"admin": {**action, "token": TOKEN}})
    assert (status, answer["error"]["code"]) == (503, "unavailable")
    assert "Redis did not confirm" in answer["error"]["message"]


def test_a_profile_is_started_and_fetched(handler: TextHandler, ask: Any) -> None:
    handler.admin = Admin(TOKEN, handler.encoders, handler.accepts, "9000", handler.profiler)
    assert ask({"admin": {"profile": "start"}})[0][0] == 401
    assert ask({"admin": {"profile": "burn", "token": TOKEN}})[0][0] == 400
    assert ask({"admin": {"profile": "start", "batches": 10**9, "token": TOKEN}})[0][0] == 400
    (status, body), *_ = ask({"admin": {"profile": "start", "batches": 1, "token": TOKEN}})
    assert (status, body["profile"]["state"]) == (200, "running")
    assert ask({"admin": {"profile": "start", "token": TOKEN}})[0][0] == 409
    fetch = {"admin": {"profile": "fetch", "id": body["profile"]["id"], "token": TOKEN}}

    def done() -> dict[str, Any] | None:
        assert ask({"input": "a red circle"})[0][0] == 200
        found: dict[str, Any] = ask(fetch)[0][1]["profile"]
        return found if found["state"] == "done" else None

    found = until(done)
    assert found is not None
    assert found["batches"][0]["items"] == 1
