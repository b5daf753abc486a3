"""A scaler whose last hour is made up: a morning that its forecast sees come, and a size that follows.

`python -m tests.browser.scaling docs` takes the picture of docs/scaling.md.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from scaler.actuators.torchserve import WorkerCount
from scaler.app import create_app
from scaler.endpoint import Decision
from scaler.scaler import ScaledEndpoint
from scaler.settings import ScalerSettings
from scripts.page.browser import chromium
from tests.browser.dashboard import dashboard_gateway, save_picture
from tests.gateway.fakes import serving
from tests.scaler.fakes import ENDPOINT, world

OTHER = "clip_image"
_EVERY_S, _COUNT = 5.0, 720
_AHEAD_S = 240.0


@contextmanager
def scaler_of_an_hour(folder: Path, now: float) -> Iterator[str]:
    """Its address; `now` in seconds since 1970."""
    made = world(ScalerSettings(endpoints=(ENDPOINT, OTHER), data_dir=folder, max_replicas=8))
    _fill(made.scaler.endpoints[ENDPOINT], now)
    other = made.scaler.endpoints[OTHER]
    other.decision = Decision(1, "demand of 0.2 busy workers, each busy for 60% at most", 0.2)
    other.history.append({"at": now, "ready": None, **asdict(other.decision)})
    with serving(create_app(made.scaler)) as url:
        yield url


def _fill(endpoint: ScaledEndpoint, now: float) -> None:
    sizes: list[int] = []
    decided: list[int] = []
    for n in range(_COUNT):
        seconds = n * _EVERY_S
        demand = _demand(seconds) * (1 + 0.08 * math.sin(n * 2.3) + 0.05 * math.sin(n * 0.71))
        point = max(_demand(seconds), _demand(seconds + _AHEAD_S))
        upper = 1.18 * point
        sizes.append(max(1, math.ceil(max(demand, upper) / 0.85)))
        decided.append(max(sizes[-60:]))
        size, ready = decided[-1], min(decided[-12:])
        reason = f"by the week before, {upper:.1f} busy workers at most (95%)"
        endpoint.decision = Decision(size, reason, demand, point, upper, "week")
        endpoint.count = WorkerCount(size, ready)
        at = now - (_COUNT - 1 - n) * _EVERY_S
        endpoint.history.append({"at": at, "ready": ready, **asdict(endpoint.decision)})


def _demand(seconds: float) -> float:
    """It rises at half past, and sinks a little before the end."""
    rise, fall = (1 / (1 + math.exp(-(seconds - middle) / 90)) for middle in (1800, 3100))
    return 0.7 + 3.1 * rise - 1.4 * fall


def take_picture(folder: Path) -> None:
    with ExitStack() as entered:
        kept = Path(entered.enter_context(tempfile.TemporaryDirectory()))
        url = entered.enter_context(scaler_of_an_hour(kept / "scaler", time.time()))
        gateway = entered.enter_context(dashboard_gateway(kept, scaler_urls=(url,)))
        browser = entered.enter_context(chromium())
        page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light", reduced_motion="reduce")
        page.goto(f"{gateway.url}/dashboard?range=1h")
        page.wait_for_selector("#scaling-changes li")
        page.click("#pause")
        save_picture(page.locator("#scaling").screenshot(), folder / "scaling-dashboard.png")


if __name__ == "__main__":
    take_picture(Path(sys.argv[1]))
