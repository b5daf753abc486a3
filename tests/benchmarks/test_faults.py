"""The pure parts of the benchmark of faults, and that an attack ends whatever it does."""

from __future__ import annotations

import asyncio
import http.server
import ipaddress
import threading
from collections.abc import Iterator
from itertools import count

import psutil
import pytest

from benchmarks.attacks.attacker import Answers, Attacker
from benchmarks.attacks.base import Attack, Target, crowd
from benchmarks.attacks.catalogue import ATTACKS
from benchmarks.attacks.freezing_proxy import FreezingProxy
from benchmarks.faults import report
from benchmarks.faults.attacked import AttackResults, Felt
from benchmarks.faults.bursts import BurstReply, summary
from benchmarks.faults.command import options, plan
from benchmarks.faults.neighbour import bar_ms, felt_p99
from benchmarks.faults.parts import growth, replaced
from benchmarks.faults.stopping import kind_of
from scripts.tune.load import LOST_MS, Load, calm, in_background

TARGET = Target("http://127.0.0.1:9", "", "", 9, 8, "f", ("a star",), 9, 9, "")
ERROR = b'{"error": {"message": "m", "type": "t", "param": null, "code": "c"}}'


class Endless(Attack):
    """Counts for as long as it is let."""

    name = "endless"

    async def run(self) -> None:
        self.site.tally["begun"] += 1
        await crowd(2, lambda: asyncio.sleep(0.01))


class Broken(Attack):
    """Can't attack at all."""

    name = "broken"

    async def prepare(self) -> None:
        raise ValueError("nothing to attack with")


def test_an_attack_ends_in_time_and_says_what_it_saw() -> None:
    attacker = Attacker(Endless, TARGET, 0.2)
    attacker.start()
    assert attacker.finish().tally == {"begun": 1}


def test_an_attack_that_cannot_be_prepared_says_why() -> None:
    attacker = Attacker(Broken, TARGET, 0.2)
    attacker.start()
    assert attacker.finish().fault == "not prepared: ValueError nothing to attack with"


def test_attacks_have_names_of_their_own_and_stay_on_this_machine() -> None:
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)
    assert all(ipaddress.ip_address(attack.address).is_loopback for attack in ATTACKS)


async def test_a_frozen_proxy_takes_connections_and_says_nothing() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(100))
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        proxy = FreezingProxy(server.sockets[0].getsockname()[1])
        port = await proxy.listen(0)
        assert await _said(port) == b"hello"
        proxy.freeze()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(_said(port), 0.2)
        proxy.close()


async def _said(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"hello")
    try:
        return await reader.read(100)
    finally:
        writer.close()


@pytest.fixture
def half_broken() -> Iterator[str]:
    """A server that answers every other request with 500."""
    numbers = count()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(500 if next(numbers) % 2 else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_a_calm_client_counts_what_failed(half_broken: str) -> None:
    load = calm(half_broken, [{}], 50, 0.5)
    assert 0 <= len(load.latencies) - load.errors <= 1
    assert felt_p99(load) > LOST_MS / 2


async def _until_stopped(word: str, stop: asyncio.Event) -> str:
    await stop.wait()
    return word


def test_what_runs_in_the_background_is_stopped_and_gives_its_result() -> None:
    with in_background(_until_stopped, "done") as stopped:
        assert stopped() == "done"


def test_a_neighbour_may_feel_three_times_the_rest_but_always_a_quarter_second() -> None:
    assert (bar_ms(10.0), bar_ms(200.0)) == (250.0, 600.0)
    assert felt_p99(Load([5.0] * 1000, 0, 1.0, [])) == 5.0
    assert felt_p99(Load([7.0], 0, 1.0, [])) == 7.0
    assert felt_p99(Load([], 0, 1.0, [])) == LOST_MS


def test_a_part_that_was_started_again_is_seen() -> None:
    this, parent = psutil.Process(), psutil.Process().parents()[0]
    before = {"same": this, "other": this, "gone": this}
    assert replaced(before, {"same": psutil.Process(), "other": parent}) == ["other", "gone"]
    assert growth({"a": 100.0, "b": 100.0}, {"a": 130.0}) == {"a": 1.3}


@pytest.mark.parametrize(
    ("status", "content", "kind"),
    [
        (200, b'{"hits": []}', "answer"),
        (200, b'{"hits": [', "neither"),
        (200, b'{"results": []}', "neither"),
        (503, ERROR, "envelope"),
        (200, ERROR, "neither"),
        (500, b"Internal Server Error", "neither"),
        (500, b'{"error": "down"}', "neither"),
        (502, b"[]", "neither"),
    ],
)
def test_what_an_answer_is(status: int, content: bytes, kind: str) -> None:
    assert kind_of(status, content) == kind


def test_a_burst_is_summed_up() -> None:
    replies = [
        BurstReply(10.0, 200, False),
        BurstReply(2500.0, 200, False),
        BurstReply(5.0, 429, True),
        BurstReply(5.0, 429, False),
    ]
    found = summary(4, replies)
    assert found == {"burst_4_refused": 2.0, "burst_4_slowest_ms": 2500.0, "burst_4_good_share": 0.5}


def test_bars_of_what_was_not_measured_do_not_hold() -> None:
    felt = Felt("a", 5.0, 300.0, 250.0, 9, 0, 0.1, Answers(), ["gateway"], {})
    result = AttackResults([felt], 5.0, {"index": 1.2}, ["b"])
    judged = report.bars(result, {"writes_lost": 0.0}, {"writes_lost": (0.0, "≤"), "share": (1.0, "≥")})
    assert [(each["name"], each["holds"]) for each in judged] == [
        ("neighbour p99 ms: a", False),
        ("neighbour p99 ms: b", False),
        ("memory after attacks: index", True),
        ("parts that ended under attack", False),
        ("writes_lost", True),
        ("share", False),
    ]


def test_an_attack_that_could_not_be_made_does_not_hold() -> None:
    felt = Felt("a", 5.0, 5.0, 250.0, 9, 0, 0.1, Answers(fault="not prepared"), [], {})
    judged = report.bars(AttackResults([felt]), {}, {})
    assert judged[0] == {"name": "neighbour p99 ms: a", "value": None, "bar": 250.0, "holds": False}


def test_a_run_without_options_is_whole_and_ends_within_25_minutes() -> None:
    whole = plan(options().parse_args([]))
    assert whole.attacks == ATTACKS
    assert set(whole.limits) == set(report.BARS)
    assert whole.total_s < 25 * 60


def test_a_run_of_some_phases_has_their_bars_alone() -> None:
    some = plan(options().parse_args(["--phases", "kills", "--attack", "words", "nbsp"]))
    assert {name for name in some.limits if not name.startswith("kill_")} == {"writes_lost"}
    assert [attack.name for attack in some.attacks] == ["256 words of 64 KB", "256 texts of &nbsp;"]
