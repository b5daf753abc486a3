"""What the page says when something is wrong or missing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import expect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from clip_core.errors import Overloaded
from tests.browser.conftest import Open
from tests.browser.test_browsing import tiles
from tests.browser.test_search import searched

pytestmark = pytest.mark.browser
KEY = "a-key-for-the-page"


class Limited:
    """Answers searches with 429, as a limiter does, until it is told to let them pass."""

    def __init__(self) -> None:
        self.refuses = True

    def around(self, app: ASGIApp) -> ASGIApp:
        self.app = app
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/v1/search" and self.refuses:
            refused = JSONResponse(Overloaded("more than 60 requests a minute").to_dict(), 429, {"Retry-After": "1"})
            await refused(scope, receive, send)
        else:
            await self.app(scope, receive, send)


class WithAJob:
    """Has one background job, which a DELETE cancels; each look at it finds ten more items done."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.processed = 0
        self.state = "running"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/v1/jobs"):
            if scope["method"] == "DELETE":
                self.state = "cancelled"
            self.processed += 10
            await JSONResponse(self.answer(scope["path"]))(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def answer(self, path: str) -> dict[str, Any]:
        progress = {"total": 640, "processed": self.processed, "added": self.processed - 1, "failed": 1}
        job = {"id": "j1", "collection": "photos", "state": self.state, "progress": progress, "rate": 41.5}
        job |= {"eta_s": 12.0, "message": None, "error": None}
        return {"jobs": [job]} if path == "/v1/jobs" else job


def test_a_background_job_is_followed_and_cancelled(visit: Open, gateway_of) -> None:
    page = visit(url=gateway_of(around=WithAJob))
    job = page.get_by_label("Background jobs").get_by_role("listitem")
    expect(job).to_contain_text("of 640 items · 42 a second · 12 s left · 1 set aside")
    before = job.get_by_role("progressbar").evaluate("bar => bar.value")
    expect(job).not_to_contain_text(f"{before} of 640")
    job.get_by_role("button", name="Cancel").click()
    expect(job).to_contain_text("cancelled")
    expect(job.get_by_role("button", name="Try again")).to_be_visible()


def test_without_jobs_nothing_is_shown(visit: Open) -> None:
    page = visit()
    tiles(page)
    expect(page.locator("#jobs")).to_be_hidden()


def test_a_key_is_asked_for_and_kept(visit: Open, gateway_of) -> None:
    page = visit("/?collection=demo&q=a%20star", url=gateway_of(api_keys=KEY))
    expect(page.get_by_role("heading", name="An API key is needed")).to_be_visible()
    expect(page.locator("#key")).to_be_focused()
    page.fill("#key", "wrong")
    page.press("#key", "Enter")
    expect(page.locator("#key-reason")).to_have_text("this API key is not accepted")
    page.fill("#key", KEY)
    page.press("#key", "Enter")
    assert "star" in searched(page, "a star")[0]
    expect(page.locator("#key-panel")).to_be_hidden()
    expect(page.locator("#results img").first).to_have_attribute("src", re.compile("^blob:"))
    page.reload()
    assert "star" in searched(page, "a star")[0]
    assert KEY not in page.url
    assert page.evaluate("() => JSON.stringify(localStorage)").find(KEY) < 0


def test_a_forgotten_key_is_gone(visit: Open, gateway_of) -> None:
    page = visit("/?collection=demo", url=gateway_of(api_keys=KEY))
    page.fill("#key", KEY)
    page.press("#key", "Enter")
    tiles(page)
    page.get_by_role("button", name="Key", exact=True).click()
    page.get_by_role("button", name="Forget it").click()
    expect(page.get_by_role("heading", name="An API key is needed")).to_be_visible()


def test_a_part_that_is_down_is_named(visit: Open, gateway_of) -> None:
    page = visit("/?collection=demo", url=gateway_of(torchserve_url="http://127.0.0.1:9"))
    tiles(page)
    page.fill("#text", "a star")
    expect(page.get_by_role("alert")).to_contain_text("A part of the service is not there")
    expect(page.get_by_role("alert")).to_contain_text("TorchServe")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()


def test_an_index_that_is_down_is_named(visit: Open, gateway_of) -> None:
    page = visit("/?collection=demo", url=gateway_of(index_url="http://127.0.0.1:9"))
    expect(page.get_by_role("alert")).to_contain_text("The index service refuses connections")


def test_a_gateway_that_went_away_and_came_back(visit: Open) -> None:
    page = visit()
    tiles(page)
    page.context.set_offline(True)
    page.fill("#text", "a star")
    expect(page.get_by_role("alert")).to_contain_text("The gateway does not answer")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    assert "star" in searched(page, "a star")[0]
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_limited_rate_is_waited_for(visit: Open, gateway_of) -> None:
    limited = Limited()
    page = visit("/?collection=demo&q=a%20star", url=gateway_of(around=limited.around))
    expect(page.get_by_role("alert")).to_contain_text(re.compile(r"Too many requests.*Trying again in \d s", re.DOTALL))
    limited.refuses = False
    assert "star" in searched(page, "a star")[0]


def test_a_file_that_is_no_picture(visit: Open, tmp_path: Path) -> None:
    bad = tmp_path / "notes.png"
    bad.write_bytes(b"not a picture at all")
    page = visit()
    before = tiles(page)
    page.set_input_files("#file", bad)
    expect(page.get_by_role("alert")).to_contain_text("This file is not a picture")
    expect(page.get_by_role("alert")).to_contain_text("notes.png")
    assert tiles(page) == before


def test_nothing_fits(visit: Open) -> None:
    impossible = quote('{"color":["green"],"shape":["no such shape"]}')
    page = visit(f"/?collection=demo&q=star&filter={impossible}")
    expect(page.get_by_role("heading", name="Nothing fits these filters")).to_be_visible()
    page.get_by_role("button", name="Remove the filters").click()
    assert tiles(page)


def test_metadata_is_shown_as_text(visit: Open, stack) -> None:
    from tests.e2e.conftest import send

    evil = '<img src=x onerror="document.title=1">'
    items = [{"id": evil, "text": "a star", "metadata": {"caption": evil, evil: evil}}]
    assert send("PUT", f"{stack.gateway}/v1/collections/evil", {}).status in (200, 201)
    assert send("POST", f"{stack.gateway}/v1/collections/evil/items", {"items": items}).status == 200
    page = visit("/?collection=evil")
    assert tiles(page) == [evil]
    page.locator("#results .open").click()
    expect(page.locator("#viewer-title")).to_have_text(evil)
    expect(page.locator("#viewer-facts")).to_contain_text(evil)
    assert send("DELETE", f"{stack.gateway}/v1/collections/evil").status == 200
