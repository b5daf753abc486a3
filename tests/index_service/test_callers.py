"""Pages of other sites get nothing from the index service, programs that call it by its name get everything."""

from __future__ import annotations

import http.client
from pathlib import Path

import httpx
import pytest

from clip_core.errors import ClipServeError, Forbidden, UnsupportedMediaType
from index_service.http.callers import CallerCheck
from tests.index_service.helpers import Service

SEARCH = b'{"searches":[]}'


def checked(host: str, *, listens: str = "127.0.0.1", names: tuple[str, ...] = (), path: str = "/search") -> bool:
    """Whether a request with this Host is answered."""
    headers = [(b"host", host.encode("latin-1"))]
    try:
        CallerCheck(listens, names).check(path, headers, dict(headers))
    except Forbidden:
        return False
    return True


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8090", "127.3.2.1:1", "localhost", "LocalHost.:8090", "[::1]", "[::1]:8090", "[0:0::1]"],
)
def test_loopback_is_always_called_by_its_names(host: str) -> None:
    assert checked(host)
    assert checked(host, listens="10.1.2.3")


@pytest.mark.parametrize(
    "host",
    [
        "evil.test",
        "evil.test:8090",
        "127.0.0.1.evil.test",
        "localhost.evil.test:8090",
        "evil.test:127.0.0.1",
        "localhost:8090:x",
        "10.1.2.3",
        "[fe80::1]:8090",
        "*",
        "",
        ":8090",
        "[]",
        "127.0.0.1@evil.test",
        "löcalhost",
    ],
)
def test_another_name_is_refused_but_for_probes(host: str) -> None:
    assert not checked(host)
    assert all(checked(host, path=probe) for probe in ("/healthz", "/readyz", "/metrics"))


def test_names_are_a_setting() -> None:
    names = ("index", "Index.prod.svc")
    assert all(checked(host, names=names) for host in ("index:8090", "INDEX", "index.prod.svc.", "index.prod.svc:80"))
    assert not any(checked(host, names=names) for host in ("index2", "x.index", "prod.svc"))
    assert checked("anything.test:1", names=("*",))
    assert checked("idx.internal:8090", listens="idx.internal")


def test_a_service_on_all_addresses_is_called_by_any_address_but_not_by_any_name() -> None:
    for listens in ("0.0.0.0", "::"):
        assert checked("10.1.2.3:8090", listens=listens)
        assert checked("[fe80::1]:8090", listens=listens)
        assert not checked("evil.test:8090", listens=listens)


@pytest.mark.parametrize(
    ("extra", "status"),
    [
        ({"Origin": "http://evil.test"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:8090"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": "evil.test"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "text/plain; application/json"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
        ({"Content-Type": ""}, 415),
        ({"Content-Type": "application/json; charset=utf-8"}, 200),
        ({"Content-Type": "Application/Vnd.api+JSON"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
    ],
)
async def test_what_a_page_may_send_is_refused(client: httpx.AsyncClient, extra: dict[str, str], status: int) -> None:
    answer = await client.post("/search", content=SEARCH, headers=extra)
    assert (answer.status_code, "error" in answer.json()) == (status, status != 200)
    if status != 415:
        assert (await client.get("/collections", headers=extra)).status_code == status


def test_a_body_without_a_type_is_refused_whatever_its_length_is_told_by() -> None:
    check = CallerCheck("127.0.0.1", ()).check
    for told in ((b"content-length", b"3"), (b"transfer-encoding", b"chunked")):
        headers = [(b"host", b"localhost"), told]
        with pytest.raises(UnsupportedMediaType):
            check("/search", headers, dict(headers))
    twice = [(b"host", b"evil.test"), (b"host", b"localhost")]
    with pytest.raises(ClipServeError, match="more than one"):
        check("/search", twice, dict(twice))


def test_the_real_process_keeps_what_a_page_would_have_deleted(tmp_path: Path) -> None:
    service = Service(tmp_path, allowed_hosts="index, index.svc")
    try:
        url = httpx.URL(service.url())
        with httpx.Client(base_url=url) as client:
            client.put("/collections/a", json={"model": "m", "fingerprint": "f", "dim": 2})
            body = '{"filter": {"n": {"$exists": false}}}'
            sent = {"Content-Type": "text/plain", "Origin": "http://evil.test"}
            assert client.post("/collections/a/items/delete", content=body, headers=sent).status_code == 403
            assert client.get("/collections", headers={"Host": "evil.test"}).status_code == 403
            assert client.get("/collections", headers={"Host": "index.svc:80"}).json()["collections"][0]["name"] == "a"
        bare = http.client.HTTPConnection(url.host, url.port)
        bare.putrequest("GET", "/collections", skip_host=True)
        bare.endheaders()
        assert bare.getresponse().status == 403
        bare.close()
    finally:
        service.kill()
