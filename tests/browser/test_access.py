"""The page by keyboard, by screen reader, on a phone, in both colour schemes; and its live panel."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, Open
from tests.browser.test_browsing import tiles
from tests.browser.test_search import searched

pytestmark = pytest.mark.browser
# The name that a screen reader would say, near enough to the accessible name computation for our own markup.
UNNAMED = """() => [...document.querySelectorAll("button, a[href], input, select, textarea, dialog, progress")]
  .filter((node) => !node.closest("[hidden], dialog:not([open])"))
  .filter((node) => {
    const labelled = node.getAttribute("aria-labelledby");
    const named = node.getAttribute("aria-label") || (labelled && document.getElementById(labelled)?.textContent);
    const labels = [...(node.labels ?? [])].map((label) => label.textContent).join("");
    const own = node.matches("button, a") ? node.textContent : "";
    return !(named || labels || own).trim();
  }).map((node) => node.outerHTML.slice(0, 120))"""
CONTRAST = """(selectors) => {
  const paper = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (color, under) => {
    for (const one of [under, color]) { paper.fillStyle = one; paper.fillRect(0, 0, 1, 1); }
    return [...paper.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (color) => color.map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, place) => sum + c * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const color = getComputedStyle(node).backgroundColor;
      if (!color.endsWith(", 0)") && color !== "transparent") return color;
    }
    return "white";
  };
  return selectors.map((selector) => {
    const node = document.querySelector(selector);
    const back = behind(node);
    const both = [light(rgb(getComputedStyle(node).color, back)), light(rgb(back, back))].sort((a, b) => b - a);
    return [selector, (both[0] + 0.05) / (both[1] + 0.05)];
  });
}"""
TEXTS = ["#heading", "#status", ".brand", ".tool", ".caption", ".number", ".facet h2", ".chip", ".go", ".side-title"]


def expect_focus_on(page: Page, caption: str) -> None:
    """The browser closes a dialog first and tells the page after, so the focus may arrive a moment later."""
    expect(page.locator(":focus")).to_have_attribute("aria-label", re.compile(f"^{re.escape(caption)}"))


def test_the_keyboard_is_enough(visit: Open) -> None:
    page = visit("/?collection=demo&q=a%20star")
    found = searched(page, "a star")
    page.keyboard.press("/")
    expect(page.locator("#text")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect_focus_on(page, found[0])
    page.keyboard.press("ArrowRight")
    expect_focus_on(page, found[1])
    page.keyboard.press("ArrowDown")
    columns = int(page.locator("#results").get_attribute("data-columns") or 0)
    expect_focus_on(page, found[1 + columns])
    page.keyboard.press("Enter")
    expect(page.locator("#viewer-title")).to_have_text(found[1 + columns])
    page.keyboard.press("ArrowRight")
    expect(page.locator("#viewer-title")).to_have_text(found[2 + columns])
    page.keyboard.press("Escape")
    expect(page.locator("#viewer")).to_be_hidden()
    expect_focus_on(page, found[2 + columns])
    page.keyboard.press("Escape")
    expect(page.locator("#text")).to_be_focused()


def test_a_slash_can_be_typed(visit: Open) -> None:
    page = visit()
    tiles(page)
    page.locator("#text").press_sequentially("red/blue")
    expect(page.locator("#text")).to_have_value("red/blue")


def test_focus_goes_through_the_page_in_reading_order(visit: Open) -> None:
    page = visit("/?collection=demo&q=a%20star")
    searched(page, "a star")
    page.locator("body").press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    stops = []
    for _ in range(14):
        page.keyboard.press("Tab")
        stops.append(page.evaluate("() => document.activeElement.id"))
    wanted = ["asking-toggle", "live-toggle", "add", "key-open", "theme", "text", "file", "negative", "collection"]
    assert [stop for stop in stops if stop in wanted] == wanted


def test_every_control_has_a_name(visit: Open) -> None:
    page = visit("/?collection=demo&q=a%20star&not=red")
    searched(page, "a star")
    page.click("#live-toggle")
    assert page.evaluate(UNNAMED) == []
    page.locator("#results .open").first.click()
    expect(page.locator("#viewer")).to_be_visible()
    assert page.evaluate(UNNAMED) == []
    page.keyboard.press("Escape")
    page.click("#add")
    assert page.evaluate(UNNAMED) == []
    assert page.locator("main").count() == 1
    assert page.locator("h1").count() == 1
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("#results img:not([alt])").count() == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out(visit: Open, theme: str) -> None:
    page = visit("/?collection=demo&q=a%20star")
    page.evaluate("theme => (document.documentElement.dataset.theme = theme)", theme)
    searched(page, "a star")
    expect(page.locator("#filters .chip").first).to_be_visible()
    too_faint = [(name, ratio) for name, ratio in page.evaluate(CONTRAST, TEXTS) if ratio < 4.5]
    assert too_faint == []  # WCAG 2.2, 1.4.3


def test_the_theme_is_chosen_and_kept(visit: Open) -> None:
    page = visit()
    body = page.locator("body")
    button = page.locator("#theme")
    expect(button).to_have_attribute("aria-label", "Theme: as the system")
    light = body.evaluate("body => getComputedStyle(body).backgroundColor")
    page.emulate_media(color_scheme="dark")
    expect(body).not_to_have_css("background-color", light)
    button.click()
    expect(button).to_have_attribute("aria-label", "Theme: light")
    expect(body).to_have_css("background-color", light)
    button.click()
    page.reload()
    expect(button).to_have_attribute("aria-label", "Theme: dark")
    expect(body).not_to_have_css("background-color", light)


def test_a_phone_needs_no_sideways_scrolling(visit: Open) -> None:
    page = visit("/?collection=demo&q=a%20large%20purple%20striped%20heart&not=striped", size=PHONE)
    searched(page, "purple striped heart")
    overflow = "() => document.documentElement.scrollWidth - innerWidth"
    assert page.evaluate(overflow) == 0
    page.click("#filters-toggle")
    expect(page.locator("#filters .chip").first).to_be_visible()
    page.click("#live-toggle")
    expect(page.locator(".tile")).to_have_count(5)
    assert page.evaluate(overflow) == 0
    page.locator("#results .open").first.click()
    expect(page.get_by_role("button", name="More like this", exact=True)).to_be_in_viewport()
    assert page.evaluate(overflow) == 0


def test_the_live_panel_counts(visit: Open) -> None:
    page = visit("/?collection=demo&q=a%20star")
    searched(page, "a star")
    page.click("#live-toggle")
    tile = page.locator(".tile").first
    expect(tile).to_contain_text(re.compile(r"\d+ in all, \d+ failed"))
    page.fill("#text", "a red circle")
    searched(page, "a red circle")
    expect(page.locator(".tile .figure").nth(1)).to_have_text(re.compile(r"[\d.]+ms, p50"))
    for number in (2, 3):  # batch fill and cache hits come from the workers
        expect(page.locator(".tile .figure").nth(number)).to_have_text(re.compile(r"[\d.]+%"))
    expect(page.locator(".tile .figure").nth(4)).to_have_text(re.compile(r"[\d.]+(MB|GB)"))
    page.click("#live-toggle")
    expect(page.locator("#live")).to_be_hidden()
