"""One picture opened: zoom and pan, its original and links, its facts, its id on the clipboard."""

from __future__ import annotations

import shutil

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, Open
from tests.browser.library import Library
from tests.browser.test_browsing import tiles
from tests.waiting import until

pytestmark = pytest.mark.browser
SCALE = "image => new DOMMatrix(getComputedStyle(image).transform).a"
MOVED = "image => new DOMMatrix(getComputedStyle(image).transform).e"


def opened(visit: Open, library: Library, **more: object) -> Page:
    page = visit("/?collection=photos&item=item-00003", url=library.url, **more)
    expect(page.locator("#viewer-image")).to_be_visible()
    return page


def test_a_picture_is_zoomed_and_panned(visit: Open, library: Library) -> None:
    library.fill("photos", 10, file="{n}.png")
    page = opened(visit, library)
    image, frame = page.locator("#viewer-image"), page.locator("#viewer-picture")
    page.keyboard.press("+")
    until(lambda: image.evaluate(SCALE) == pytest.approx(1.5))
    page.keyboard.press("Shift+ArrowRight")
    until(lambda: image.evaluate(MOVED) == pytest.approx(-60))
    page.keyboard.press("0")
    until(lambda: image.evaluate(SCALE) == 1)
    frame.hover()
    page.mouse.wheel(0, -300)
    expect(page.locator("#viewer-fit")).to_be_visible()
    until(lambda: image.evaluate(SCALE) > 2)
    page.mouse.down()
    page.mouse.move(10, 10)
    page.mouse.up()
    until(lambda: image.evaluate(MOVED) < 0)
    page.keyboard.press("ArrowRight")
    expect(page.locator("#viewer-title")).to_have_text("picture 4")
    until(lambda: image.evaluate(SCALE) == 1)
    expect(page.locator("#viewer-place")).to_have_text("5 of 10")


def test_missing_originals_switch_off_no_others(visit: Open, library: Library) -> None:
    library.fill("photos", 60, file="{n}.png")  # the folder has the first fifty
    page = visit("/?collection=photos&item=item-00053", url=library.url)
    expect(page.locator("#viewer-title")).to_have_text("picture 53")
    for n in (52, 51, 50):
        with page.expect_response(lambda one, n=n: one.url.endswith(f"item-{n:05}/picture") and one.status == 404):  # type: ignore[misc]
            page.keyboard.press("ArrowLeft")
    expect(page.locator("#viewer-title")).to_have_text("picture 50")
    expect(page.locator("#viewer-links a")).to_have_count(0)
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#viewer-links a")).to_have_text(["Open the original"])


def test_what_was_missing_is_looked_for_again_when_the_collection_is_opened(visit: Open, library: Library) -> None:
    library.fill("photos", 3, file="late.png")
    library.fill("other", 3)
    page = visit("/?collection=photos", url=library.url)
    tiles(page)
    page.locator("#results .open").first.click()
    expect(page.locator("#viewer-title")).to_have_text("picture 0")
    page.wait_for_load_state("networkidle")
    expect(page.locator("#viewer-links a")).to_have_count(0)
    page.keyboard.press("Escape")
    shutil.copy(library.pictures / "0.png", library.pictures / "late.png")
    try:
        page.select_option("#collection", "other")
        expect(page.locator("#heading")).to_have_text("other")
        page.select_option("#collection", "photos")
        expect(page.locator("#results img:not([hidden])")).to_have_count(3)
        page.locator("#results .open").first.click()
        expect(page.locator("#viewer-links a")).to_have_text(["Open the original"])
    finally:
        (library.pictures / "late.png").unlink()


def test_the_original_and_links_are_offered(visit: Open, library: Library) -> None:
    library.fill(
        "photos", 10, file="{n}.png", link="https://example.org/{n}", image_url="javascript:alert(1)", size={"w": 3}
    )
    page = opened(visit, library)
    links = page.locator("#viewer-links a")
    expect(links).to_have_text(["Open the original", "Open the link"])
    hrefs = links.evaluate_all("links => links.map((link) => link.getAttribute('href'))")
    assert hrefs == ["/v1/collections/photos/items/item-00003/picture", "https://example.org/3"]
    assert links.evaluate_all("links => links.every((link) => link.rel === 'noopener noreferrer')")
    facts = page.locator("#viewer-facts")
    expect(facts.locator("pre")).to_have_text('{ "w": 3 }')
    expect(facts.locator("a")).to_have_count(1)  # an address that is no web page's is text


def test_the_id_is_copied(visit: Open, library: Library) -> None:
    library.fill("photos", 10, file="{n}.png")
    page = opened(visit, library, permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy the id").click()
    expect(page.locator("#viewer-copy")).to_have_text("Copied")
    until(lambda: page.evaluate("() => navigator.clipboard.readText()") == "item-00003")


def test_a_phone_shows_the_picture_first(visit: Open, library: Library) -> None:
    library.fill("photos", 10, file="{n}.png")
    page = opened(visit, library, size=PHONE)
    for name in ("Zoom in", "Next picture", "Close"):
        expect(page.get_by_role("button", name=name, exact=True)).to_be_in_viewport()
    assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") == 0
