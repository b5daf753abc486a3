"""Pages of other sites, and metadata by names that JavaScript's objects have already. Needs no models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from gateway.app import build
from gateway.connections.protocol import guarded
from gateway.settings import GatewaySettings
from scripts.page.browser import chromium
from tests.gateway.fake_index import FakeIndex
from tests.gateway.fakes import FakeTorchServe, embed, serving

pytestmark = pytest.mark.browser
NAMES = ["constructor", "__proto__", "toString", "hasOwnProperty", "valueOf"]
CALL = """async ([method, path]) => {
  const answer = await fetch(path, { method });
  return [answer.status, (await answer.json()).error?.code];
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """To which evil.test is 127.0.0.1, as after DNS rebinding."""
    with chromium("--host-resolver-rules=MAP evil.test 127.0.0.1") as started:
        yield started


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    index = FakeIndex()
    with serving(index.app()) as index_url, serving(FakeTorchServe(index).app()) as url:
        spec = {"model": "demo", "fingerprint": "fp-demo", "dim": 16, "metric": "cosine", "engine": "auto"}
        items = {f"{n}": {"vector": embed(str(n)), "metadata": odd(n)} for n in range(4)}
        index.collections["demo"] = {"spec": spec, "items": items}
        settings = GatewaySettings(
            index_url=index_url,
            torchserve_url=url,
            management_url=url,
            metrics_url=url,
            data_dir=Path(tmp_path_factory.mktemp("gateway")),
        )
        with serving(build(settings), lifespan="on", http=guarded(10, 1024)) as address:
            yield address


def odd(n: int) -> dict[str, Any]:
    """Every name on two items of four: one value on both, or two."""
    return {name: f"{name}-{n % 2}" for name in NAMES}


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    failures: list[str] = []
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    page.on("pageerror", lambda error: failures.append(str(error)))
    yield page
    context.close()
    assert failures == []


def test_a_rebound_page_reads_and_deletes_nothing(page: Page, gateway: str) -> None:
    answer = page.goto(gateway.replace("127.0.0.1", "evil.test") + "/docs")
    assert answer is not None
    assert answer.status == 403
    for method in ("GET", "DELETE"):
        assert page.evaluate(CALL, [method, "/v1/collections/demo"]) == [403, "host_not_allowed"]
    page.goto(f"{gateway}/docs")
    assert page.evaluate(CALL, ["GET", "/v1/collections/demo"]) == [200, None]


def test_fields_of_any_name_filter(page: Page, gateway: str) -> None:
    page.goto(f"{gateway}/?collection=demo")
    cards = page.locator("#results > li.card:not(.skeleton)")
    expect(cards).to_have_count(4)
    for name in NAMES:
        chip = page.locator(f'#filters [data-facet="{name}={name}-1"]')
        expect(chip).to_have_attribute("aria-pressed", "false")
        chip.click()
        expect(chip).to_have_attribute("aria-pressed", "true")
        expect(cards).to_have_count(2)
        page.reload()
        expect(chip).to_have_attribute("aria-pressed", "true")
        expect(cards).to_have_count(2)
        chip.click()
        expect(cards).to_have_count(4)
