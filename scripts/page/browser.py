"""A headless Chromium for the page's tests and pictures: Debian's package, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class NoBrowser(RuntimeError):
    """There is no Chromium on this machine, or no Playwright in this environment."""


def find_chromium() -> str:
    """The path of an installed Chromium. Raises NoBrowser that says what to install."""
    path = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if path is None:
        raise NoBrowser("the page's tests need Chromium: apt-get install --no-install-recommends chromium")
    return path


@contextmanager
def chromium(*flags: str) -> Iterator[Browser]:
    """Started headless, with these flags besides ours; closed at the end. Raises NoBrowser."""
    path = find_chromium()
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError as error:
        raise NoBrowser("Playwright is not installed: `make setup-test` adds it") from error
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=[*_FLAGS, *flags])
        try:
            yield browser
        finally:
            browser.close()
