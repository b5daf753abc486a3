"""Selecting many items, and what is done with them: delete, export, add to another collection."""

from __future__ import annotations

import csv
import io
import json

import pytest
from playwright.sync_api import Download, Page, expect

from tests.browser.conftest import Open
from tests.browser.library import Library
from tests.browser.test_browsing import scroll_to, tiles

pytestmark = pytest.mark.browser


def opened(visit: Open, library: Library, count: int = 300) -> Page:
    library.fill("photos", count, note='a "quoted", {n}')
    page = visit("/?collection=photos", url=library.url)
    tiles(page)
    return page


def select(page: Page, number: int, **how: list[str]) -> None:
    page.get_by_role("checkbox", name=f"Select picture {number}", exact=True).click(**how)  # type: ignore[arg-type]


def saved(page: Page, name: str) -> tuple[str, str]:
    with page.expect_download() as got:
        page.get_by_role("button", name=name, exact=True).click()
    download: Download = got.value
    return download.suggested_filename, download.path().read_bytes().decode()


def test_clicks_and_shift_select(visit: Open, library: Library) -> None:
    page = opened(visit, library)
    expect(page.locator("#selection")).to_be_hidden()
    select(page, 2)
    select(page, 6, modifiers=["Shift"])
    expect(page.locator("#selection-count")).to_have_text("5 selected")
    page.get_by_role("button", name="picture 4", exact=True).click()  # while some are selected, a click selects
    expect(page.locator("#selection-count")).to_have_text("4 selected")
    expect(page.locator("#viewer")).to_be_hidden()
    scroll_to(page, 1)
    scroll_to(page, 0)
    tiles(page)
    expect(page.get_by_role("checkbox", name="Select picture 6", exact=True)).to_be_checked()
    page.keyboard.press("Escape")
    expect(page.locator("#selection")).to_be_hidden()


def test_keys_select(visit: Open, library: Library) -> None:
    page = opened(visit, library, 150)
    page.locator("#results .open").first.focus()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    expect(page.locator("#selection-count")).to_have_text("2 selected")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.locator("#selection-count")).to_have_text("4 selected")
    page.keyboard.press("Control+a")
    expect(page.locator("#selection-count")).to_have_text("150 selected")
    expect(page.locator("#viewer")).to_be_hidden()


def test_deleting_asks_first(visit: Open, library: Library) -> None:
    page = opened(visit, library)
    scroll_to(page, 0.5)
    tiles(page)
    numbers = [int(one.split()[1]) for one in tiles(page)][10:12]
    for number in numbers:
        select(page, number)
    top = page.evaluate("() => scrollY")
    page.keyboard.press("Delete")
    expect(page.get_by_role("alertdialog")).to_contain_text("Delete 2 items from “photos”?")
    page.keyboard.press("Escape")
    expect(page.get_by_role("alertdialog")).to_be_hidden()
    assert len(library.index.collections["photos"]["items"]) == 300
    page.get_by_role("button", name="Delete", exact=True).click()
    page.locator("#confirm-yes").click()
    expect(page.locator("#toast")).to_have_text("2 items deleted")
    expect(page.locator("#status")).to_have_text("298 pictures")
    assert not {f"picture {number}" for number in numbers} & set(tiles(page))
    assert page.evaluate("() => scrollY") == pytest.approx(top, abs=2)
    expect(page.locator("#collection option:checked")).to_have_text("photos (298)")


def test_the_selection_is_exported(visit: Open, library: Library) -> None:
    page = opened(visit, library)
    select(page, 1)
    select(page, 2)
    name, text = saved(page, "JSON")
    assert name == "photos-2.json"
    assert [each["id"] for each in json.loads(text)] == ["item-00001", "item-00002"]
    assert json.loads(text)[0]["metadata"]["color"] == "green"
    name, text = saved(page, "CSV")
    assert name == "photos-2.csv"
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["id"], row["note"]) for row in rows] == [(f"item-0000{n}", f'a "quoted", {n}') for n in (1, 2)]


@pytest.mark.parametrize("text", ['=HYPERLINK("https://a.example")', "+1", "-1", "@SUM(A1)", "\t=1"])
def test_cells_of_an_export_are_no_formulas(visit: Open, library: Library, text: str) -> None:
    page = opened(visit, library)
    library.index.collections["photos"]["items"]["item-00001"]["metadata"].update(note=text, n=-1)
    page.reload()
    select(page, 1)
    (row,) = csv.DictReader(io.StringIO(saved(page, "CSV")[1]))
    assert (row["note"], row["n"]) == (f"'{text}", "-1")


def test_the_selection_goes_to_another_collection(visit: Open, library: Library) -> None:
    library.index.collections.pop("best", None)
    page = opened(visit, library)
    select(page, 1)
    select(page, 2)
    page.get_by_role("button", name="Add to …").click()
    page.get_by_label("Target collection").fill("best")
    page.locator("#add-go").click()
    expect(page.locator("#toast")).to_have_text("2 items added to “best”")
    kept, source = (library.index.collections[name]["items"] for name in ("best", "photos"))
    assert sorted(kept) == ["item-00001", "item-00002"]
    assert kept["item-00001"]["metadata"] == source["item-00001"]["metadata"]
    assert kept["item-00001"]["vector"] == pytest.approx(source["item-00001"]["vector"])
