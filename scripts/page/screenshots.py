"""The pictures of the page in docs/, taken from a running stack.

clipserve up &
python -m scripts.page.screenshots --url http://127.0.0.1:8000
"""

from __future__ import annotations

import argparse
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from PIL import Image

from scripts.page.browser import NoBrowser, chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DOCS = Path(__file__).resolve().parents[2] / "docs"
QUERY = "a large purple striped heart"
MIXED = "a large red shape"


@dataclass(frozen=True)
class Shot:
    """One picture: where the page stands, in which window and which colours."""

    name: str
    address: str
    scheme: Literal["light", "dark"] = "light"
    width: int = 1280
    height: int = 800
    live: bool = False


SHOTS = (
    Shot("page", f"?collection=demo&q={quote(QUERY)}"),
    Shot("page-dark", f"?collection=demo&q={quote(MIXED)}&not=striped&weights=negative:0.6", "dark", live=True),
    Shot("page-phone", f"?collection=demo&q={quote(QUERY)}", width=390, height=844),
)


def take(browser: Browser, url: str, shot: Shot) -> bytes:
    """The PNG, once every picture in view has loaded."""
    page = browser.new_page(
        viewport={"width": shot.width, "height": shot.height},
        color_scheme=shot.scheme,
        device_scale_factor=2 if shot.width < 500 else 1,
        reduced_motion="reduce",
    )
    try:
        page.goto(f"{url}/{shot.address}")
        settle(page)
        if shot.live:
            _exercise(page)
        return _packed(page.screenshot())
    finally:
        page.close()


def settle(page: Page) -> None:
    """Wait until results are drawn and all their pictures have loaded."""
    from playwright.sync_api import expect

    page.wait_for_selector("#results .open")
    expect(page.locator("#results img[hidden]")).to_have_count(0)


def _exercise(page: Page) -> None:
    """Open the live panel and search a little, so that it has something to show."""
    page.click("#live-toggle")
    for text in ("a small red star", "two blue circles", "a green ring", MIXED) * 2:
        page.fill("#text", text)
        page.wait_for_timeout(900)
    settle(page)


def _packed(png: bytes) -> bytes:
    packed = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").save(packed, "PNG", optimize=True)
    return packed.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description="Take the pictures of the page that docs/ shows.")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="a running gateway with the demo collection")
    parser.add_argument("--to", type=Path, default=DOCS, help="directory to write to")
    arguments = parser.parse_args()
    try:
        with chromium() as browser:
            for shot in SHOTS:
                path = arguments.to / f"{shot.name}.png"
                path.write_bytes(take(browser, arguments.url, shot))
                print(f"{path}  {path.stat().st_size // 1000} KB")
    except NoBrowser as error:
        sys.exit(f"error {error}")


if __name__ == "__main__":
    main()
