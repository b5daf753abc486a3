"""The page over a large collection: when its first picture is there, and how heavy scrolling is."""

from __future__ import annotations

import json
import statistics
import time
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page

from clip_core.wire import encode_vector
from scripts.page.browser import chromium
from scripts.public_api import PublicApi
from scripts.stack.live_stack import LiveStack

_QUIET_S, _SETTLED_S = 5.0, 300.0
_BATCH, _OPENINGS, _STEPS, _SCROLLED = 1000, 5, 30, 10_000
_SEEN = "() => [...document.querySelectorAll('#results img')].some((one) => one.complete && one.naturalWidth > 1)"
_NODES = """() => {
  const walker = document.createTreeWalker(document, NodeFilter.SHOW_ALL);
  let count = 0;
  while (walker.nextNode()) count += 1;
  return count;
}"""
_SCROLL = """top => new Promise((drawn) => {
  scrollTo(0, top);
  requestAnimationFrame(() => requestAnimationFrame(drawn));
})"""


def fill(stack: LiveStack, name: str, count: int, like: str) -> None:
    """A collection of `count` random vectors, with the metadata, and so the pictures, of items of `like` in turn."""
    index, public = PublicApi(stack.index, timeout_s=600), PublicApi(stack.gateway, timeout_s=60)
    spec = index.call("GET", "/collections/demo")
    shown = [item["metadata"] for item in index.call("GET", f"/collections/{like}/items?limit={_BATCH}")["items"]]
    public.call("PUT", f"/v1/collections/{name}", {})
    rng = np.random.default_rng(0)
    for start in range(0, count, _BATCH):
        vectors = rng.standard_normal((_BATCH, spec["dim"])).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        items = [
            {
                "id": f"item-{n:06}",
                "vector": encode_vector(vector),
                "metadata": {**shown[n % len(shown)], "caption": f"picture {n}"},
            }
            for n, vector in enumerate(vectors, start)
        ]
        index.call("POST", f"/collections/{name}/items", {"fingerprint": spec["fingerprint"], "items": items})


def settle(stack: LiveStack) -> None:
    """Wait until no index is being built: what is measured is a collection that lies there. Raises RuntimeError."""
    quiet_since, ends = time.monotonic(), time.monotonic() + _SETTLED_S
    while time.monotonic() - quiet_since < _QUIET_S:
        if stack.find("index_service/building"):
            quiet_since = time.monotonic()
        if time.monotonic() > ends:
            raise RuntimeError("the index is still being built")
        time.sleep(0.2)


def page_figures(stack: LiveStack, collection: str) -> dict[str, float]:
    url = f"{stack.gateway}/?collection={collection}"
    with chromium() as browser:
        firsts = [_first_picture_ms(browser, url) for _ in range(_OPENINGS)]
        nodes, longest = _scrolled(browser, url)
    return {
        "first_picture_ms": statistics.median(firsts),
        "first_picture_cold_ms": firsts[0],
        "most_nodes": float(nodes),
        "longest_task_ms": longest,
    }


def _first_picture_ms(browser: Browser, url: str) -> float:
    """From the address to the first picture in a session of its own; thumbnails are on the server's disk already."""
    with browser.new_context(viewport={"width": 1920, "height": 1080}) as context:
        page = context.new_page()
        page.goto(url, wait_until="commit")
        page.wait_for_function(_SEEN, polling="raf")
        return float(page.evaluate("() => performance.now()"))


def _scrolled(browser: Browser, url: str) -> tuple[int, float]:
    """Most nodes, and the longest task of the page's thread in ms, while 10,000 tiles are scrolled through."""
    with browser.new_context(viewport={"width": 1920, "height": 1080}) as context:
        page = context.new_page()
        page.goto(url)
        page.wait_for_function(_SEEN)
        browser.start_tracing(page=page, categories=["toplevel"])
        nodes = max(_nodes_by_step(page))
        return nodes, max(_task_ms(json.loads(browser.stop_tracing())))


def _nodes_by_step(page: Page) -> list[int]:
    height = page.evaluate("() => document.documentElement.scrollHeight")
    nodes = []
    for step in range(1, _STEPS + 1):
        page.evaluate(_SCROLL, step * height * _SCROLLED / 100_000 / _STEPS)
        nodes.append(int(page.evaluate(_NODES)))
    return nodes


def _task_ms(trace: dict[str, Any]) -> list[float]:
    """Wall milliseconds of each task of the page's main thread."""
    events = trace["traceEvents"]
    named = [each for each in events if each["name"] == "thread_name"]
    main = {(each["pid"], each["tid"]) for each in named if each["args"]["name"] == "CrRendererMain"}
    tasks = [each for each in events if each["name"].endswith("RunTask") and "dur" in each]
    return [each["dur"] / 1000 for each in tasks if (each["pid"], each["tid"]) in main]
