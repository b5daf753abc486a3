"""Making collections and adding pictures to them, in the page."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from scripts.stack.live_stack import LiveStack
from tests.browser.conftest import Open, gallery
from tests.browser.test_browsing import tiles
from tests.browser.test_search import searched
from tests.e2e.conftest import send

pytestmark = pytest.mark.browser


@pytest.fixture
def name(stack: LiveStack) -> Iterator[str]:
    """Of a collection that is dropped in the end."""
    made = f"page-{uuid.uuid4().hex[:8]}"
    yield made
    send("DELETE", f"{stack.gateway}/v1/collections/{made}")


def test_pictures_are_added_and_bad_ones_named(visit: Open, stack: LiveStack, name: str, tmp_path: Path) -> None:
    bad = tmp_path / "broken.jpg"
    bad.write_bytes(b"\xff\xd8\xff no picture")
    page = visit()
    tiles(page)
    page.get_by_role("button", name="Add pictures").click()
    page.get_by_label("To the collection").fill(name)
    page.set_input_files("#upload-files", [*sorted(gallery(stack).glob("*.jpg"))[:12], bad])
    expect(page.locator("#upload-status")).to_have_text("12 pictures added, 1 not")
    expect(page.locator("#upload-failed li")).to_have_count(1)
    expect(page.locator("#upload-failed")).to_contain_text("broken.jpg")
    expect(page.locator("#upload-progress")).to_have_js_property("value", 1)
    page.get_by_role("button", name="Show the collection").click()
    assert searched(page, name) == [f"scene {number:04}" for number in range(12)]
    expect(page.locator("#results img").first).to_be_visible()
    expect(page.locator("#collection option:checked")).to_have_text(f"{name} (12)")
    assert send("GET", f"{stack.gateway}/v1/collections/{name}").json["count"] == 12


def test_what_was_added_is_found(visit: Open, stack: LiveStack, name: str) -> None:
    page = visit()
    tiles(page)
    page.get_by_role("button", name="Add pictures").click()
    page.get_by_label("To the collection").fill(name)
    page.set_input_files("#upload-files", sorted(gallery(stack).glob("*.jpg"))[:5])
    page.get_by_role("button", name="Show the collection").click()
    searched(page, name)
    page.set_input_files("#file", gallery(stack) / "scene-0003.jpg")
    assert searched(page, "Your picture")[0] == "scene 0003"


def test_an_empty_collection_is_made(visit: Open, name: str) -> None:
    page = visit()
    tiles(page)
    page.get_by_role("button", name="Add pictures").click()
    page.get_by_label("To the collection").fill(name)
    page.get_by_role("button", name="Create it empty").click()
    expect(page.get_by_role("heading", name="This collection is empty")).to_be_visible()
    expect(page.locator("#collection option:checked")).to_have_text(f"{name} (0)")


def test_a_bad_name_is_refused_before_anything_is_sent(visit: Open) -> None:
    page = visit()
    tiles(page)
    page.get_by_role("button", name="Add pictures").click()
    page.get_by_label("To the collection").fill("no spaces, please")
    page.get_by_role("button", name="Create it empty").click()
    assert page.locator("#upload-collection").evaluate("field => field.validity.patternMismatch")
    expect(page.locator("#upload")).to_be_visible()
