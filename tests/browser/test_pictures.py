"""Where the page's pictures come from: thumbnails that the gateway keeps, originals, other hosts."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Route, expect

from tests.browser.conftest import Open
from tests.browser.library import Library, library_gateway
from tests.browser.test_browsing import tiles

pytestmark = pytest.mark.browser
SHOWN = "#results img:not([hidden])"
CDN = "https://cdn.example.org"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """With copies of what is added, and a shop's pictures allowed."""
    folder = tmp_path_factory.mktemp("pictures")
    with library_gateway(folder, pictures="copy", image_hosts=("cdn.example.org", "*.example.net")) as made:
        yield made


def png(width: int, height: int) -> bytes:
    written = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(written, "PNG")
    return written.getvalue()


def add(library: Library, item_id: str, picture: bytes, **metadata: str) -> None:
    item = {"id": item_id, "image": base64.b64encode(picture).decode(), "metadata": metadata}
    answer = httpx.post(f"{library.url}/v1/collections/kept/items", json={"items": [item]})
    assert answer.json()["results"][0]["status"] == 200, answer.text


def test_tiles_are_small_and_the_viewer_goes_on_to_the_original(visit: Open, library: Library) -> None:
    library.fill("kept", 0)
    add(library, "2024/a b.png", png(1600, 1200))
    page = visit("/docs", url=library.url)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/items/" in request.url else None)
    page.goto(f"{library.url}/?collection=kept")
    tiles(page)
    expect(page.locator(SHOWN)).to_have_count(1)
    expect(page.locator(SHOWN)).to_have_js_property("naturalWidth", 256)
    page.locator("#results .open").click()
    expect(page.locator("#viewer-image")).to_have_attribute("src", re.compile(r"/picture\?digest="))
    expect(page.locator("#viewer-image")).to_have_js_property("naturalWidth", 1600)
    assert any("size=768" in each for each in asked)
    expect(page.locator("#viewer-links a")).to_have_text(["Open the original"])


def test_originals_that_browsers_do_not_show_are_not_asked_for(visit: Open, library: Library) -> None:
    library.fill("kept", 0)
    add(library, "a.tif", png(1600, 1200), file="a.tif")
    page = visit("/docs", url=library.url)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/items/" in request.url else None)
    page.goto(f"{library.url}/?collection=kept&item=a.tif")
    expect(page.locator("#viewer-image")).to_have_attribute("src", re.compile("size=768"))
    page.wait_for_load_state("networkidle")
    assert not [each for each in asked if "/picture" in each]


def test_tiles_are_sharp_on_phones(visit: Open, library: Library) -> None:
    library.fill("kept", 0)
    add(library, "a.png", png(1600, 1200))
    page = visit("/?collection=kept", url=library.url, device_scale_factor=3)
    tiles(page)
    expect(page.locator(SHOWN)).to_have_attribute("src", re.compile("size=768"))


def test_dots_in_an_id_lead_to_no_other_item(visit: Open, library: Library) -> None:
    library.fill("kept", 0)
    add(library, "a.png", png(1600, 1200))
    add(library, "x/../a.png", png(800, 1200))
    page = visit("/?collection=kept&item=x/../a.png", url=library.url)
    expect(page.locator("#viewer-image")).to_have_attribute("src", re.compile(r"items/x%2F\.\.%2Fa\.png/picture"))
    expect(page.locator("#viewer-image")).to_have_js_property("naturalWidth", 800)


def test_a_shops_pictures_are_shown_from_its_hosts(visit: Open, library: Library) -> None:
    library.fill("shop", 3, image_url=f"{CDN}/{{n}}.png", link="https://example.org/buy/{n}")
    page = visit("/docs", url=library.url)
    page.route(f"{CDN}/**", lambda route: route.fulfill(body=png(30, 20), content_type="image/png"))
    page.goto(f"{library.url}/?collection=shop")
    tiles(page)
    expect(page.locator(SHOWN)).to_have_count(3)
    page.locator("#results .open").first.click()
    links = page.locator("#viewer-links a")
    expect(links).to_have_text(["Open the link", "Open the original"])
    assert links.nth(0).get_attribute("href") == "https://example.org/buy/0"
    assert page.locator("#filters").inner_text().find("image_url") < 0


@pytest.mark.parametrize(
    "address",
    [
        "https://elsewhere.example.org/{n}.png",
        "http://cdn.example.org/{n}.png",
        "https://cdn.example.org:8443/{n}.png",
        "javascript:alert(1)",
        "data:text/html,{n}",
        "//cdn.example.org/{n}.png",
    ],
)
def test_other_addresses_are_not_even_asked_for(visit: Open, library: Library, address: str) -> None:
    library.fill("shop", 3, image_url=address)
    page = visit("/docs", url=library.url)
    outside: list[str] = []

    def count(route: Route) -> None:
        outside.append(route.request.url)
        route.abort()

    page.route(lambda url: not url.startswith(library.url), count)
    page.goto(f"{library.url}/?collection=shop")
    tiles(page)
    expect(page.locator("#results .blank-id").first).to_have_text("item-00000")
    page.locator("#results .open").first.click()
    expect(page.locator("#viewer-title")).to_have_text("picture 0")
    assert outside == []
    hrefs = page.locator("#viewer a").evaluate_all("links => links.map((link) => link.protocol)")
    assert set(hrefs) <= {"https:", "http:"}


def test_a_picture_that_is_gone_gives_way_to_the_next_place(visit: Open, library: Library) -> None:
    library.fill("shop", 2, digest="0" * 64, image_url=f"{CDN}/{{n}}.png")
    page = visit("/docs", url=library.url)
    page.route(f"{CDN}/**", lambda route: route.fulfill(body=png(30, 20), content_type="image/png"))
    page.goto(f"{library.url}/?collection=shop")
    tiles(page)
    expect(page.locator(SHOWN)).to_have_count(2)
