"""A better order on the page: it is chosen, its tree is drawn, and what goes wrong is said."""

from __future__ import annotations

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.conftest import DESKTOP, PHONE, Open
from tests.browser.library import Library

pytestmark = pytest.mark.browser
QUERY = "a blue circle left of a red square on a white background"


def paint(library: Library) -> None:
    """Every third picture is blue."""
    library.fill("photos", 12, file="{n}.png")
    for n in range(12):
        color = ("red", "lime", "blue")[n % 3]
        Image.new("RGB", (64, 48), color).save(library.pictures / f"{n}.png")


def test_a_tree_is_chosen_and_drawn(visit: Open, library: Library) -> None:
    paint(library)
    page = visit("/?collection=photos", url=library.url)
    expect(page.locator("#order")).to_be_hidden()
    page.fill("#text", QUERY)
    expect(page.locator("#order")).to_be_visible()
    expect(page.locator("#reranking")).to_be_hidden()
    page.select_option("#rerank", "tree")
    expect(page.locator("#reranking-said")).to_contain_text("Ordered by a tree of claims · 12 of 12 candidates")
    clause = page.locator(".claims > li")
    expect(clause).to_have_count(1)
    expect(clause.locator("> details > .claim .claim-label")).to_have_text("a blue circle left of a red square")
    expect(clause.locator("> ul > li")).to_have_count(7)
    expect(page.locator(".claim-value.for").first).to_be_visible()
    expect(page.locator("#reranking-tree")).to_contain_text("Stages asked 12 → 8 → 4 candidates")
    assert "rerank=tree" in page.url
    page.fill("#negative", "a star")
    expect(page.locator("#order")).to_be_hidden()
    expect(page.locator("#reranking")).to_be_hidden()


@pytest.mark.parametrize("touch", [False, True], ids=["keyboard", "touch"])
def test_what_a_claim_was_weighed_against_opens(visit: Open, library: Library, touch: bool) -> None:
    paint(library)
    address = f"/?collection=photos&q={QUERY.replace(' ', '+')}&rerank=tree"
    page = visit(address, url=library.url, size=PHONE if touch else DESKTOP, has_touch=touch)
    claim = page.locator(".claims > li > ul > li > details").filter(has_text="blue circle").first
    against = claim.locator("dd").last
    expect(claim.locator(".claim")).to_contain_text("now first: ")
    expect(against).to_be_hidden()
    if touch:
        claim.locator(".claim").tap()
    else:
        claim.locator(".claim").focus()
        page.keyboard.press("Enter")
    expect(against).to_be_visible()
    assert against.text_content() not in ("", QUERY)


def test_what_is_not_understood_is_said(visit: Open, library: Library) -> None:
    paint(library)
    page = visit("/?collection=photos&q=happy+or+sad&rerank=tree", url=library.url)
    expect(page.locator("#reranking-said")).to_contain_text("In the order of the search")
    expect(page.locator("#reranking-note")).to_contain_text("The query was not understood")
    page.select_option("#rerank", "")
    expect(page.locator("#reranking")).to_be_hidden()
    expect(page.locator("#results .card")).to_have_count(12)


def test_what_is_behind_the_candidates_is_there_too(visit: Open, library: Library) -> None:
    library.fill("many", 150)
    page = visit("/?collection=many&q=a+blue+circle&rerank=tree", url=library.url)
    expect(page.locator("#reranking-said")).to_contain_text("of 20 candidates")
    expect(page.locator("#status")).to_contain_text("150 results")
