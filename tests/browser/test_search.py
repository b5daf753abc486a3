"""Searching in the page: words, pictures, mixes, filters, more like this, and the address that brings it all back."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from scripts.stack.live_stack import LiveStack
from tests.browser.conftest import Open, gallery
from tests.browser.test_browsing import tiles

pytestmark = pytest.mark.browser
DROP = """([bytes, name, type]) => {
  const given = new DataTransfer();
  given.items.add(new File([new Uint8Array(bytes)], name, { type }));
  document.dispatchEvent(new DragEvent("drop", { dataTransfer: given, bubbles: true, cancelable: true }));
}"""
PASTE = """([bytes, name, type]) => {
  const given = new DataTransfer();
  given.items.add(new File([new Uint8Array(bytes)], name, { type }));
  document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: given, bubbles: true, cancelable: true }));
}"""


def searched(page: Page, heading: str) -> list[str]:
    """The captions below this heading, which are drawn together with it."""
    expect(page.locator("#heading")).to_have_text(re.compile(heading))
    return tiles(page)


def test_words_search_as_they_are_typed(visit: Open) -> None:
    page = visit()
    assert tiles(page)[0]
    page.locator("#text").press_sequentially("a large purple striped heart", delay=15)
    assert "purple striped heart" in searched(page, "purple striped heart")[0]
    expect(page.locator("#status")).to_have_text(
        re.compile(r"[\d,]+ results in [\d.]+ ms · encode [\d.]+, index [\d.]+")
    )
    assert float(page.locator("#results .number").first.inner_text()) > 0.5
    expect(page.locator("#results img").first).to_be_visible()


def test_only_the_last_of_many_searches_is_drawn(visit: Open) -> None:
    page = visit()
    tiles(page)
    for text in ("a red star", "a blue circle", "a green ring", "a yellow triangle"):
        page.fill("#text", text)
        page.press("#text", "Enter")
    assert "yellow" in searched(page, "yellow triangle")[0]
    page.wait_for_timeout(400)
    assert "yellow" in tiles(page)[0]


def test_a_chosen_picture_finds_itself_and_goes_away(visit: Open, stack: LiveStack) -> None:
    page = visit()
    page.set_input_files("#file", gallery(stack) / "scene-0007.jpg")
    searched(page, "Your picture")
    assert float(page.locator("#results .number").first.inner_text()) > 0.99
    page.get_by_role("button", name="Remove the picture").click()
    expect(page.locator("#picked")).to_be_hidden()
    searched(page, "^demo$")


@pytest.mark.parametrize("script", [DROP, PASTE], ids=["dropped", "pasted"])
def test_a_given_picture_finds_itself(visit: Open, stack: LiveStack, script: str) -> None:
    page = visit()
    tiles(page)
    picture = list((gallery(stack) / "scene-0011.jpg").read_bytes())
    page.evaluate(script, [picture, "scene.jpg", "image/jpeg"])
    searched(page, "Your picture")
    assert float(page.locator("#results .number").first.inner_text()) > 0.99


def test_picture_and_words_are_mixed_by_weight(visit: Open, stack: LiveStack) -> None:
    page = visit()
    page.set_input_files("#file", gallery(stack) / "scene-0007.jpg")
    page.fill("#text", "a red star")
    even = searched(page, "red star” and your picture")
    page.get_by_role("slider", name="Weight of picture").fill("0")
    expect(page.locator("#results .caption").first).to_have_text(re.compile(r"\bred\b.* star"))
    assert tiles(page) != even
    expect(page).to_have_url(re.compile(r"weights=picture%3A0(&|$)"))


def test_what_is_unwanted_is_pushed_away(visit: Open) -> None:
    page = visit("/?collection=demo&q=a%20heart")
    before = searched(page, "a heart")[:12]
    page.fill("#negative", "striped")
    page.get_by_role("slider", name="Weight of without").fill("1")
    after = searched(page, "without “striped”")[:12]
    assert sum("striped" in one for one in after) < sum("striped" in one for one in before)


def test_filters_are_made_from_metadata(visit: Open) -> None:
    page = visit("/?collection=demo&q=a%20star")
    searched(page, "a star")
    page.locator("#filters").get_by_role("button", name="green", exact=True).click()
    page.locator("#filters").get_by_role("button", name="striped", exact=True).click()
    expect(page.locator("#active li")).to_have_count(2)
    assert all("green striped" in one for one in tiles(page)[:3])
    page.get_by_role("button", name="Remove the filter texture: striped").click()
    expect(page.locator("#active li")).to_have_count(1)


def test_filters_hold_without_a_search_too(visit: Open) -> None:
    page = visit('/?collection=demo&filter={"color":["green"],"shape":["moon"]}')
    expect(page.locator("#active li")).to_have_count(2)
    assert all("green" in one and "moon" in one for one in tiles(page))


def test_more_like_this(visit: Open) -> None:
    page = visit("/?collection=demo&q=a%20red%20star")
    first = searched(page, "a red star")[0]
    page.get_by_role("button", name=f"More like {first}").first.click()
    similar = searched(page, "More like “" + re.escape(first))
    assert "star" in similar[0]
    assert first not in similar
    page.fill("#text", "blue")
    searched(page, "“blue” and more like")
    page.go_back()
    searched(page, "^“a red star”")


def test_a_link_brings_everything_back(visit: Open) -> None:
    page = visit()
    tiles(page)
    page.fill("#text", "a blue circle")
    page.fill("#negative", "small")
    searched(page, "blue circle” without “small")
    page.locator("#filters").get_by_role("button", name="dotted", exact=True).click()
    expect(page.locator("#active li")).to_have_count(1)
    wanted = tiles(page)
    again = visit(f"/?{urlsplit(page.url).query}")  # written before the search that `tiles` waited for
    assert searched(again, "blue circle” without “small") == wanted
    expect(again.locator("#active li")).to_have_count(1)


def test_an_opened_picture_is_part_of_the_link(visit: Open) -> None:
    page = visit("/?collection=demo&item=scene-0042")
    expect(page.locator("#viewer")).to_be_visible()
    expect(page.locator("#viewer-facts")).to_contain_text("scene-0042")
    page.keyboard.press("Escape")
    expect(page.locator("#viewer")).to_be_hidden()
    expect(page).not_to_have_url(re.compile("item="))


def test_an_address_of_nonsense_is_no_error(visit: Open) -> None:
    page = visit("/?collection=demo&filter=[1&weights=text:x,y:1&k=7")
    assert tiles(page)


def test_a_link_keeps_a_picture_that_the_collection_has(visit: Open, stack: LiveStack) -> None:
    page = visit()
    page.set_input_files("#file", gallery(stack) / "scene-0007.jpg")
    found = searched(page, "Your picture")
    expect(page).to_have_url(re.compile("picture=scene-0007"))
    again = visit(f"/?{urlsplit(page.url).query}")
    assert searched(again, "The picture “scene-0007”")[:8] == found[:8]
