"""The dashboard: its charts, ranges, keys, what it says when there is nothing, and the slowest requests."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from gateway.keys.key_store import KeyStore
from tests.browser.conftest import DESKTOP, PHONE, Open
from tests.browser.dashboard import Dashboard, dashboard_gateway, request_id
from tests.browser.library import Library
from tests.browser.scaling import OTHER, scaler_of_an_hour
from tests.browser.test_axe import complaints
from tests.scaler.fakes import ENDPOINT
from tests.waiting import until

pytestmark = pytest.mark.browser
TITLES = [
    *("Requests", "Latency", "Errors", "In flight", "Waits"),
    *("Batch size", "Cache and batch fill", "Live recall", "Memory"),
    *("Captions", "Caption sequences", "Jobs"),
]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    with dashboard_gateway(tmp_path_factory.mktemp("filled")) as made:
        made.fill()
        yield made


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Dashboard]:
    with dashboard_gateway(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """A gateway with a scaler, and with one that does not answer."""
    folder = tmp_path_factory.mktemp("scaled")
    with (
        scaler_of_an_hour(folder, time.time()) as url,
        dashboard_gateway(folder, scaler_urls=(url, "http://127.0.0.1:9")) as made,
    ):
        yield made


def chart(page: Page, title: str) -> Locator:
    return page.get_by_role("region", name=title, exact=True)


def moment(page: Page, title: str) -> Locator:
    return page.get_by_role("slider", name=f"{title}: moment")


def test_every_figure_has_its_chart(visit: Open, filled: Dashboard) -> None:
    page = visit("/dashboard", filled.url)
    expect(page.locator("#charts h2")).to_have_text(TITLES)
    expect(page.locator("#charts canvas")).to_have_count(len(TITLES))
    expect(page.locator("#charts .none:visible")).to_have_count(0)
    expect(chart(page, "Latency").get_by_role("button", name=re.compile(r"p95 \d+ ms"))).to_be_visible()
    expect(chart(page, "Memory").get_by_role("button", name=re.compile(r"workers 1\.9\d GB"))).to_be_visible()
    expect(moment(page, "Requests")).to_have_attribute("aria-valuetext", re.compile(r"\d\d:\d\d:\d\d: answered \d+"))


def test_a_range_is_chosen_and_in_the_address(visit: Open, filled: Dashboard) -> None:
    page = visit("/dashboard", filled.url)
    slider = moment(page, "Requests")
    expect(slider).to_have_attribute("aria-valuemax", re.compile("^(89|90)$"))
    page.get_by_role("radio", name="15 min").press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuemax", re.compile("^(119|120)$"))
    assert page.url.endswith("?range=1h")
    page.reload()
    expect(page.get_by_role("radio", name="1 h")).to_be_checked()
    expect(slider).to_have_attribute("aria-valuemax", re.compile("^(119|120)$"))
    page.goto(f"{filled.url}/dashboard?range=constructor")
    expect(page.get_by_role("radio", name="15 min")).to_be_checked()


def test_keys_move_through_time_in_all_charts(visit: Open, filled: Dashboard) -> None:
    page = visit("/dashboard", filled.url)
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#updated")).to_contain_text("Paused at")
    slider = moment(page, "Latency")
    slider.focus()
    page.keyboard.press("Home")
    expect(slider).to_have_attribute("aria-valuenow", "0")
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuenow", "1")
    expect(moment(page, "Errors")).to_have_attribute("aria-valuenow", "1")
    said = slider.get_attribute("aria-valuetext") or ""
    tip = chart(page, "Latency").locator(".tip")
    expect(tip).to_be_visible()
    expect(tip).to_contain_text(said[:8])
    expect(page.locator(".tip:visible")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(slider).to_have_attribute("aria-valuenow", re.compile("^(88|89|90)$"))
    expect(tip).to_be_hidden()


def test_what_is_pointed_at_is_told(visit: Open, filled: Dashboard) -> None:
    page = visit("/dashboard", filled.url)
    page.get_by_role("button", name="Pause").click()
    chart(page, "Latency").locator(".u-over").hover(position={"x": 40, "y": 60})
    tip = chart(page, "Latency").locator(".tip")
    expect(tip).to_contain_text(re.compile(r"p50 [\d.]+ ms.*p95 [\d.]+ ms.*p99 [\d.]+ ms"))
    assert tip.evaluate("tip => tip.offsetLeft + tip.offsetWidth <= tip.parentElement.clientWidth")


def test_a_line_can_be_hidden(visit: Open, filled: Dashboard) -> None:
    page = visit("/dashboard", filled.url)
    line = chart(page, "Latency").get_by_role("button", name="p99")
    line.click()
    expect(line).to_have_attribute("aria-pressed", "false")
    line.click()
    expect(line).to_have_attribute("aria-pressed", "true")


def test_slow_requests_say_where_their_time_went(visit: Open, filled: Dashboard) -> None:
    page = visit("/dashboard", filled.url)
    rows = page.locator("#slow-rows tr")
    expect(rows).to_have_count(8)
    expect(rows.first).to_contain_text("1.8 s")
    expect(rows.first).to_contain_text(re.compile(r"waiting for a worker 1\.5 s · encoding 221 ms"))
    expect(rows.first).to_contain_text("More workers, or fewer calls at once.")
    expect(rows.first).to_contain_text("POST /v1/search")
    expect(rows.nth(4)).to_contain_text("503")
    expect(rows.nth(4)).to_contain_text("It was spent outside of the model")
    page.get_by_role("button", name="Show all 12").click()
    expect(rows).to_have_count(12)
    copy = rows.first.get_by_role("button", name=f"Copy the request id {request_id(0)}")
    copy.click()
    expect(copy).to_contain_text("Copied")
    expect(page.locator("#profile-command")).to_contain_text("clipserve profile clip_text")


@pytest.mark.parametrize(
    ("stages", "shown"),
    [
        ({}, [["other", 100]]),
        ({"queue": 60.0, "encode": 30.0}, [["queue", 60], ["encode", 30], ["other", 10]]),
        ({"admission": 50.0, "store": 40.0}, [["admission", 50], ["store", 40], ["other", 10]]),
        ({"queue": 80.0, "encode": 80.0, "search": 0.1}, [["queue", 80], ["encode", 80]]),
    ],
)
def test_stages_and_what_is_left(visit: Open, fresh: Dashboard, stages: dict[str, float], shown: list[Any]) -> None:
    page = visit("/docs", fresh.url)
    call = "async (given) => (await import('/ui/dashboard/slow.js')).stagesOf(given)"
    assert page.evaluate(call, {"ms": 100, "stages": stages}) == shown


def test_a_gateway_that_has_just_started(visit: Open, fresh: Dashboard) -> None:
    page = visit("/dashboard", fresh.url)
    expect(page.get_by_text("The first figures appear in a few seconds")).to_be_visible()
    expect(page.get_by_text("There was no request in the last hour.")).to_be_visible()
    expect(page.locator("#charts")).to_be_hidden()
    assert complaints_of(visit, fresh) == []
    fresh.fill(60)
    expect(page.locator("#charts canvas")).to_have_count(len(TITLES))
    expect(page.get_by_text("The first figures appear in a few seconds")).to_be_hidden()


def complaints_of(visit: Open, gateway: Dashboard) -> list[Any]:
    page = visit("/dashboard", gateway.url, bypass_csp=True)
    expect(page.locator("#slow")).to_be_visible()
    return complaints(page)


def test_what_nobody_tells_is_said(visit: Open, fresh: Dashboard) -> None:
    now = fresh.services.history.now()
    for n in range(3):
        fresh.services.history.add({"time": now - 10 * (3 - n), "requests": n})
    page = visit("/dashboard?range=5m", fresh.url)
    for title in ("Batch size", "Cache and batch fill"):
        expect(chart(page, title)).to_contain_text("the workers do not report it.")
    expect(chart(page, "Latency")).to_contain_text("No requests in this time.")
    expect(chart(page, "Live recall")).to_contain_text("No search was checked yet")
    expect(chart(page, "Requests").locator(".none")).to_be_hidden()


def test_a_key_is_asked_for_and_must_be_an_admins(visit: Open, tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.json")
    admin, _ = store.create("admin", ("admin",))
    search, _ = store.create("search", ("search",))
    with dashboard_gateway(tmp_path, keys_file=store.path) as gateway:
        gateway.fill(300)
        page = visit("/dashboard", gateway.url)
        expect(page.locator("#key")).to_be_focused()
        page.fill("#key", search)
        page.press("#key", "Enter")
        expect(page.get_by_role("alert")).to_contain_text("This key may not see the figures")
        expect(page.locator("#slow")).to_be_hidden()
        page.get_by_role("button", name="Key", exact=True).click()
        page.fill("#key", admin)
        page.press("#key", "Enter")
        expect(page.locator("#charts canvas")).to_have_count(len(TITLES))
        expect(page.get_by_role("alert")).to_be_hidden()
        assert admin not in page.url


def test_the_page_leads_to_it(visit: Open, library: Library) -> None:
    for size in (DESKTOP, PHONE, (340, 700)):
        page = visit("/", library.url, size)
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
        page.get_by_role("link", name="Dashboard").click()
        expect(page.get_by_role("heading", name="Dashboard")).to_be_visible()


@pytest.mark.parametrize(("scheme", "size"), [("light", DESKTOP), ("dark", PHONE)])
def test_nothing_is_found_by_axe(visit: Open, filled: Dashboard, scheme: str, size: tuple[int, int]) -> None:
    page = visit("/dashboard", filled.url, size, color_scheme=scheme, bypass_csp=True)
    expect(page.locator("#charts canvas")).to_have_count(len(TITLES))
    expect(page.locator("#slow-rows tr")).to_have_count(8)
    assert complaints(page) == []
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("button", name="Pause").click()
    page.click("#key-open")
    moment(page, "Latency").focus()
    page.keyboard.press("Home")
    assert complaints(page) == []


def test_the_theme_reaches_the_lines(visit: Open, filled: Dashboard) -> None:
    page = visit("/dashboard", filled.url, color_scheme="light")
    expect(page.locator("#charts canvas")).to_have_count(len(TITLES))
    colors = """() => {
      const canvas = document.querySelector('#charts canvas');
      const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
      return Array.from({ length: data.length / 4 }, (_, at) => data.slice(4 * at, 4 * at + 3).join());
    }"""
    until(lambda: "13,107,96" in page.evaluate(colors))
    page.click("#theme")  # as the system → light
    page.click("#theme")  # → dark
    until(lambda: "98,211,189" in page.evaluate(colors))


def test_what_a_scaler_decided_and_why(visit: Open, scaled: Dashboard) -> None:
    page = visit("/dashboard?range=1h", scaled.url)
    section = page.locator("#scaling")
    expect(section.locator("canvas")).to_have_count(2)
    now = page.locator("#scaling-now")
    expect(now).to_have_text(re.compile(r"\d desired, \d ready: by the week before, \d.* at most"))
    expect(page.locator("#scaling-problem")).to_contain_text("http://127.0.0.1:9")
    changes = page.locator("#scaling-changes li")
    expect(changes.first).to_contain_text(re.compile(r"\d → \d by the week before.*demand \d.*, forecast \d.* at most"))
    said = re.compile(r"demand [\d.]+, expected [\d.]+, at most [\d.]+")
    expect(moment(page, "Demand and forecast")).to_have_attribute("aria-valuetext", said)
    page.get_by_label("Endpoint").select_option(OTHER)
    expect(now).to_have_text("1 desired: demand of 0.2 busy workers, each busy for 60% at most.")
    expect(page.locator("#scaling-none")).to_be_visible()
    page.get_by_label("Endpoint").select_option(ENDPOINT)
    expect(changes.first).to_be_visible()


def test_changes_are_those_of_the_size(visit: Open, fresh: Dashboard) -> None:
    page = visit("/docs", fresh.url)
    call = "async (given) => (await import('/ui/dashboard/scaling.js')).changesOf(given)"
    decisions = [{"at": at, "size": size} for at, size in enumerate((1, 1, 3, 3, 2))]
    assert page.evaluate(call, decisions) == [{"at": 4, "size": 2, "before": 3}, {"at": 2, "size": 3, "before": 1}]


def test_without_a_scaler_nothing_is_said_of_it(visit: Open, filled: Dashboard) -> None:
    page = visit("/dashboard", filled.url)
    expect(page.locator("#slow-rows tr")).to_have_count(8)
    expect(page.locator("#scaling")).to_be_hidden()


@pytest.mark.parametrize(("scheme", "size"), [("light", DESKTOP), ("dark", PHONE)])
def test_axe_finds_nothing_at_a_scaler(visit: Open, scaled: Dashboard, scheme: str, size: tuple[int, int]) -> None:
    page = visit("/dashboard", scaled.url, size, color_scheme=scheme, bypass_csp=True)
    expect(page.locator("#scaling canvas")).to_have_count(2)
    assert complaints(page) == []
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
