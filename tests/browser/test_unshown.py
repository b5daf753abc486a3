"""Collections whose pictures cannot be shown, and collections that are not there."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Open
from tests.browser.library import Library
from tests.browser.test_browsing import scroll_to, tiles

pytestmark = pytest.mark.browser


def refused(page: Page) -> list[str]:
    """The addresses that answer 404 from now on."""
    found: list[str] = []
    page.on("response", lambda answer: found.append(answer.url) if answer.status == 404 else None)
    return found


def test_pictures_of_a_folder_are_shown(visit: Open, library: Library) -> None:
    library.fill("photos", 10, file="{n}.png")
    page = visit("/?collection=photos", url=library.url)
    tiles(page)
    expect(page.locator("#results img:not([hidden])")).to_have_count(10)


def test_a_collection_without_a_folder_asks_for_a_few_pictures_only(visit: Open, library: Library) -> None:
    library.fill("elsewhere", 300, file="{n}.png")
    page = visit("/docs", url=library.url)
    missing = refused(page)
    with page.expect_response(lambda one: one.status == 404):
        page.goto(f"{library.url}/?collection=elsewhere")
    for part in (0.2, 0.5, 1):
        tiles(page)
        scroll_to(page, part)
        page.wait_for_timeout(200)
    assert 1 <= len(missing) <= 3
    tile = page.locator("#results .card").last
    expect(tile.locator(".blank")).to_be_visible()
    expect(tile.locator(".blank-id")).to_have_text("item-00299")
    expect(tile.locator(".caption")).to_have_text("picture 299")


def test_a_missing_file_is_asked_for_once(visit: Open, library: Library) -> None:
    library.fill("photos", 120, file="{n}.png")
    page = visit("/docs", url=library.url)
    missing = refused(page)
    page.goto(f"{library.url}/?collection=photos")
    tiles(page)
    with page.expect_response(lambda one: one.status == 404):  # the folder has the first fifty
        scroll_to(page, 0.6)
    for part in (0, 0.6):
        page.wait_for_timeout(300)
        scroll_to(page, part)
        tiles(page)
    page.wait_for_timeout(300)
    assert len(missing) == len(set(missing))


def test_an_unknown_collection_is_said_with_those_that_exist(visit: Open, library: Library) -> None:
    library.fill("photos", 10)
    page = visit("/?collection=fotos", url=library.url)
    expect(page.get_by_role("heading", name="There is no collection “fotos”")).to_be_visible()
    expect(page.locator("#results .card")).to_have_count(0)
    page.get_by_role("link", name="photos (10)").click()
    assert tiles(page)[0] == "picture 0"


def test_a_name_that_no_collection_can_have_is_unknown_too(visit: Open, library: Library) -> None:
    page = visit("/?collection=a%20b/..", url=library.url)
    expect(page.get_by_role("heading", name="There is no collection “a b/..”")).to_be_visible()


def test_an_alias_is_shown(visit: Open, library: Library) -> None:
    library.fill("photos", 10)
    library.index.aliases["pictures"] = "photos"
    page = visit("/?collection=pictures", url=library.url)
    assert tiles(page)[0] == "picture 0"
    expect(page.locator("#collection")).to_have_value("pictures")
