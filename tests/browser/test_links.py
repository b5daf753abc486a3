"""Links that keep a picture: by the id of the item that it is."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.browser.library import Library
from tests.browser.test_browsing import tiles

pytestmark = pytest.mark.browser


def test_a_link_names_the_picture_by_its_item(visit: Open, library: Library) -> None:
    library.fill("photos", 300, file="{n}.png")
    page = visit("/?collection=photos&picture=item-00017", url=library.url)
    assert tiles(page)[0] == "picture 17"  # the item itself is among the hits, as for a picture that was dropped
    expect(page.locator("#heading")).to_have_text("The picture “item-00017”")
    expect(page.locator("#picked-image")).to_have_attribute(
        "src", "/v1/collections/photos/items/item-00017/thumbnail?size=256"
    )
    page.get_by_role("button", name="Remove the picture").click()
    expect(page.locator("#heading")).to_have_text("photos")
    expect(page).not_to_have_url(re.compile("picture="))


def test_a_picture_of_an_item_that_is_gone_is_said(visit: Open, library: Library) -> None:
    library.fill("photos", 3)
    page = visit("/?collection=photos&picture=item-00017", url=library.url)
    expect(page.get_by_role("alert")).to_contain_text("item-00017")
