"""The panel that answers questions: the answer, the pictures that show it, what goes wrong."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.browser.library import Library

pytestmark = pytest.mark.browser


def test_a_question_is_answered_with_pictures(visit: Open, library: Library) -> None:
    library.fill("photos", 3, file="{n}.png", caption="two red circles")
    page = visit("/?collection=photos", url=library.url)
    page.click("#asking-toggle")
    expect(page.locator("#question")).to_be_focused()
    page.fill("#question", "How many red circles are there, and where?")
    page.keyboard.press("Enter")
    expect(page.locator("#answer")).to_have_text("Six red circles, in 3 of 3 pictures.")
    expect(page.locator("#answered-by")).to_contain_text("Without a language model, from 3 pictures")
    expect(page.locator("#cited img:visible")).to_have_count(3)
    page.locator("#cited button").first.click()
    expect(page.locator("#viewer-title")).to_have_text("two red circles")
    page.keyboard.press("Escape")
    page.fill("#question", "Is there a green star?")
    page.click("#asking .go")
    expect(page.locator("#answer")).to_have_text("No: not in these pictures.")
    expect(page.locator("#cited button")).to_have_count(0)


def test_what_goes_wrong_is_said(visit: Open, library: Library) -> None:
    library.fill("photos", 1, caption="a star")
    page = visit("/?collection=photos", url=library.url)
    page.click("#asking-toggle")
    del library.index.collections["photos"]
    page.fill("#question", "Is there a star?")
    page.click("#asking .go")
    expect(page.locator("#answer")).to_contain_text("No answer: There is no collection")


def test_the_panel_says_that_it_waits(visit: Open, library: Library) -> None:
    library.fill("photos", 1, caption="a star")
    page = visit("/?collection=photos", url=library.url)
    page.route("**/v1/ask", lambda _: None)  # never answered
    page.click("#asking-toggle")
    page.fill("#question", "Is there a star?")
    page.click("#asking .go")
    expect(page.locator("#answer")).to_have_text("Looking at the pictures …")
    page.click("#asking-toggle")
    page.click("#asking-toggle")
    expect(page.locator("#answer")).to_have_text("")
