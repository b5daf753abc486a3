"""The fetcher against a hostile server, hostile names and hostile addresses."""

from __future__ import annotations

import asyncio
import base64
import resource
import socket
import threading
import warnings
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from clip_core.errors import BadImage, ClipServeError, FetchFailed, FetchRefused, ImageTooLarge
from clip_core.inputs import images
from gateway.fetch import image_fetcher
from gateway.fetch.addresses import AddressPolicy
from gateway.fetch.image_fetcher import HttpFetcher
from gateway.fetch.limits import FetchLimits
from gateway.fetch.slots import FetchSlots
from gateway.fetch.url_images import UrlImageLoader
from gateway.inputs import sniffing
from gateway.inputs.source import Source
from gateway.inputs.urls import UrlPolicy
from gateway.trace import Trace, set_current_trace
from tests.gateway.hostile import HostileServer, bomb, png

LIMITS = FetchLimits(max_bytes=100_000, max_pixels=1_000_000, timeout_s=0.5, max_redirects=2, concurrency=2)
TEST_NET = ("127.0.0.1/32",)  # where the hostile server is; 127.0.0.2 stays forbidden


class Names:
    """A resolver whose answers are given, one list a call; the last one stays."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, _: int) -> Sequence[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
async def server() -> AsyncIterator[HostileServer]:
    async with HostileServer().running() as running:
        yield running


@pytest.fixture
async def fetcher_of() -> AsyncIterator[Any]:
    made: list[HttpFetcher] = []

    def make(*answers: Sequence[str], networks: Sequence[str] = TEST_NET, limits: FetchLimits = LIMITS, **urls: Any):
        policy = UrlPolicy(**{"ports": (), **urls})
        made.append(HttpFetcher(limits, policy, AddressPolicy(networks), Names(*answers or (["127.0.0.1"],))))
        return made[-1]

    yield make
    for fetcher in made:
        await fetcher.close()


@pytest.mark.parametrize("path", ["good", "zipped"])
async def test_an_image_is_fetched_whatever_its_content_type_says(server, fetcher_of, path):
    assert await fetcher_of().fetch(f"http://img.example:{server.port}/{path}?a=b") == png()
    assert f"Host: img.example:{server.port}" in server.seen[0]
    assert "Cookie" not in server.seen[0]


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("page", BadImage),
        ("missing", FetchFailed),
        ("loop", FetchFailed),
        ("nowhere", FetchFailed),
        ("endless", ImageTooLarge),
        ("ten_gigabytes", ImageTooLarge),
        ("bomb", ImageTooLarge),
        ("not_gzip", FetchFailed),
        ("brotli", FetchFailed),
        ("pixels", ImageTooLarge),
        ("drip", FetchFailed),
        ("silent", FetchFailed),
        ("half", FetchFailed),
        ("garbage", FetchFailed),
        ("headers", FetchFailed),
    ],
)
async def test_a_hostile_answer(server, fetcher_of, path, error):
    assert len(bomb()) < 1_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = asyncio.get_running_loop().time()
    with pytest.raises(error) as raised:
        await fetcher_of().fetch(f"http://img.example:{server.port}/{path}")
    assert asyncio.get_running_loop().time() - started < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024  # KB; the bomb is 512 MB
    assert "inside" not in raised.value.message
    assert "127.0.0.1" not in raised.value.message
    assert server.bytes_sent < 16_000_000  # what the kernel's buffers took before we hung up


INSIDE = [
    "127.0.0.1",
    "127.0.0.2",
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.192",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "3fff::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "",
    "localhost",
]


@pytest.mark.parametrize("address", INSIDE)
async def test_a_name_that_leads_inside(fetcher_of, address):
    assert not AddressPolicy().permits(address)
    with pytest.raises(FetchRefused, match="not fetched from"):
        await fetcher_of([address], networks=()).fetch("http://img.example/good")


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.215.14", "2606:4700::1111", "2a00:1450:4001::5"])
def test_public_addresses(address):
    assert AddressPolicy().permits(address)


def test_networks_that_the_operator_names():
    assert AddressPolicy(["10.1.0.0/16"]).permits("10.1.2.3")
    assert not AddressPolicy(["10.1.0.0/16"]).permits("10.2.2.3")


async def test_one_inside_address_among_public_ones(server, fetcher_of):
    with pytest.raises(FetchRefused):
        await fetcher_of(["8.8.8.8", "127.0.0.2"]).fetch(f"http://img.example:{server.port}/good")
    assert not server.seen


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.2/good",
        "http://[::1]/good",
        "http://[::ffff:127.0.0.1]/good",
        "http://169.254.169.254/latest/meta-data/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://127.1/",
        "http://0177.0.0.1/",
        "http://127.0.0.1.:80/",
        "http://user:word@img.example/",
        "http://user@img.example/",
        "ftp://img.example/",
        "file:///etc/passwd",
        "http:///good",
        "http:img.example/good",
        "http://img.example:0/",
        "http://img.example:99999/",
        "http://img.example/a b",
        "http://img.example/\r\nX-Injected: 1",
        "http://img.example\\@127.0.0.1/",
        "http://" + "a" * 3000,
        "http://[bad/",
    ],
)
async def test_urls_that_are_not_fetched(fetcher_of, url):
    fetcher = fetcher_of(networks=())
    with pytest.raises(FetchRefused):
        await fetcher.fetch(url)


@pytest.mark.parametrize(
    "where",
    ["http://127.0.0.2:{port}/good", "http://[::1]:{port}/good", "http://localhost/", "file:///etc/passwd", "//u:p@x/"],
)
async def test_a_redirect_inside(server, fetcher_of, where):
    server.location = where.format(port=server.port)
    fetcher = fetcher_of(["127.0.0.1"], ["127.0.0.2"])
    with pytest.raises(FetchRefused):
        await fetcher.fetch(f"http://img.example:{server.port}/redirect")
    assert len(server.seen) == 1


async def test_a_redirect_to_another_public_name_is_followed(server, fetcher_of):
    server.location = f"http://cdn.example:{server.port}/good"
    assert await fetcher_of().fetch(f"http://img.example:{server.port}/redirect") == png()
    assert f"Host: cdn.example:{server.port}" in server.seen[1]


async def test_a_redirect_off_the_list_of_hosts(server, fetcher_of):
    server.location = f"http://other.example:{server.port}/good"
    fetcher = fetcher_of(hosts=("img.example", "*.img.example"))
    with pytest.raises(FetchRefused, match="list"):
        await fetcher.fetch(f"http://img.example:{server.port}/redirect")
    assert await fetcher.fetch(f"http://a.IMG.example:{server.port}/good") == png()


@pytest.mark.parametrize("host", ["evil-img.example", "img.example.evil", "example"])
async def test_hosts_that_only_look_like_one_on_the_list(fetcher_of, host):
    with pytest.raises(FetchRefused, match="list"):
        await fetcher_of(hosts=("img.example", "*.img.example")).fetch(f"http://{host}/")


async def test_ports_off_the_list(fetcher_of):
    with pytest.raises(FetchRefused, match="port 22"):
        await fetcher_of(ports=(80, 443)).fetch("http://img.example:22/")


async def test_a_name_that_rebinds_is_asked_once(server):
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    fetcher = HttpFetcher(LIMITS, UrlPolicy(ports=()), AddressPolicy(TEST_NET), names)
    assert await fetcher.fetch(f"http://img.example:{server.port}/good") == png()
    assert names.asked == ["img.example"]
    with pytest.raises(FetchRefused):  # and asked anew by the next fetch: nothing is remembered
        await fetcher.fetch(f"http://img.example:{server.port}/good")
    await fetcher.close()


async def test_names_that_hang_hold_up_nothing_else(monkeypatch):
    go_on = threading.Event()
    monkeypatch.setattr(image_fetcher.socket, "getaddrinfo", lambda *_, **__: go_on.wait(30) and [])
    fetcher = HttpFetcher(replace(LIMITS, timeout_s=0.1, concurrency=64), UrlPolicy(ports=()), AddressPolicy(TEST_NET))
    fetches = [fetcher.fetch(f"http://img{n}.example/") for n in range(64)]
    outcomes = await asyncio.gather(*fetches, return_exceptions=True)
    assert {type(each) for each in outcomes} == {FetchFailed}
    assert await asyncio.wait_for(asyncio.to_thread(lambda: "elsewhere"), 5) == "elsewhere"
    go_on.set()
    await fetcher.close()


async def test_a_name_that_rebinds_between_hops(server, fetcher_of):
    server.location = f"http://img.example:{server.port}/good"
    with pytest.raises(FetchRefused):
        await fetcher_of(["127.0.0.1"], ["127.0.0.2"]).fetch(server.location.replace("good", "redirect"))
    assert len(server.seen) == 1


class ChangesItsMind(AddressPolicy):
    """Permits what the resolver said; by the time a socket is made it no longer does."""

    asked = 0

    def permits(self, address: str) -> bool:
        self.asked += 1
        return self.asked == 1 and address == "127.0.0.1"


async def test_the_socket_is_the_last_gate(server):
    fetcher = HttpFetcher(LIMITS, UrlPolicy(ports=()), ChangesItsMind(), Names(["127.0.0.1"]))
    with pytest.raises(FetchRefused):
        await fetcher.fetch(f"http://img.example:{server.port}/good")
    assert not server.seen
    await fetcher.close()


async def test_tls_names_the_host_of_the_url(fetcher_of):
    hello: list[bytes] = []

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello.append(await reader.read(4096))
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        with pytest.raises(FetchFailed):
            await fetcher_of().fetch(f"https://img.example:{port}/good")
    assert b"img.example" in hello[0]


async def test_nobody_there(fetcher_of):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(FetchFailed):
        await fetcher_of().fetch(f"http://img.example:{port}/")


async def test_only_so_many_at_once_and_the_rest_give_up_in_time(server, fetcher_of):
    fetcher = fetcher_of()
    started = asyncio.get_running_loop().time()
    calls = []
    for _ in range(20):  # not at one moment: a slot that is given up is taken by one who still has time
        calls.append(asyncio.ensure_future(fetcher.fetch(f"http://img.example:{server.port}/silent")))
        await asyncio.sleep(0.01)
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(outcome, FetchFailed) for outcome in outcomes)
    assert asyncio.get_running_loop().time() - started < 3  # one after the other, two at a time, they take five
    assert server.busiest == 2


def test_what_is_sniffed_is_what_is_decoded():
    assert sniffing.FORMATS == images.FORMATS


@pytest.mark.parametrize("content", [b"", b"GIF89a", png()[:10], b"\xff\xd8\xff" * 9, b"II*\0\xff\xff\xff\xff", b"P6 "])
def test_bytes_that_are_no_image(content):
    with pytest.raises(BadImage):
        sniffing.pixels_of(content)


def test_looking_at_a_header_leaves_the_warnings_of_other_threads_alone(monkeypatch):
    before, opened, seen = warnings.filters, Image.open, []

    def noted(*args, **kwargs):
        seen.append(warnings.filters is before)
        return opened(*args, **kwargs)

    monkeypatch.setattr(Image, "open", noted)
    assert sniffing.pixels_of(png()) > 0
    assert seen == [True]


class Pictures:
    """A fetcher that has them all."""

    def __init__(self) -> None:
        self.fetched: list[str] = []

    async def fetch(self, url: str) -> bytes:
        self.fetched.append(url)
        if "bad" in url:
            raise FetchFailed("no such picture")
        return url.encode()

    async def close(self) -> None: ...


async def test_each_url_of_a_call_is_fetched_once_and_failures_stay_apart():
    pictures = Pictures()
    url, bad = "http://x/a.png", "http://x/bad.png"
    sources = [
        Source("image", url, "input[0]"),
        Source("image", bad, "input[1]"),
        Source("text", url, "input[2]"),
        Source("query", [{"image": url, "weight": 1.0}, {"text": "a", "weight": 1.0}], "query"),
        Source("image", "aGk=", "input[4]"),
    ]
    first, second, third, fourth, fifth = await UrlImageLoader(pictures, 1000).load(sources)
    encoded = base64.b64encode(url.encode()).decode()
    assert first.value == fourth.value[0]["image"] == encoded
    assert isinstance(second, ClipServeError)
    assert second.param == "input[1]"
    assert [third, fifth] == [sources[2], sources[4]]
    assert sorted(pictures.fetched) == [url, bad]


async def test_a_call_cannot_have_more_fetched_than_it_could_send():
    sources = [Source("image", f"http://x/{place}", f"input[{place}]") for place in range(40)]
    pictures = Pictures()
    outcomes = await UrlImageLoader(pictures, 20).load(sources)
    assert 1 <= sum(isinstance(outcome, Source) for outcome in outcomes) <= 2
    assert {outcome.status for outcome in outcomes if isinstance(outcome, ClipServeError)} == {413}
    assert len(pictures.fetched) <= 8


async def test_one_callers_slow_hosts_stop_nobody_else(server, fetcher_of):
    limits = FetchLimits(timeout_s=60, concurrency=4)
    fetcher = fetcher_of(limits=limits)

    async def fetch(caller: str, path: str) -> bytes:
        set_current_trace(Trace(caller=caller))
        return await fetcher.fetch(f"http://img.example:{server.port}/{path}")

    flood = [asyncio.create_task(fetch("flood", "silent")) for _ in range(40)]
    while len(server.seen) < 3:
        await asyncio.sleep(0.01)
    assert await asyncio.create_task(fetch("calm", "good")) == png()
    for task in flood:
        task.cancel()
    await asyncio.gather(*flood, return_exceptions=True)
    assert server.busiest == 4


async def test_callers_take_turns_at_the_slots():
    slots, order = FetchSlots(1), []

    async def fetch(caller: str) -> None:
        async with slots.hold(caller):
            order.append(caller)
            await asyncio.sleep(0)

    slots._most = 9  # so that all of a caller's wait in the queue
    await asyncio.gather(*map(fetch, "aaaab"))
    assert order == ["a", "a", "b", "a", "a"]


async def test_whoever_leaves_gives_the_slot_back():
    slots = FetchSlots(2)

    async def fetch(caller: str) -> None:
        async with slots.hold(caller):
            await asyncio.sleep(60)

    tasks = [asyncio.create_task(fetch(caller)) for caller in "abcdef"]
    await asyncio.sleep(0)
    tasks[3].cancel()  # waiting
    tasks[0].cancel()  # inside
    await asyncio.sleep(0)
    tasks[2].cancel()  # its turn has just come
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    async with slots.hold("x"), slots.hold("y"):
        assert set(slots._own.keys()) == {"x", "y"}
