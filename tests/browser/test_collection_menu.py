"""The menu of a collection: what it is, all of it as a file, and deleting it by its typed name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from gateway.keys.key_store import KeyStore
from tests.browser.conftest import DESKTOP, Open
from tests.browser.library import Library, library_gateway
from tests.browser.test_browsing import tiles

pytestmark = pytest.mark.browser
HOSTILE = '<img src=x onerror="document.title = 1">'
ODD = "constructor-_" + "Z" * 51  # as long as a name can be


@pytest.fixture(autouse=True)
def nothing_left(library: Library) -> None:
    library.index.collections.clear()
    library.index.aliases.clear()
    library.index.calls.clear()


def opened(visit: Open, url: str, name: str, size: tuple[int, int] = DESKTOP) -> Page:
    page = visit(f"/?collection={name}", url, size)
    tiles(page)
    expect(page.locator("#filters .chip").first).to_be_attached()
    open_menu(page)
    return page


def open_menu(page: Page) -> None:
    page.get_by_role("button", name="About this collection").click()
    expect(page.get_by_role("dialog")).to_be_visible()


def fact(page: Page, name: str) -> Any:
    return page.locator("#about-facts dt", has_text=re.compile(f"^{name}$")).locator("+ dd")


def type_name(page: Page, name: str) -> None:
    page.get_by_text("Delete this collection", exact=True).click()
    page.get_by_label(re.compile("^Type .* to delete it")).fill(name)
    page.keyboard.press("Enter")


def deletions(library: Library) -> list[str]:
    return [path for method, path, _ in library.index.calls if method == "DELETE"]


def test_it_says_what_a_collection_is(visit: Open, library: Library) -> None:
    library.fill("photos", 300)
    library.index.collections["photos"]["spec"] |= {"model": HOSTILE, "store": "milvus", "metadata": {"from": HOSTILE}}
    library.index.aliases |= {"shapes": "photos", "pictures": "photos"}
    page = opened(visit, library.url, "photos")
    expect(fact(page, "Model")).to_have_text(HOSTILE)
    expect(fact(page, "Notes")).to_contain_text("onerror")
    for name, text in (("Items", "300"), ("Kept in", "a Milvus server"), ("Recall", "1: nothing is missed")):
        expect(fact(page, name)).to_have_text(text)
    expect(fact(page, "Aliases")).to_have_text("pictures, shapes")
    expect(fact(page, "Filters")).to_have_text("color")
    expect(fact(page, "Limits")).to_contain_text("1,000 items or 34 MB in one call")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator("#about-open")).to_be_focused()
    page.goto(f"{library.url}/?collection=..%2Fphotos")
    expect(page.locator("#empty-title")).to_have_text("There is no collection “../photos”")
    expect(page.locator("#about-open")).to_be_hidden()


def test_only_the_typed_name_deletes_it(visit: Open, library: Library) -> None:
    library.fill(ODD, 30)
    library.fill("rest", 20, caption="left {n}")
    page = opened(visit, library.url, f"{ODD}&q=17")
    for wrong in ("", "rest", ODD.lower(), ODD[:-1]):
        if not page.locator("#about-name").is_visible():
            page.get_by_text("Delete this collection", exact=True).click()
        page.fill("#about-name", wrong)
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_text(f"Nothing was deleted: that is not its name, {ODD}.")
        expect(page.locator("#about-name")).to_be_focused()
    assert deletions(library) == []
    page.fill("#about-name", ODD)
    page.get_by_role("button", name="Delete the collection").click()
    expect(page.locator("#toast")).to_have_text(f"“{ODD}” was deleted")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator("#heading")).to_have_text("rest")
    assert tiles(page)[0] == "left 0"
    expect(page.locator("#text")).to_have_value("")
    expect(page).to_have_url(re.compile(r"\?collection=rest$"))
    assert (deletions(library), [*library.index.collections]) == ([f"/collections/{ODD}"], ["rest"])
    open_menu(page)
    type_name(page, "rest")
    expect(page.get_by_role("heading", name="There is no collection yet")).to_be_visible()
    expect(page.locator("#about-open")).to_be_hidden()
    expect(page.locator("#collection")).to_be_focused()
    expect(page.locator("#filters .chip")).to_have_count(0)


def test_an_alias_that_leads_to_it_keeps_it(visit: Open, library: Library) -> None:
    library.fill("photos", 30)
    library.index.aliases["shapes"] = "photos"
    page = opened(visit, library.url, "shapes", size=(390, 480))
    expect(page.locator("#about-title")).to_have_text("photos")
    expect(fact(page, "Aliases")).to_have_text("shapes")
    type_name(page, "photos")
    expect(page.get_by_role("alert")).to_have_text("The alias shapes leads to photos: switch or delete it first.")
    expect(page.get_by_role("alert")).to_be_in_viewport(ratio=1)
    expect(page.locator("#about-name")).to_be_focused()
    assert "photos" in library.index.collections


def test_one_that_vanished_meanwhile(visit: Open, library: Library) -> None:
    library.fill("photos", 30)
    library.fill("rest", 20, caption="left {n}")
    page = opened(visit, library.url, "photos")
    expect(page.locator("#about-delete")).to_be_visible()
    del library.index.collections["photos"]
    type_name(page, "photos")
    expect(page.locator("#about-status")).to_have_text("There is no collection 'photos'.")
    expect(page.locator("#about-delete")).to_be_hidden()
    page.keyboard.press("Enter")  # Close has the focus
    expect(page.locator("#heading")).to_have_text("rest")
    assert tiles(page)[0] == "left 0"
    del library.index.collections["rest"]
    open_menu(page)
    expect(page.locator("#about-status")).to_have_text("There is no collection 'rest'.")
    expect(page.locator("#about-delete")).to_be_hidden()


def test_what_a_key_may_not_is_not_offered(visit: Open, tmp_path: Path) -> None:
    keys = KeyStore(tmp_path / "keys.db")
    reader, _ = keys.create("reader", ("search",))
    renter, _ = keys.create("renter", ("search", "write"), collections=("shapes",))
    with library_gateway(tmp_path, keys_file=str(tmp_path / "keys.db")) as library:
        library.fill("photos", 30)
        library.index.aliases["shapes"] = "photos"
        page = visit("/?collection=shapes", url=library.url)
        expect(page.locator("#about-open")).to_be_hidden()
        use_key(page, reader)
        open_menu(page)
        lacks = "It can't be deleted with this key: this API key lacks the scope `write`; it has search."
        expect(page.locator("#about-may-not")).to_have_text(lacks)
        expect(page.locator("#about-delete")).to_be_hidden()
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Key", exact=True).click()
        use_key(page, renter)
        open_menu(page)
        type_name(page, "photos")
        expect(page.get_by_role("alert")).to_have_text("This API key may not use the collection 'photos'.")
        assert deletions(library) == []


def use_key(page: Page, secret: str) -> None:
    page.fill("#key", secret)
    page.press("#key", "Enter")
    tiles(page)


def test_all_of_it_is_exported(visit: Open, library: Library) -> None:
    library.fill("photos", 1100, thumbnail="data:image/png;base64,AAAA")
    page = opened(visit, library.url, "photos")
    with page.expect_download() as got:
        page.get_by_role("button", name="Export JSON").click()
    assert got.value.suggested_filename == "photos-1100.json"
    items = json.loads(got.value.path().read_text())
    assert [each["id"] for each in items] == sorted(library.index.collections["photos"]["items"])
    assert items[7]["metadata"] == {"caption": "picture 7", "color": "green"}
    with page.expect_download() as got:
        page.get_by_role("button", name="Export CSV").click()
    assert got.value.path().read_text().splitlines()[:2] == ["id,caption,color", "item-00000,picture 0,red"]
    del library.index.collections["photos"]
    page.get_by_role("button", name="Export CSV").click()
    expect(page.locator("#about-status")).to_have_text("There is no collection 'photos'.")
    expect(page.get_by_role("button", name="Export CSV")).to_be_hidden()
