"""A gateway whose history is an hour that a test made up: an even load with a rush in it, and its slowest requests.

`python -m tests.browser.dashboard docs` takes the pictures of docs/observing.md.
"""

from __future__ import annotations

import hashlib
import io
import math
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from clip_core.slowest import Slowest
from gateway.app import build
from gateway.history.figures import TIME
from gateway.history.history import EVERY_S, SPAN_S
from gateway.metrics import BUCKETS
from gateway.services import Services
from gateway.settings import GatewaySettings
from scripts.page.browser import chromium
from tests.gateway.fake_index import FakeIndex
from tests.gateway.fakes import FakeTorchServe, serving

_RUSH = 0.86  # of the hour
_TYPICAL_S, _SPREAD = 0.011, 0.5


@dataclass
class Dashboard:
    """`url` of a gateway that reads no figures by itself."""

    url: str
    services: Services

    def fill(self, seconds: float = SPAN_S) -> None:
        """The history until now, and a dozen slow requests."""
        count = int(seconds / EVERY_S) + 1
        now, total = self.services.history.now(), _Totals()
        for n in range(count):
            part = 1 - (count - 1 - n) * EVERY_S / SPAN_S
            self.services.history.add({TIME: now - (count - 1 - n) * EVERY_S, **total.after(part)})
        self.services.metrics.slowest = Slowest(clock=lambda: now - (1 - _RUSH) * seconds)
        for n in range(12):
            self._add_slow(n)

    def _add_slow(self, n: int) -> None:
        ms = 1840 / (1 + 0.35 * n)
        shares = [(0.82, 0.12, 0.02), (0.2, 0.71, 0.03), (0.1, 0.2, 0.66)][n % 3 if n > 2 else 0]
        stages = {name: round(ms * share, 2) for name, share in zip(("queue", "encode", "search"), shares, strict=True)}
        route, status = ("/v1/search", 200) if n != 4 else ("/v1/collections/{name}/items", 503)
        told = {"method": "POST", "route": route, "status": status, "request_id": request_id(n)}
        self.services.metrics.slowest.add(ms, lambda: {**told, "trace_id": None, "stages": stages if n != 4 else {}})


def request_id(n: int) -> str:
    return hashlib.sha256(str(n).encode()).hexdigest()[:32]


class _Totals:
    """Counters that grow as the load of the moment makes them."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(7)
        self._counts: dict[str, float] = {}
        self._histograms = {name: np.zeros(len(BUCKETS) + 1) for name in ("latency", "admission", "queue")}

    def after(self, part: float) -> dict[str, Any]:
        """One more reading, at this part of the hour."""
        rush = math.exp(-(((part - _RUSH) / 0.03) ** 2))
        answered = float(self._random.poisson(EVERY_S * (46 + 14 * math.sin(9 * part) + 90 * rush)))
        batch = 1.6 + 0.5 * math.sin(9 * part) + 6 * rush
        grown = {
            "requests": answered,
            "failed": float(self._random.poisson(2 * rush**4)),
            "refused": float(self._random.poisson(60 * rush**6)),
            "rejected": float(self._random.poisson(0.4)),
            "batches": answered / batch,
            "batch_requests": answered,
            "pass_items": answered,
            "pass_capacity": answered / batch * 16,
            "cache_hits": answered * (0.32 + 0.05 * math.sin(14 * part)),
            "cache_misses": answered * (0.68 - 0.05 * math.sin(14 * part)),
            "job_entries": float(self._random.poisson(190)) if 0.25 < part < 0.7 else 0.0,
            "job_failures": float(self._random.poisson(0.5)) if 0.25 < part < 0.7 else 0.0,
            "captions": 3 * EVERY_S * (1 + math.sin(7 * part)),
            "caption_tokens": 33 * EVERY_S * (1 + math.sin(7 * part)),
        }
        for name, more in grown.items():
            self._counts[name] = self._counts.get(name, 0.0) + more
        for name, scale in (("latency", 1 + 24 * rush), ("admission", 0.1 + 10 * rush), ("queue", 0.4 + 12 * rush)):
            self._observe(name, int(answered), scale * _TYPICAL_S)
        return {**self._counts, **{name: list(kept) for name, kept in self._histograms.items()}, **_gauges(part, rush)}

    def _observe(self, name: str, count: int, typical_s: float) -> None:
        times = typical_s * self._random.lognormal(0.0, _SPREAD, count)
        self._histograms[name] += np.searchsorted(np.sort(times), (*BUCKETS, math.inf), side="right")


def _gauges(part: float, rush: float) -> dict[str, float]:
    return {
        "in_flight": round(2 + 60 * rush),
        "waiting": round(40 * rush**2),
        "queued": round(18 * rush),
        "jobs": 1.0 if 0.25 < part < 0.7 else 0.0,
        "recall": 0.9962 - 0.002 * part,
        "caption_rows": round(12 * (1 + math.sin(7 * part))),
        "caption_waiting": round(4 * rush),
        "caption_cache_bytes": 3e6 * (1 + math.sin(7 * part)),
        "gateway_bytes": 1.62e8 + 2e7 * part,
        "workers_bytes": 1.94e9 + 1.1e8 * rush,
        "index_bytes": 4.1e8 + 6e7 * part,
    }


@contextmanager
def dashboard_gateway(folder: Path, **settings: Any) -> Iterator[Dashboard]:
    """Without what the gateway does by itself: nothing is added to its history, whose clock stands still."""
    index = FakeIndex()
    with serving(index.app()) as index_url, serving(FakeTorchServe(index).app()) as url:
        upstreams = {"index_url": index_url, "torchserve_url": url, "management_url": url, "metrics_url": url}
        app = build(GatewaySettings(**upstreams, data_dir=folder / "gateway", **settings))
        history, now = app.state.services.history, app.state.services.history.now()
        history.now = lambda: now

        @asynccontextmanager
        async def closing(_: object) -> AsyncIterator[None]:
            yield
            await app.state.services.scalers.close()
            await app.state.services.torchserves.close()

        app.router.lifespan_context = closing
        with serving(app, lifespan="on") as address:
            yield Dashboard(address, app.state.services)


def take_pictures(folder: Path) -> None:
    """An hour in light colours with the rush pointed at, and a quarter of one in dark colours on a phone."""
    with tempfile.TemporaryDirectory() as kept, dashboard_gateway(Path(kept)) as gateway, chromium() as browser:
        gateway.fill()
        page = browser.new_page(viewport={"width": 1280, "height": 1180}, color_scheme="light", reduced_motion="reduce")
        page.goto(f"{gateway.url}/dashboard?range=1h")
        page.wait_for_selector("#slow-rows tr")
        page.click("#pause")
        over = page.locator(".chart .u-over").nth(1)
        size = over.bounding_box() or {"width": 0.0}
        over.hover(position={"x": _RUSH * size["width"], "y": 60})
        save_picture(page.screenshot(), folder / "dashboard.png")
        more = {"device_scale_factor": 2, "color_scheme": "dark", "reduced_motion": "reduce"}
        page = browser.new_page(viewport={"width": 390, "height": 844}, **more)
        page.goto(f"{gateway.url}/dashboard")
        page.wait_for_selector("#slow-rows tr")
        save_picture(page.screenshot(), folder / "dashboard-dark.png")


def save_picture(png: bytes, path: Path) -> None:
    Image.open(io.BytesIO(png)).convert("RGB").save(path, optimize=True)


if __name__ == "__main__":
    take_pictures(Path(sys.argv[1]))
