"""GET /v1/stats/scaling: what scalers decided, through the gateway, and what it says while they are away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scaler.app import create_app
from scaler.settings import ScalerSettings
from tests.gateway.fakes import serving
from tests.scaler.fakes import ENDPOINT, world


@pytest.fixture
def scaler_url(tmp_path: Path) -> Iterator[str]:
    """A scaler that has decided twice: 4 workers, then 6."""
    settings = ScalerSettings(
        endpoints=(ENDPOINT,),
        data_dir=tmp_path / "scaler",
        max_replicas=8,
        target_utilization=0.5,
        stabilization_window_s=0,
    )
    made = world(settings)

    async def decide() -> None:
        await made.scaler.look()
        await made.ask(2.0)
        await made.ask(3.0)

    asyncio.run(decide())
    with serving(create_app(made.scaler)) as url:
        yield url


def test_sizes_and_decisions(stack_of: Any, scaler_url: str) -> None:
    client = stack_of(scaler_urls=(scaler_url,)).client
    told = client.get("/v1/stats/scaling").json()
    assert [(size["endpoint"], size["size"]) for size in told["sizes"]] == [(ENDPOINT, 6)]
    assert told["endpoint"] == ENDPOINT
    assert [decision["size"] for decision in told["decisions"]][-2:] == [4, 6]
    assert "busy workers" in told["decisions"][-1]["reason"]
    assert told["problems"] == []
    assert client.get(f"/v1/stats/scaling?endpoint={ENDPOINT}&range=5m").json()["endpoint"] == ENDPOINT


def test_an_endpoint_that_is_not_scaled_is_unknown(stack_of: Any, scaler_url: str) -> None:
    client = stack_of(scaler_urls=(scaler_url,)).client
    answer = client.get("/v1/stats/scaling?endpoint=other")
    assert answer.status_code == 404
    assert ENDPOINT in answer.json()["error"]["message"]
    assert client.get("/v1/stats/scaling?range=1y").status_code == 400


def test_without_a_scaler_nothing_is_told(stack_of: Any) -> None:
    told = stack_of().client.get("/v1/stats/scaling").json()
    assert told == {"sizes": [], "endpoint": None, "decisions": [], "problems": []}


def test_a_scaler_that_is_away_is_a_problem_and_hides_no_other(stack_of: Any, scaler_url: str) -> None:
    client = stack_of(scaler_urls=("http://127.0.0.1:9", scaler_url)).client
    told = client.get("/v1/stats/scaling").json()
    assert [size["endpoint"] for size in told["sizes"]] == [ENDPOINT]
    assert len(told["problems"]) == 1
    assert "http://127.0.0.1:9" in told["problems"][0]
    assert client.get("/v1/stats/scaling?endpoint=of_the_other").json()["decisions"] == []


def test_what_is_no_scaler_is_a_problem(stack_of: Any) -> None:
    stack = stack_of()
    told = stack_of(scaler_urls=(stack.url,)).client.get("/v1/stats/scaling").json()
    assert told["sizes"] == []
    assert "answers 404" in told["problems"][0]


def test_only_an_admins_key_may_see_it(stack_of: Any, tmp_path: Path) -> None:
    from gateway.keys.key_store import KeyStore

    store = KeyStore(tmp_path / "keys.db")
    key, _ = store.create("search", ("search",))
    client = stack_of(keys_file=store.path).client
    assert client.get("/v1/stats/scaling", headers={"Authorization": f"Bearer {key}"}).status_code == 403
