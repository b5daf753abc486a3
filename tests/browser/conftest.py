"""The page in a real browser, before the real stack or before a gateway of its own that misbehaves in some way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from starlette.types import ASGIApp

from gateway.app import build
from gateway.settings import GatewaySettings
from scripts.page.browser import NoBrowser, chromium
from scripts.stack.live_stack import LiveStack
from tests.browser.library import Library, library_gateway
from tests.gateway.fakes import serving

DESKTOP, PHONE = (1280, 800), (390, 844)
PATIENCE_MS = 60_000  # of a test on a machine with other work; what is there at once costs none of it
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Of one module: Playwright's event loop runs as long as it does, and asyncio tests elsewhere need their own."""
    expect.set_options(timeout=PATIENCE_MS)
    with ExitStack() as entered:
        try:
            started = entered.enter_context(chromium())
        except NoBrowser as error:
            pytest.fail(str(error))
        yield started


@pytest.fixture
def visit(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Open]:
    """`visit("/?q=…", url=…, size=…)` opens the page in a session of its own; no script may fail on it.

    Without a `url` it is the real stack's.
    """
    with ExitStack() as contexts:
        failures: list[str] = []

        def start(address: str = "/?collection=demo", url: str | None = None, size: Any = DESKTOP, **more: Any) -> Page:
            viewport = {"width": size[0], "height": size[1]}
            url = request.getfixturevalue("stack").gateway if url is None else url
            context = browser.new_context(viewport=viewport, reduced_motion="reduce", **more)  # type: ignore[arg-type]
            contexts.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(PATIENCE_MS)
            page.on("pageerror", lambda error: failures.append(str(error)))
            page.on("console", lambda line: failures.append(line.text) if "Content Security" in line.text else None)
            page.goto(url + address)
            return page

        yield start
    assert failures == []


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """A gateway before fakes, with the collections that a test puts into it: no model is needed."""
    with library_gateway(tmp_path_factory.mktemp("library")) as made:
        yield made


@pytest.fixture
def gateway_of(stack: LiveStack) -> Iterator[Callable[..., str]]:
    """`gateway_of(api_keys="k", around=…)` → the URL of another gateway before the same TorchServe and index."""
    with ExitStack() as running:

        def start(around: Callable[[ASGIApp], ASGIApp] = lambda app: app, **settings: Any) -> str:
            upstreams = {
                "torchserve_url": stack.inference,
                "management_url": f"http://127.0.0.1:{stack.ports['management_port']}",
                "metrics_url": f"http://127.0.0.1:{stack.ports['metrics_port']}",
                "index_url": stack.index,
                "image_roots": {"demo": gallery(stack)},
            }
            app = around(build(GatewaySettings(**{**upstreams, **settings})))
            return running.enter_context(serving(app, lifespan="on"))

        yield start


def gallery(stack: LiveStack) -> Path:
    """The folder of the demo's pictures."""
    return stack.data_dir / "demo" / "gallery"
