"""A gateway in front of the fakes, all over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.app import build
from gateway.connections.protocol import guarded
from gateway.settings import GatewaySettings
from tests.gateway.fake_index import FakeIndex
from tests.gateway.fakes import FakeTorchServe, serving
from tests.gateway.redis_server import INSTALLED

collect_ignore = [] if INSTALLED else ["test_replicas.py"]  # CI installs Debian's redis-server


@dataclass
class Stack:
    """The gateway's client, and the fakes behind it."""

    client: httpx.Client
    torchserve: FakeTorchServe
    index: FakeIndex
    url: str

    def post(self, path: str, body: Any, **kwargs: Any) -> httpx.Response:
        return self.client.post(path, json=body, **kwargs)

    def fill(self, *words: str, collection: str = "demo") -> None:
        assert self.client.put(f"/v1/collections/{collection}", json={}).status_code == 201
        items = [{"id": word, "text": word, "metadata": {"word": word}} for word in words]
        assert self.post(f"/v1/collections/{collection}/items", {"items": items}).status_code == 200
        self.torchserve.calls.clear()
        self.index.calls.clear()


class Upstreams:
    """The fakes' addresses, started once; their state is fresh in every test."""

    def __init__(self) -> None:
        self.index = FakeIndex()
        self.torchserve = FakeTorchServe(self.index)

    def reset(self) -> None:
        self.index.__init__()
        self.torchserve.__init__(self.index)


NOWHERE = {f"{name}_url": "http://127.0.0.1:9" for name in ("torchserve", "management", "metrics", "index")}
"""Upstreams that refuse connections: at the defaults a stack of another test may answer."""


@pytest.fixture(scope="session")
def upstreams() -> Iterator[tuple[Upstreams, dict[str, str]]]:
    fakes = Upstreams()
    with serving(fakes.index.app()) as index_url, serving(fakes.torchserve.app()) as url:
        yield fakes, {"index_url": index_url, "torchserve_url": url, "management_url": url, "metrics_url": url}


@pytest.fixture
def stack_of(upstreams: tuple[Upstreams, dict[str, str]], tmp_path: Path) -> Iterator[Any]:
    """`stack_of(api_keys="k", …)` starts a gateway with these settings."""
    fakes, urls = upstreams
    fakes.reset()
    entered: list[Any] = []

    def start(**settings: Any) -> Stack:
        app = build(GatewaySettings(**{**urls, "data_dir": tmp_path / "gateway", **settings}))
        running = serving(app, lifespan="on", http=guarded(10, 1024))
        url = running.__enter__()
        client = httpx.Client(base_url=url, timeout=10)
        entered.extend([client, running])
        client.__enter__()
        return Stack(client, fakes.torchserve, fakes.index, url)

    def stop() -> None:
        while entered:
            entered.pop(0).__exit__(None, None, None)

    start.stop = stop  # type: ignore[attr-defined]
    yield start
    stop()


@pytest.fixture(scope="session")
def plain_gateway(
    upstreams: tuple[Upstreams, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A gateway with default settings, started once."""
    settings = GatewaySettings(**upstreams[1], data_dir=tmp_path_factory.mktemp("gateway"))
    with serving(build(settings), lifespan="on", http=guarded(10, 1024)) as url:
        yield url


@pytest.fixture
def stack(upstreams: tuple[Upstreams, dict[str, str]], plain_gateway: str) -> Iterator[Stack]:
    """The plain gateway, with nothing in the fakes."""
    fakes, _ = upstreams
    fakes.reset()
    with httpx.Client(base_url=plain_gateway, timeout=10) as client:
        yield Stack(client, fakes.torchserve, fakes.index, plain_gateway)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    root = tmp_path / "gallery"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "a b.png").write_bytes(b"\x89PNG picture")
    (root / "page.svg").write_text("<svg/>")
    (tmp_path / "secret.png").write_bytes(b"secret")
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    return root
