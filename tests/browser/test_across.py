"""Several collections searched as one, and what is said of searches that find nothing that fits."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from gateway.search.nonsense import nonsense_texts
from tests.browser.conftest import PHONE, Open
from tests.browser.library import Library, library_gateway
from tests.browser.test_axe import complaints
from tests.browser.test_browsing import tiles
from tests.gateway.fakes import embed

pytestmark = pytest.mark.browser
ALL = "*demo"
CAPTION_AND_HOME = "cards => cards.map((card) => ['.caption', '.home'].map((one) => card.querySelector(one).innerText))"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """The collections `one` and `two`, whose items have the same ids; `other` is of another model."""
    with library_gateway(tmp_path_factory.mktemp("across")) as made:
        made.fill("one", 20)
        made.fill("two", 40, color="two's")
        for item in made.index.collections["two"]["items"].values():
            item["metadata"]["caption"] = item["metadata"]["caption"].replace("picture", "photo")
        made.fill("other", 3)
        made.index.collections["other"]["spec"].update(model="other", fingerprint="fp-other")
        yield made


def found(page: Page) -> list[tuple[str, str]]:
    """(caption, collection) of the first tiles."""
    tiles(page)
    return [tuple(each) for each in page.locator("#results .card").evaluate_all(CAPTION_AND_HOME)]


def test_all_collections_of_a_model_are_searched_as_one(visit: Open, library: Library) -> None:
    page = visit("/?collection=one", url=library.url)
    tiles(page)
    options = page.locator("#collection option").all_inner_texts()
    assert options == ["one (20, demo)", "two (40, demo)", "other (3, waits for other)", "All collections (2)"]
    page.select_option("#collection", ALL)
    expect(page.get_by_role("heading", name="All collections (2)")).to_have_count(2)  # the page's, and the hint's
    expect(page.locator("#status")).to_have_text("")
    page.fill("#text", "17")
    expect(page.locator("#heading")).to_have_text("“17”")
    assert found(page)[:2] == [("picture 17", "one"), ("photo 17", "two")]
    expect(page.locator("#status b")).to_have_text("60 results")
    expect(page.locator("#results .open").nth(1)).to_have_accessible_name("photo 17, in two, score 1.000")


def test_a_tile_opens_its_own_item(visit: Open, library: Library) -> None:
    page = visit(f"/?collection={ALL}&q=17", url=library.url)
    tiles(page)
    page.locator("#results .open").nth(1).press("Enter")
    expect(page.locator("#viewer-title")).to_have_text("photo 17")
    expect(page.locator("#viewer-facts")).to_contain_text("two's")
    expect(page.locator("#viewer-place")).to_have_text("2 of 60")
    address = page.url
    assert "item=two%2Fitem-00017" in address
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#viewer-title")).to_have_text("picture 17")
    page.keyboard.press("Escape")
    expect(page.locator("#results .open").first).to_be_focused()
    page.goto(address.replace("&q=17", ""))  # not among results
    expect(page.locator("#viewer-title")).to_have_text("photo 17")
    expect(page.locator("#viewer-facts dd").nth(1)).to_have_text("two")


def test_more_like_an_item_of_several(visit: Open, library: Library) -> None:
    page = visit(f"/?collection={ALL}&q=17", url=library.url)
    tiles(page)
    page.locator("#results .similar").nth(1).click()
    expect(page.locator("#heading")).to_have_text("More like “photo 17”")
    assert found(page)[0] == ("picture 17", "one")
    expect(page.locator("#status b")).to_have_text("59 results")


def test_items_of_several_are_not_selected(visit: Open, library: Library) -> None:
    """What is done to a selection is done to one collection."""
    page = visit(f"/?collection={ALL}&q=17", url=library.url)
    tiles(page)
    expect(page.locator("#results .select").first).to_be_hidden()
    page.locator("#results .open").first.focus()
    page.keyboard.press("Control+a")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.locator("#selection")).to_be_hidden()
    page.keyboard.press(" ")
    expect(page.locator("#viewer-title")).to_have_text("photo 17")


def test_several_models_have_a_choice_each(visit: Open, library: Library) -> None:
    library.fill("another", 3)
    library.index.collections["another"]["spec"].update(model="other", fingerprint="fp-other")
    try:
        page = visit("/?collection=one", url=library.url)
        tiles(page)
        options = page.locator("#collection option").all_inner_texts()
        assert options[-2:] == ["All of demo (2)", "All of other (2)"]
    finally:
        del library.index.collections["another"]


def best_score(text: str) -> float:
    """In `one`."""
    return float(max(np.stack([embed(f"{n}") for n in range(20)]) @ embed(text)))


@pytest.fixture(scope="module")
def nonsense() -> float:
    return statistics.median(best_score(text) for text in nonsense_texts())


def weak(nonsense: float) -> Iterator[str]:
    """Texts that find nothing better than nonsense does."""
    return (text for text in map("word {}".format, range(1000)) if best_score(text) < nonsense - 0.01)


def test_a_search_that_nothing_fits_says_so(visit: Open, library: Library, nonsense: float) -> None:
    first, second, *_ = weak(nonsense)
    page = visit("/docs", url=library.url)
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url) if "score_guidance" in one.url else None)
    page.goto(f"{library.url}/?collection=one")
    tiles(page)
    assert not asked
    page.fill("#text", first)
    expect(page.locator("#weak")).to_have_text(
        f"Nothing here fits well: nonsense reaches {round(nonsense, 3):.2f} too."
    )
    page.fill("#text", "17")
    expect(page.locator("#heading")).to_have_text("“17”")
    expect(page.locator("#weak")).to_be_hidden()
    page.fill("#text", second)
    expect(page.locator("#weak")).to_be_visible()
    assert len(asked) == 1


def test_where_it_can_not_be_measured_nothing_is_said(visit: Open, library: Library, nonsense: float) -> None:
    page = visit("/?collection=one", url=library.url)
    tiles(page)
    page.route("**/score_guidance", lambda route: route.fulfill(status=409, json={"error": {"message": "no"}}))
    with page.expect_response("**/score_guidance"):
        page.fill("#text", next(weak(nonsense)))
    tiles(page)
    expect(page.locator("#weak")).to_be_hidden()
    expect(page.locator("#problem")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_and_for_axe(visit: Open, library: Library, nonsense: float, scheme: str) -> None:
    address = f"/?collection={ALL}&q={next(weak(nonsense))}"
    page = visit(address, library.url, PHONE, color_scheme=scheme, bypass_csp=True)
    tiles(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    assert complaints(page) == []
    page.goto(f"{library.url}/?collection=one&q={next(weak(nonsense))}")
    expect(page.locator("#weak")).to_be_visible()
    assert complaints(page) == []
