"""The main job through the images of the gateway and the index service, with TorchServe of this checkout.

Its own image takes gigabytes: test_compose_stack.py has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.ship.engine import LOCKED_DOWN, DockerEngine
from benchmarks.ship.pods import Pods
from scripts.archive.build import build
from scripts.stack.live_stack import free_ports
from tests.waiting import until

_KEY = "main-job"
_HERE = ("--network", "host", "--no-healthcheck", *LOCKED_DOWN)  # the health check asks the usual port
_START_S = 120.0


@pytest.fixture
def pods(tmp_path: Path) -> Iterator[Pods]:
    """With the demo's archives, its captioner too."""
    build("demo", model_store=tmp_path / "store", quick=True)
    found = Pods(tmp_path, tmp_path / "store", {"index": free_ports(1)[0]})
    yield found
    found.end()


def environment(part: str, **settings: object) -> list[str]:
    told = {"HOST": "127.0.0.1", **settings}
    return [word for name, value in told.items() for word in ("--env", f"CLIPSERVE_{part}_{name}={value}")]


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=20).status_code == 200
    except httpx.TransportError:
        return False


def test_items_go_in_are_found_and_captioned(
    docker: DockerEngine, image: Callable[[str], str], pods: Pods, tmp_path: Path
) -> None:
    images = image("index"), image("gateway")
    encoder, port, index = pods.encoder(), free_ports(1)[0], pods.services["index"]
    keys = tmp_path / "keys"
    keys.write_text(_KEY)
    keys.chmod(0o644)
    served, managed = f"http://127.0.0.1:{encoder.port}", f"http://127.0.0.1:{encoder.management_port}"
    given = environment(
        "GATEWAY", PORT=port, TORCHSERVE_URL=served, MANAGEMENT_URL=managed, INDEX_URL=f"http://127.0.0.1:{index}"
    )
    secret = ("--volume", f"{keys}:/run/secrets/clipserve_gateway_api_keys:ro")
    with (
        docker.container(images[0], *_HERE, *environment("INDEX", PORT=index)),
        docker.container(images[1], *_HERE, *secret, *given) as gateway,
    ):
        encoder.wait_ready()
        url = f"http://127.0.0.1:{port}"
        until(lambda: answers(f"{url}/readyz"), _START_S)
        said = docker("exec", gateway, "python3", "-I", "/opt/clipserve/main_job.py", url)
        assert "filled, searched and dropped; a picture was captioned: " in said
