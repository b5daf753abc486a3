"""Looking through collections: all of them by scrolling, with few tiles in the document, and back to the same place."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, Open
from tests.browser.library import Library

pytestmark = pytest.mark.browser
NODES = """() => {
  const walker = document.createTreeWalker(document, NodeFilter.SHOW_ALL);
  let count = 0;
  while (walker.nextNode()) count += 1;
  return count;
}"""
SCROLL = """top => new Promise((drawn) => {
  scrollTo(0, top);
  requestAnimationFrame(() => requestAnimationFrame(drawn));
})"""
DRAWN = "(caption) => [...document.querySelectorAll('#results .caption')].some((one) => one.textContent === caption)"
TILES = """() => {
  const results = document.querySelector("#results");
  if (document.querySelector("#search.busy, #results:not([aria-busy=false]), .skeleton")) return null;
  const captions = [...results.querySelectorAll(".caption")].map((one) => one.innerText);
  return captions.length ? captions : null;
}"""
MOST_NODES = 2000


def tiles(page: Page) -> list[str]:
    """The captions of the tiles in the document, once those in view have come and the newest search is drawn.

    A search ends at the top of the page, so a scroll before that would be lost.
    """
    return page.wait_for_function(TILES).json_value()


def scroll_to(page: Page, part: float) -> None:
    """And draw what is in view there."""
    page.evaluate(SCROLL, part * page.evaluate("document.documentElement.scrollHeight - innerHeight"))


def test_a_collection_is_shown_in_order_without_a_query(visit: Open, library: Library) -> None:
    library.fill("photos", 300)
    page = visit("/?collection=photos", url=library.url)
    assert tiles(page)[:5] == [f"picture {n}" for n in range(5)]
    expect(page.locator("#status")).to_have_text("300 pictures")


def test_a_collection_that_waits_for_its_model_says_so_and_is_not_the_one_that_opens(
    visit: Open, library: Library
) -> None:
    library.fill("aged", 3)
    library.fill("photos", 5)
    library.index.collections["aged"]["spec"] |= {"model": "old", "fingerprint": "fp-old"}
    page = visit("/", url=library.url)
    expect(page.locator("#collection option", has_text="aged")).to_have_text("aged (3, waits for old)")
    expect(page.locator("#collection option:checked")).not_to_contain_text("aged")
    del library.index.collections["aged"]


def test_scrolling_shows_it_to_the_end(visit: Open, library: Library) -> None:
    library.fill("photos", 300)
    page = visit("/?collection=photos", url=library.url)
    tiles(page)
    page.keyboard.press("End")
    page.wait_for_function(DRAWN, arg="picture 299")
    assert tiles(page)[-1] == "picture 299"
    page.locator("#results .card").last.scroll_into_view_if_needed()
    page.wait_for_function("() => document.documentElement.scrollHeight - innerHeight - scrollY < 100")


@pytest.mark.parametrize("size", [(1280, 800), PHONE], ids=["desktop", "phone"])
def test_a_search_goes_on_over_its_cursor(visit: Open, library: Library, size: tuple[int, int]) -> None:
    library.fill("photos", 150)
    page = visit("/?collection=photos&q=17", url=library.url, size=size)
    assert tiles(page)[0] == "picture 17"
    expect(page.locator("#status")).to_contain_text("150 results")
    seen = set(tiles(page))
    height = page.evaluate("() => document.documentElement.scrollHeight")
    for step in range(1, 21):
        page.evaluate(SCROLL, step * height / 20)
        seen.update(tiles(page))
    assert seen == {f"picture {n}" for n in range(150)}


def test_what_fits_the_filters_is_counted(visit: Open, library: Library) -> None:
    library.fill("photos", 300)
    page = visit('/?collection=photos&filter={"color":["red","blue"]}', url=library.url)
    assert tiles(page)[:4] == [f"picture {n}" for n in (0, 2, 3, 5)]
    expect(page.locator("#status")).to_have_text("200 pictures")
    page.goto(f'{library.url}/?collection=photos&q=17&filter={{"color":["green"]}}')
    tiles(page)
    expect(page.locator("#status")).to_contain_text("100 results")


def test_the_depth_of_a_search_is_said(visit: Open, library: Library) -> None:
    library.fill("photos", 10_500)
    page = visit("/?collection=photos&q=17", url=library.url)
    tiles(page)
    expect(page.locator("#status")).to_contain_text("best 10,000 of 10,500")


def test_ten_thousand_are_scrolled_through_lightly(visit: Open, library: Library) -> None:
    library.fill("photos", 100_000)
    page = visit("/?collection=photos", url=library.url, size=(1920, 1080))
    tiles(page)
    nodes, height = [], page.evaluate("() => document.documentElement.scrollHeight")
    for step in range(1, 31):
        page.evaluate(SCROLL, step * height / 10 / 30)
        nodes.append(page.evaluate(NODES))
    assert max(nodes) <= MOST_NODES
    tiles(page)
    assert page.evaluate("() => Number(document.querySelector('#results .card').getAttribute('aria-posinset'))") > 9000


def test_a_long_file_name_is_cut_on_a_phone_and_not_broken_in_a_word(visit: Open, library: Library) -> None:
    library.fill("photos", 3, caption="harbour DSC20230801HolidayPanoramaOfTheWholeHarbour{n}.jpg")
    page = visit("/?collection=photos", url=library.url, size=PHONE)
    tiles(page)
    lines = """() => {
      const caption = document.querySelector("#results .caption"), range = document.createRange();
      range.setStart(caption.firstChild, "harbour ".length);
      range.setEnd(caption.firstChild, caption.textContent.length);
      const lines = new Set([...range.getClientRects()].map(({ top }) => top));
      return [lines.size, caption.scrollHeight <= caption.clientHeight + 1];
    }"""
    assert page.evaluate(lines) == [1, True]


def test_a_tile_has_no_empty_nodes(visit: Open, library: Library) -> None:
    library.fill("photos", 3)
    page = visit("/?collection=photos", url=library.url)
    tiles(page)
    spaces = """() => {
      const walker = document.createTreeWalker(document.querySelector("#results"), NodeFilter.SHOW_TEXT);
      let count = 0;
      while (walker.nextNode()) count += !walker.currentNode.data.trim();
      return count;
    }"""
    assert page.evaluate(spaces) == 0


def test_the_first_page_is_asked_for_once_and_before_the_collections_are_known(visit: Open, library: Library) -> None:
    library.fill("photos", 300)
    page = visit("/?collection=photos", url=library.url)
    assert tiles(page)[0] == "picture 0"
    asked = page.evaluate(
        "() => performance.getEntriesByType('resource').map(({ name, startTime, responseEnd }) => "
        "[name.slice(location.origin.length), startTime, responseEnd])"
    )
    first_pages = [
        began for path, began, _ in asked if path.startswith("/v1/collections/photos/items?") and "after=" not in path
    ]
    known = next(ended for path, _, ended in asked if path == "/v1/collections")
    assert len(first_pages) == 1
    assert first_pages[0] < known


def test_the_place_is_kept_behind_the_viewer_and_by_going_back(visit: Open, library: Library) -> None:
    library.fill("photos", 2000)
    page = visit("/?collection=photos", url=library.url)
    tiles(page)
    scroll_to(page, 0.5)
    page.wait_for_function("() => history.state?.top === Math.round(scrollY)")
    seen, top = tiles(page), page.evaluate("() => scrollY")
    tile = page.get_by_role("button", name=seen[len(seen) // 2], exact=True)
    tile.click()
    expect(page.locator("#viewer-title")).to_have_text(seen[len(seen) // 2])
    page.keyboard.press("Escape")
    expect(tile).to_be_focused()
    assert page.evaluate("() => scrollY") == pytest.approx(top, abs=1)
    tile.click()
    page.locator("#viewer-similar").click()
    expect(page.locator("#heading")).to_contain_text("More like")
    tiles(page)
    assert page.evaluate("() => scrollY") == 0
    page.go_back()
    expect(page.locator("#heading")).to_have_text("photos")
    expect(page.locator("#results .caption")).to_have_text(seen)
    page.wait_for_function("top => Math.abs(scrollY - top) <= 1", arg=top)


def test_the_viewer_goes_on_past_what_has_come(visit: Open, library: Library) -> None:
    library.fill("photos", 200)
    page = visit("/?collection=photos&item=item-00057", url=library.url)
    expect(page.locator("#viewer-title")).to_have_text("picture 57")
    for n in range(58, 63):
        page.keyboard.press("ArrowRight")
        expect(page.locator("#viewer-title")).to_have_text(f"picture {n}")
    page.keyboard.press("Escape")
    expect(page.locator(":focus")).to_have_attribute("aria-label", "picture 62")


def test_keys_move_through_tiles_that_are_not_drawn_yet(visit: Open, library: Library) -> None:
    library.fill("photos", 300)
    page = visit("/?collection=photos", url=library.url)
    tiles(page)
    page.locator("#results .open").first.focus()
    page.keyboard.press("PageDown")
    page.keyboard.press("PageDown")
    page.keyboard.press("ArrowRight")
    columns = page.evaluate("() => Number(document.getElementById('results').dataset.columns)")
    expect(page.locator(":focus")).to_have_attribute("aria-label", f"picture {4 * columns + 1}")
    page.keyboard.press("Home")
    expect(page.locator(":focus")).to_have_attribute("aria-label", "picture 0")
    for stop in ("Select picture 0", "More like picture 0"):
        page.keyboard.press("Tab")
        expect(page.locator(":focus")).to_have_attribute("aria-label", stop)
