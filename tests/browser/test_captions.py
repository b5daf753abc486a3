"""A caption in the opened picture: written while one looks on, where the model can."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Open
from tests.browser.library import Library, library_gateway
from tests.waiting import until

pytestmark = pytest.mark.browser


@pytest.fixture
def captions(library: Library) -> Iterator[Library]:
    library.fill("photos", 10, file="{n}.png")
    library.captioner.says = "a small red circle"
    library.captioner.token_s = 0.25
    yield library
    library.captioner.__init__()  # type: ignore[misc]


def opened(visit: Open, library: Library) -> Page:
    page = visit("/?collection=photos&item=item-00003", url=library.url)
    expect(page.locator("#viewer-title")).to_have_text("picture 3")
    return page


def test_it_is_written_while_one_looks_on(visit: Open, captions: Library) -> None:
    page = opened(visit, captions)
    written = page.locator("#viewer-written")
    expect(written).to_be_hidden()
    page.get_by_role("button", name="Caption", exact=True).click()
    expect(written).to_have_attribute("aria-busy", "true")
    expect(written).to_have_text(re.compile("^ *a( small( red)?)? *$"))
    expect(written).to_have_attribute("aria-busy", "false")
    expect(written).to_have_text("a small red circle")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#viewer-title")).to_have_text("picture 4")
    expect(written).to_be_hidden()


def test_looking_elsewhere_ends_the_work(visit: Open, captions: Library) -> None:
    page = opened(visit, captions)
    page.get_by_role("button", name="Caption", exact=True).click()
    expect(page.locator("#viewer-written")).to_have_text(re.compile("^a"))
    page.keyboard.press("Escape")
    until(lambda: captions.captioner.left == 1)


@pytest.mark.parametrize("how", ["full", "fails_after"])
def test_a_failure_is_told(visit: Open, captions: Library, how: str) -> None:
    setattr(captions.captioner, how, 1)
    page = opened(visit, captions)
    page.get_by_role("button", name="Caption", exact=True).click()
    expect(page.locator("#viewer-written")).to_have_text(re.compile("^No caption: The (captioner|decoder)"))


def test_a_model_without_a_captioner_offers_none(visit: Open, tmp_path: Path) -> None:
    with library_gateway(tmp_path, caption_endpoint="") as library:
        library.fill("photos", 10, file="{n}.png")
        page = opened(visit, library)
        page.wait_for_load_state("networkidle")
        expect(page.locator("#viewer-caption")).to_be_hidden()
