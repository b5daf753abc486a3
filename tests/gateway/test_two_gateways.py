"""Two gateways over one PostgreSQL: keys, jobs and costs of answers are one thing, whichever of them is asked."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TypeVar

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from clip_core.errors import AssistantUnavailable, BudgetSpent, DatabaseUnavailable, Unauthorized
from gateway.app import build
from gateway.assistant.assistant import make_language_model
from gateway.assistant.describing.kept_captions import KeptCaptions
from gateway.assistant.provider.language_model import LanguageModel
from gateway.database.postgres import Postgres
from gateway.jobs.shared_store import LEASE_S, SharedJobStore
from gateway.jobs.store import JobLost, Outcome
from gateway.keys.key_lookup import KeyLookup
from gateway.keys.key_store import SharedKeys
from gateway.settings import GatewaySettings
from scripts.commands.keys_command import keys as keys_command
from tests.gateway.fakes import picture
from tests.gateway.made_pictures import base64_of, photo
from tests.gateway.postgres_server import INSTALLED, PostgresServer
from tests.gateway.processes import Gateway
from tests.gateway.test_jobs_killed import stored
from tests.waiting import until

pytestmark = pytest.mark.skipif(not INSTALLED, reason="needs Debian's package postgresql")
T = TypeVar("T")
PICTURES, BATCH = 42, 4
AWAY = "postgresql://clipserve:s3cret@127.0.0.1:9/none"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    server = PostgresServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture
def database(server: PostgresServer) -> Iterator[Postgres]:
    """With nothing in it."""
    database = Postgres(server.url)
    with database.transaction() as transaction:
        transaction.execute("DROP SCHEMA IF EXISTS clipserve CASCADE")
    yield database
    database.close()


@pytest.fixture
def start(upstreams, server, database, tmp_path: Path) -> Iterator[Callable[[], Gateway]]:
    """Each begins a gateway with a data folder of its own; they have one database, and one folder of pictures."""
    fakes, urls = upstreams
    fakes.reset()
    (tmp_path / "photos").mkdir()
    for n in range(PICTURES):
        (tmp_path / "photos" / f"{n:02}.png").write_bytes(picture(f"w{n}"))
    secret, _ = SharedKeys(database).create("filler", ("write", "embed", "search"))
    settings = {**urls, "database_url": server.url, "ingest_roots": f"photos={tmp_path / 'photos'}"}
    settings |= {"pictures_dir": str(tmp_path / "pictures"), "pictures": "copy"}
    with ExitStack() as started:

        def begin() -> Gateway:
            data = tmp_path / f"data{time.monotonic_ns()}"
            gateway = Gateway(secret, **settings, job_batch=str(BATCH), data_dir=str(data))
            started.callback(gateway.kill)
            return gateway

        yield begin


@pytest.fixture
def two(start) -> tuple[Gateway, Gateway]:
    both = start(), start()
    assert both[0].client.put("/v1/collections/demo", json={}).status_code == 201
    return both


def begin(gateway: Gateway) -> str:
    answer = gateway.client.post("/v1/jobs", json={"collection": "demo", "source": {"folder": "photos"}})
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def half_done(gateway: Gateway, fakes) -> str:
    """A job that goes no further until `lets_pass` is None."""
    fakes.torchserve.lets_pass = 3
    job = begin(gateway)
    until(lambda: gateway.job(job)["progress"]["processed"] >= 3 * BATCH)
    until(lambda: fakes.torchserve.busy)
    return job


def is_whole(gateway: Gateway, job: str, fakes) -> bool:
    """Nothing is lost, nothing counted twice."""
    until(lambda: gateway.job(job)["state"] == "completed", 60)
    told = gateway.job(job)["progress"]
    done = {"total": PICTURES, "processed": PICTURES, "added": PICTURES, "unchanged": 0, "skipped": 0, "failed": 0}
    items = set(fakes.index.collections["demo"]["items"])
    return told == done and items == {f"{n:02}.png" for n in range(PICTURES)}


def embeds(gateway: Gateway, secret: str) -> int:
    return gateway.client.post("/v1/embeddings", json={"input": "a"}, headers={"X-API-Key": secret}).status_code


def test_a_key_works_at_both_and_stops_at_both(two, server, monkeypatch):
    """Made and revoked by the command, as everybody does it."""
    monkeypatch.setenv("CLIPSERVE_GATEWAY_DATABASE_URL", server.url)
    assert [embeds(gateway, "cs_none_x") for gateway in two] == [401, 401]
    made = CliRunner().invoke(keys_command, ["create", "shop", "--scope", "embed"])
    secret = made.stdout.split()[-1]
    time.sleep(1.05)  # the longest that a gateway takes to look again
    assert [embeds(gateway, secret) for gateway in two] == [200, 200]
    refused = [gateway.client.get("/v1/jobs", headers={"X-API-Key": secret}).status_code for gateway in two]
    assert refused == [403, 403]
    assert "shop" in CliRunner().invoke(keys_command, ["list"]).stdout
    assert CliRunner().invoke(keys_command, ["revoke", secret.split("_")[1]]).exit_code == 0
    time.sleep(1.05)
    assert [embeds(gateway, secret) for gateway in two] == [401, 401]


def test_a_job_is_seen_cancelled_and_retried_through_either(two, upstreams):
    (first, second), (fakes, _) = two, upstreams
    job = half_done(first, fakes)
    assert second.job(job) == first.job(job)
    assert [each["id"] for each in second.client.get("/v1/jobs").json()["jobs"]] == [job]
    for other in (first, second):  # one of them does not work on it
        assert other.client.delete(f"/v1/jobs/{job}").status_code == (200 if other is first else 409)
    again = second.client.post(f"/v1/jobs/{job}/retry")
    assert (again.status_code, again.json()["state"]) == (202, "queued")
    assert second.client.delete(f"/v1/jobs/{job}").json()["state"] == "cancelled"
    assert first.client.post(f"/v1/jobs/{job}/retry").status_code == 202
    fakes.torchserve.lets_pass = None
    assert is_whole(second, job, fakes)


def test_cancelled_through_the_gateway_that_does_not_work_on_it(two, upstreams):
    (first, second), (fakes, _) = two, upstreams
    second.process.send_signal(signal.SIGSTOP)  # so that the first one takes it
    job = half_done(first, fakes)
    second.process.send_signal(signal.SIGCONT)
    assert second.client.delete(f"/v1/jobs/{job}").json()["state"] == "cancelled"
    fakes.torchserve.lets_pass = None
    sent = len(stored(fakes))
    until(lambda: not fakes.torchserve.busy)
    time.sleep(LEASE_S / 4)
    assert first.job(job)["state"] == "cancelled"
    assert first.job(job)["progress"]["processed"] == 3 * BATCH
    assert len(stored(fakes)) <= sent + BATCH


@pytest.mark.parametrize("end", ["killed", "stopped"])
def test_the_other_gateway_goes_on_with_the_job_of_one_that_ends(start, upstreams, end):
    fakes, _ = upstreams
    first = start()
    assert first.client.put("/v1/collections/demo", json={}).status_code == 201
    job = half_done(first, fakes)
    second = start()
    fakes.torchserve.lets_pass = None if end == "stopped" else fakes.torchserve.lets_pass
    ended = time.monotonic()
    if end == "killed":
        first.kill()
    else:
        first.stop()
    fakes.torchserve.lets_pass = None
    assert is_whole(second, job, fakes)
    assert time.monotonic() - ended < LEASE_S + 10
    assert set(Counter(stored(fakes)).values()) <= {1, 2}


@pytest.mark.slow
def test_a_gateway_that_slept_through_its_lease_changes_nothing(start, upstreams):
    fakes, _ = upstreams
    first = start()
    assert first.client.put("/v1/collections/demo", json={}).status_code == 201
    job = half_done(first, fakes)
    second = start()
    first.process.send_signal(signal.SIGSTOP)
    fakes.torchserve.lets_pass = None
    assert is_whole(second, job, fakes)
    first.process.send_signal(signal.SIGCONT)
    time.sleep(3)
    assert is_whole(first, job, fakes)


def test_a_picture_that_one_keeps_the_other_shows(start, tmp_path):
    """Of an upload, which is nowhere else."""
    first, second = start(), start()
    assert first.client.put("/v1/collections/demo", json={}).status_code == 201
    body = {"items": [{"id": "a", "image": base64_of(photo())}]}
    assert first.client.post("/v1/collections/demo/items", json=body).status_code == 200
    for what in ("thumbnail", "picture"):
        shown = [each.client.get(f"/v1/collections/demo/items/a/{what}") for each in (first, second)]
        assert [each.status_code for each in shown] == [200, 200], what
        assert shown[0].content == shown[1].content
    assert (tmp_path / "pictures" / "thumbnails").is_dir()


def test_while_the_database_is_away_the_rest_goes_on(two, upstreams, server):
    (first, second), (fakes, _) = two, upstreams
    job = half_done(first, fakes)
    server.stop()
    try:
        time.sleep(1.05)  # they look for new keys again
        assert [gateway.client.get("/v1/collections").status_code for gateway in two] == [200, 200]
        refused = first.client.get(f"/v1/jobs/{job}")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "database_unavailable")
        assert refused.headers["Retry-After"] == "1"
        fakes.torchserve.lets_pass = None
    finally:
        server.start()
    until(lambda: second.client.get(f"/v1/jobs/{job}").status_code == 200)
    assert is_whole(second, job, fakes)


def test_a_start_without_the_database_lets_nobody_in(upstreams, tmp_path):
    """It may hold keys. Once it answers, the gateway knows."""
    settings = GatewaySettings(**upstreams[1], database_url=AWAY, data_dir=tmp_path, api_keys="k")
    with TestClient(build(settings)) as client:
        assert client.get("/v1/collections").status_code == 401
        unknown = client.get("/v1/collections", headers={"X-API-Key": "cs_1_x"})
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (503, "database_unavailable")
        assert client.get("/v1/collections", headers={"X-API-Key": "k"}).status_code == 200
        assert "s3cret" not in unknown.text + repr(settings)


async def test_keys_are_known_once_the_database_is(server, database):
    """And a key that another gateway made a moment ago is looked for before its job is given up."""
    server.stop()
    keys = KeyLookup((), SharedKeys(database))
    assert keys
    started = time.monotonic()
    for _ in range(20):
        await keys.refresh()
    assert time.monotonic() - started < 1  # nobody waits for a database that is known to be away
    with pytest.raises(DatabaseUnavailable):
        await keys.find("1")
    server.start()
    secret, key = await asyncio.to_thread(once_it_answers, lambda: SharedKeys(database).create("shop", ("embed",)))
    until_known = time.monotonic() + 20
    while not keys._read and time.monotonic() < until_known:
        await keys.refresh()
        await asyncio.sleep(0.1)
    assert keys.identify(secret) == key
    _, later = await asyncio.to_thread(SharedKeys(database).create, "later", ("embed",))
    assert await keys.find(later.id) == later
    with pytest.raises(Unauthorized):
        await keys.find("none")


def once_it_answers(work: Callable[[], T]) -> T:
    def tried() -> T | None:
        with suppress(DatabaseUnavailable):
            return work()
        return None

    found = until(tried)
    assert found is not None
    return found


def test_a_lease_that_is_lost_is_told_with_the_next_write(database):
    first, second = SharedJobStore(database, lease_s=0.2), SharedJobStore(database)
    made = first.add("demo", {"folder": "photos"}, None)
    assert (first.claim(), second.claim()) == (made.id, None)
    job = first.begin_pass(made.id)
    until(lambda: second.claim() == made.id)
    assert first.renew() == []
    with pytest.raises(JobLost):
        first.advance(job, "demo x", [Outcome("a", "added")], 1.0)
    with pytest.raises(JobLost):
        first.update(job.id, state="completed")
    assert second.counts(job.id) == {}
    second.release()
    assert first.claim() == made.id


def test_racing_gateways_take_each_job_once(database):
    stores = [SharedJobStore(database) for _ in range(4)]
    made = [stores[0].add("demo", {"folder": "photos"}, None).id for _ in range(8)]
    taken = [store.claim() for _ in range(3) for store in stores]
    assert sorted(filter(None, taken)) == sorted(made)


def test_names_that_postgresql_cannot_hold_are_written_all_the_same(database):
    store = SharedJobStore(database)
    store.add("demo", {"folder": "photos"}, None)
    job = store.begin_pass(store.claim())
    store.advance(job, "demo x", [Outcome(name, "failed", "x", "{}") for name in ("a\0b", "a\udcffb")], 1.0)
    assert [each.item for each in store.set_aside(job.id)] == ["a\\x00b", "a\\udcffb"]


def test_a_database_of_a_newer_version_is_named(database, server):
    SharedJobStore(database).unfinished()
    with database.transaction() as transaction:
        transaction.execute("UPDATE versions SET version = 9")
    with closing(Postgres(server.url)) as later, pytest.raises(DatabaseUnavailable, match="newer clipserve"):
        SharedJobStore(later).unfinished()


@pytest.fixture
def language_models(server, database, tmp_path) -> Iterator[list[LanguageModel]]:
    """Of two gateways with one cap."""
    model = {"llm_url": "http://127.0.0.1:9/v1", "llm_model": "m", "llm_usd_per_day": 1.0}
    with closing(Postgres(server.url)) as other:
        each = enumerate((database, other))
        yield [make_language_model(GatewaySettings(**model, data_dir=tmp_path / str(n)), at) for n, at in each]


async def test_a_cap_on_answers_is_kept_together(language_models):
    """Also by callers who ask both at once; 0.125 is exact in binary."""
    spendings = [model.spending for model in language_models]
    asked = [spendings[n % 2].reserve(f"key{n % 3}", 0.125) for n in range(24)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    refused = [each for each in outcomes if isinstance(each, BudgetSpent)]
    reserved = [each for each in outcomes if not isinstance(each, BaseException)]
    assert (len(reserved), len(refused)) == (8, 16)
    assert str(refused[0]).startswith("these gateways together may spend 1 USD a day")
    await spendings[1].settle(reserved[0], 0.0, 5)
    assert sum((await spendings[0].of_today()).values()) == 0.875
    await spendings[0].reserve("key", 0.125)
    for model in language_models:
        await model.close()


async def test_a_caption_that_one_paid_for_is_free_at_the_other(server, database, tmp_path):
    with closing(Postgres(server.url)) as other:
        first, second = KeptCaptions(tmp_path / "a.db", database), KeptCaptions(tmp_path / "b.db", other)
        assert await first.get("digest") is None
        await first.put("digest", "a dog", "m")
        await first.put("digest", "a red dog", "m")
        assert await second.get("digest") == ("a red dog", "m")
    assert list(tmp_path.iterdir()) == []


async def test_captions_of_before_the_database_are_not_paid_for_again(database, tmp_path):
    with closing(KeptCaptions(tmp_path / "captions.db")) as alone:
        await alone.put("of before", "a blue dog", "m")
    with closing(KeptCaptions(tmp_path / "captions.db", database)) as shared:
        assert await shared.get("of before") == ("a blue dog", "m")


async def test_no_answer_is_paid_for_while_the_database_is_away(tmp_path):
    """Where there is a cap; captions that were kept are only missing."""
    settings = {"llm_url": "http://127.0.0.1:9/v1", "llm_model": "m", "llm_usd_per_day": 1.0}
    with closing(Postgres(AWAY)) as away:
        model = make_language_model(GatewaySettings(**settings, data_dir=tmp_path), away)
        with pytest.raises(AssistantUnavailable, match="what was spent"):
            await model._reserve("key", 0.1)
        assert await KeptCaptions(tmp_path / "captions.db", away).get("digest") is None
        await model.close()


@pytest.mark.parametrize("url", ["nonsense", "mysql://a:s3cret@b/c", "postgresql://a:s3cret@b:port/c", " "])
def test_a_malformed_url_is_named_without_its_password(url):
    with pytest.raises(ValueError, match="PostgreSQL URL") as refused:
        GatewaySettings(database_url=url)
    assert "s3cret" not in str(refused.value)


def test_keys_are_in_one_place(tmp_path):
    with pytest.raises(ValueError, match="exclude each other"):
        GatewaySettings(database_url=AWAY, keys_file=tmp_path / "keys.db")
