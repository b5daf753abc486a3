"""The panel of background jobs: all of them, what they set aside, and why."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Open
from tests.browser.library import Library

pytestmark = pytest.mark.browser


def job(name: str, state: str, failed: int) -> dict[str, Any]:
    progress = {"total": 64, "processed": 64, "added": 64 - failed, "failed": failed}
    times = {"created": "2026-01-01T00:00:00Z", "finished": "2026-01-01T00:01:00Z"}
    more = {"rate": None, "eta_s": None, "message": None, "error": None, "source": {"folder": "photos"}}
    return {"id": name, "collection": name, "state": state, "progress": progress, **times, **more}


def with_jobs(page: Page, *jobs: dict[str, Any]) -> None:
    def answer(route: Route) -> None:
        path = route.request.url.split("/v1/jobs")[1]
        after = int(path.split("after=")[1]) if "after=" in path else -1
        error = {"message": "not a picture", "code": "invalid_image"}
        failures = [{"place": after + 1, "id": f"broken-{after + 1}.jpg", "error": error}]
        body = {"failures": failures, "next": after + 1 if after < 0 else None}
        route.fulfill(body=json.dumps(body if "failures" in path else {"jobs": jobs, "next": None}))

    page.route("**/v1/jobs**", answer)
    page.route("**/v1/jobs/**", answer)


def test_all_jobs_are_listed_with_their_failures(visit: Open, library: Library) -> None:
    library.fill("photos", 3)
    page = visit("/docs", url=library.url)
    with_jobs(page, job("photos", "completed", 2), job("other", "completed", 0))
    page.goto(f"{library.url}/?collection=photos")
    page.get_by_role("button", name="Jobs", exact=True).click()
    rows = page.locator("#all-jobs > li")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("64 of 64 items · completed")
    rows.first.locator("summary", has_text="2 items set aside").click()
    expect(rows.first.locator(".failed li")).to_have_text(["broken-0.jpg not a picture"])
    rows.first.get_by_role("button", name="Show more").click()
    expect(rows.first.locator(".failed li")).to_have_count(2)
    expect(rows.last.locator("summary")).to_have_count(0)


def test_without_jobs_the_panel_says_how_one_begins(visit: Open, library: Library) -> None:
    library.fill("photos", 3)
    page = visit("/?collection=photos", url=library.url)
    page.get_by_role("button", name="Jobs", exact=True).click()
    expect(page.locator("#no-jobs")).to_contain_text("There are no jobs yet")
