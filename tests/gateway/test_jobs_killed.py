"""A gateway that is killed in the middle of a job: the next one goes on, loses nothing and counts nothing twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.keys.key_store import KeyStore
from tests.gateway.conftest import Upstreams
from tests.gateway.fakes import picture
from tests.gateway.processes import Gateway
from tests.waiting import until

pytestmark = pytest.mark.slow
PICTURES, BATCH = 42, 4


@pytest.fixture
def start(upstreams: tuple[Upstreams, dict[str, str]], tmp_path: Path) -> Iterator[Callable[[], Gateway]]:
    """`start()` begins a gateway before the fakes; every one has the same record, keys and folder of pictures."""
    fakes, urls = upstreams
    fakes.reset()
    (tmp_path / "photos").mkdir()
    for n in range(PICTURES):
        (tmp_path / "photos" / f"{n:02}.png").write_bytes(picture(f"w{n}"))
    secret, _ = KeyStore(tmp_path / "keys.db").create("filler", ("write",), collections=("demo",))
    places = {"data_dir": str(tmp_path / "data"), "keys_file": str(tmp_path / "keys.db")}
    settings = {**urls, **places, "ingest_roots": f"photos={tmp_path / 'photos'}", "job_batch": str(BATCH)}
    with ExitStack() as started:

        def begin() -> Gateway:
            gateway = Gateway(secret, **settings)
            started.callback(gateway.kill)
            return gateway

        yield begin


@pytest.mark.parametrize("moment", ["the model works on a batch", "a batch is stored and not yet recorded"])
def test_the_next_gateway_finishes_the_job(start, upstreams, moment) -> None:
    fakes, _ = upstreams
    gateway = start()
    assert gateway.client.put("/v1/collections/demo", json={}).status_code == 201
    if moment == "the model works on a batch":
        fakes.torchserve.lets_pass = 3
    else:
        fakes.index.answers_upserts = 3
    begun = gateway.client.post("/v1/jobs", json={"collection": "demo", "source": {"folder": "photos"}}).json()
    until(lambda: gateway.job(begun["id"])["progress"]["processed"] >= 3 * BATCH)
    held = fakes.torchserve if moment == "the model works on a batch" else fakes.index
    until(lambda: held.busy if held is fakes.torchserve else len(stored(fakes)) == 4 * BATCH)
    gateway.kill()
    fakes.torchserve.lets_pass = fakes.index.answers_upserts = None
    again = start()
    until(lambda: again.job(begun["id"])["state"] == "completed")
    done = {"total": PICTURES, "processed": PICTURES, "added": PICTURES, "unchanged": 0, "skipped": 0, "failed": 0}
    assert again.job(begun["id"])["progress"] == done
    assert set(fakes.index.collections["demo"]["items"]) == {f"{n:02}.png" for n in range(PICTURES)}
    written = Counter(stored(fakes))
    assert set(written.values()) <= {1, 2}
    twice = [name for name, count in written.items() if count == 2]
    assert twice == ([] if held is fakes.torchserve else [f"{n:02}.png" for n in range(3 * BATCH, 4 * BATCH)])


def stored(fakes: Upstreams) -> list[str]:
    """The ids of all items that were ever sent to the index."""
    calls = [body for method, path, body in fakes.index.calls if method == "POST" and path.endswith("/items")]
    return [item["id"] for body in calls for item in body["items"]]
