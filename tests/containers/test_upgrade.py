"""Images of the release before, replaced by these over the same volumes: what was acknowledged is still there."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack

import httpx
import pytest

from benchmarks.ship.engine import LOCKED_DOWN, DockerEngine
from tests.containers.test_service_images import ITEM, fill
from tests.waiting import until

pytestmark = pytest.mark.full  # it builds images twice
Image = Callable[[str], str]
_KEY = "upgrade-test-key"
_SEARCH = {"fingerprint": "f", "searches": [{"collection": "c", "vector": ITEM["vector"], "k": 1}]}


class Pair:
    """An index service and a gateway of one image each, on the network and the volumes of `name`."""

    def __init__(self, docker: DockerEngine, name: str) -> None:
        self._docker, self._name = docker, name

    def start(self, image: Image, held: ExitStack) -> tuple[httpx.Client, httpx.Client]:
        """Clients of both; `held` ends the containers."""
        index = self._run(image("index"), "index", 8090, "CLIPSERVE_INDEX_ALLOWED_HOSTS=index")
        settings = ("API_KEYS=" + _KEY, "INDEX_URL=http://index:8090", "FETCH_URLS=true")
        gateway = self._run(
            image("gateway"), "gateway", 8000, *(f"CLIPSERVE_GATEWAY_{setting}" for setting in settings)
        )
        found = []
        for made, port in ((index, 8090), (gateway, 8000)):
            container = held.enter_context(made)
            self._docker.wait(container, "{{.State.Health.Status}}", "healthy")
            headers = {"Authorization": f"Bearer {_KEY}"}
            client = httpx.Client(base_url=self._docker.address(container, port), headers=headers, timeout=30)
            found.append(held.enter_context(client))
        return found[0], found[1]

    def _run(self, image: str, part: str, port: int, *settings: str) -> AbstractContextManager[str]:
        network = ("--network", self._name, "--network-alias", part)
        where = ("--volume", f"{self._name}-{part}:/data", "--publish", f"127.0.0.1::{port}")
        told = [word for setting in settings for word in ("--env", setting)]
        return self._docker.container(image, *LOCKED_DOWN, *network, *where, *told)


@pytest.fixture
def pair(docker: DockerEngine) -> Iterator[Pair]:
    name = f"upgrade-{uuid.uuid4().hex[:8]}"
    docker("network", "create", name)
    yield Pair(docker, name)
    docker("network", "rm", name)
    docker("volume", "rm", "--force", f"{name}-index", f"{name}-gateway")


def test_an_upgrade_keeps_items_and_jobs(pair: Pair, image: Image, previous: Image) -> None:
    with ExitStack() as held:
        index, gateway = pair.start(previous, held)
        fill(index)
        source = {"urls": ["http://192.0.2.1/a.png"]}  # nobody is there
        begun = gateway.post("/v1/jobs", json={"collection": "c", "source": source})
        assert begun.status_code == 202, begun.text
        job = begun.json()["id"]
        until(lambda: gateway.get(f"/v1/jobs/{job}").json()["state"] == "running")
    with ExitStack() as held:
        index, gateway = pair.start(image, held)
        assert index.get("/collections/c/items/a").json()["metadata"] == ITEM["metadata"]
        (found,) = index.post("/search", json=_SEARCH).json()["results"]
        assert [hit["id"] for hit in found["hits"]] == ["a"]
        assert [each["id"] for each in gateway.get("/v1/jobs").json()["jobs"]] == [job]
        assert gateway.delete(f"/v1/jobs/{job}").status_code in (200, 409)  # 409: it went on, and has ended
        ended = gateway.get(f"/v1/jobs/{job}").json()
        assert (ended["collection"], ended["state"] in ("cancelled", "completed", "failed")) == ("c", True)
