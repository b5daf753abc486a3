"""axe-core finds nothing to complain about, in whatever the page shows, in both colour schemes."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, Open
from tests.browser.library import Library
from tests.browser.test_browsing import tiles

pytestmark = pytest.mark.browser


def complaints(page: Page) -> list[tuple[str, Any]]:
    """The rules that are broken, each with where. Raises when axe-core did not run."""
    found = Axe().run(page).response
    assert len(found["passes"]) > 10
    return [(each["id"], [node["target"] for node in each["nodes"]]) for each in found["violations"]]


@pytest.mark.parametrize(("scheme", "size"), [("light", (1280, 800)), ("dark", PHONE)])
def test_nothing_is_found_by_axe(visit: Open, library: Library, scheme: str, size: tuple[int, int]) -> None:
    library.fill("photos", 100, file="{n}.png", link="https://example.org/{n}")
    page = visit("/?collection=photos&q=17&not=red", library.url, size, color_scheme=scheme, bypass_csp=True)
    tiles(page)
    assert complaints(page) == []
    page.locator("#results .select").nth(1).click()
    page.click("#jobs-toggle")
    expect(page.locator("#no-jobs")).to_be_visible()
    assert complaints(page) == []
    page.keyboard.press("Delete")
    assert complaints(page) == []
    page.click("#confirm-no")
    page.click("#selection-add")
    assert complaints(page) == []
    page.click("#add-close")
    page.click("#selection-clear")
    page.click("#about-open")
    page.locator("#about-delete summary").click()
    page.fill("#about-name", "other")
    page.press("#about-name", "Enter")
    assert complaints(page) == []
    page.click("#about-close")
    page.locator("#results .open").first.click()
    expect(page.locator("#viewer-links a").first).to_be_visible()
    assert complaints(page) == []
    page.keyboard.press("Escape")
    page.click("#add")
    assert complaints(page) == []
    page.goto(f"{library.url}/?collection=nope")
    expect(page.locator("#empty-links a").first).to_be_visible()
    assert complaints(page) == []
