"""How workers are waited for: TorchServe itself is never asked to wait, and one that ends at its start is noticed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from clip_core.errors import ClipServeError, Conflict, NotFound, TorchServeUnavailable
from scripts.models import management
from scripts.models.management import Management


def worker(pid: int, status: str = "UNLOADING") -> dict[str, Any]:
    return {"pid": pid, "status": status}


@pytest.fixture
def torchserve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Management, list[httpx.Request]]]:
    """`torchserve(*looks)`: describes a model's workers by each of these in turn, then by the last one."""

    def make(*looks: list[dict[str, Any]]) -> tuple[Management, list[httpx.Request]]:
        asked: list[httpx.Request] = []
        left = list(looks)

        def answer(request: httpx.Request) -> httpx.Response:
            asked.append(request)
            workers = left.pop(0) if len(left) > 1 else left[0]
            return httpx.Response(200, json=[{"workers": workers}])

        transport = httpx.MockTransport(answer)
        monkeypatch.setattr(management, "_client", lambda url, _: httpx.Client(base_url=url, transport=transport))
        monkeypatch.setattr(management.time, "sleep", lambda _: None)
        return Management("http://management", "http://inference"), asked

    return make


def test_torchserve_does_not_wait_for_workers(torchserve: Any) -> None:
    server, asked = torchserve([])
    server.register("clip_text", "clip_text.mar", 2)
    assert dict(asked[0].url.params) == {
        "url": "clip_text.mar",
        "model_name": "clip_text",
        "initial_workers": "2",
        "synchronous": "false",
    }


@pytest.mark.parametrize(("status", "raised"), [(404, NotFound), (409, Conflict), (500, TorchServeUnavailable)])
def test_what_torchserve_does_not_register(
    status: int, raised: type[ClipServeError], monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(status, json={"code": status, "message": "no such file"}))
    monkeypatch.setattr(management, "_client", lambda url, _: httpx.Client(base_url=url, transport=transport))
    with pytest.raises(raised, match="no such file"):
        Management("http://management", "http://inference").register("clip_text", "clip_text.mar", 1)


def test_workers_are_waited_for(torchserve: Any) -> None:
    server, asked = torchserve([], [worker(-1)], [worker(7)], [worker(7)], [worker(7, "READY")])
    server.wait_ready("clip_text", "2.0")
    assert len(asked) >= 3


def test_workers_that_end_at_their_start_are_noticed(torchserve: Any) -> None:
    server, _ = torchserve(*([worker(pid)] for pid in (-1, 7, 7, -1, 8, 8)))
    with pytest.raises(TorchServeUnavailable, match=r"clip_text 2\.0 does not start"):
        server.wait_ready("clip_text", "2.0")
