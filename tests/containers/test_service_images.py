"""The images of the gateway and the index service as they run: without root, with nothing to write but their data."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager

import httpx
import pytest

from benchmarks.ship.engine import LOCKED_DOWN, DockerEngine
from tests.sync.conftest import KEY, s3_url

__all__ = ["s3_url"]
Image = Callable[[str], str]
SERVICES = ("gateway", "index")
_MOST_MB = 400
_HEALTH = "{{.State.Health.Status}}"
_EXITED = "{{.State.Status}} {{.State.ExitCode}}"
_PORTS = {"gateway": 8000, "index": 8090}
_KEY = ("--env", "CLIPSERVE_GATEWAY_API_KEYS=secret")
_VECTOR = [1.0, 0.0, 0.0]


def run(docker: DockerEngine, image: Image, target: str, *options: str) -> AbstractContextManager[str]:
    publish = ("--publish", f"127.0.0.1::{_PORTS[target]}")
    return docker.container(image(target), *LOCKED_DOWN, *publish, *options)


@pytest.mark.parametrize("target", SERVICES)
def test_size(docker: DockerEngine, image: Image, target: str, record_property: Callable[[str, object], None]) -> None:
    megabytes = int(docker.inspect(image(target), "{{.Size}}")) / 1e6
    record_property("megabytes", round(megabytes))
    print(f"\n{target}: {megabytes:.0f} MB")
    assert megabytes <= _MOST_MB


@pytest.mark.parametrize("target", SERVICES)
def test_what_an_image_says_of_itself(docker: DockerEngine, image: Image, target: str) -> None:
    config = json.loads(docker.inspect(image(target), "{{json .Config}}"))
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"][:2] == ["tini", "--"]
    assert config["Healthcheck"]["Test"][0] == "CMD"  # no shell
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert {"org.opencontainers.image.title", "org.opencontainers.image.version"} <= set(config["Labels"])


@pytest.mark.parametrize("target", SERVICES)
def test_what_it_is_made_of(docker: DockerEngine, image: Image, target: str) -> None:
    options = (*LOCKED_DOWN, "--rm", "--entrypoint", "cat")
    bill = json.loads(docker("run", *options, image(target), "/opt/clipserve/sbom.json"))
    names = {each["name"] for each in bill["components"]}
    assert {"numpy", "uvicorn", "tini"} <= names
    assert not names & {"torch", "torchvision", "transformers", "pip"}
    licences = docker("run", *options, image(target), "/opt/clipserve/licences.txt")
    assert len(licences.splitlines()) == len(bill["components"])


@pytest.mark.parametrize("target", SERVICES)
def test_modules_that_are_imported_late(docker: DockerEngine, image: Image, target: str) -> None:
    code = "import pyarrow.parquet, pyarrow.dataset, importlib.util as u; assert u.find_spec('torch') is None"
    docker("run", *LOCKED_DOWN, "--rm", "--entrypoint", "python3", image(target), "-c", code)


def test_the_gateway_without_keys(docker: DockerEngine, image: Image) -> None:
    said = docker("run", *LOCKED_DOWN, "--rm", image("gateway"), check=False)
    assert said.startswith("gateway: host 0.0.0.0 is reachable from other machines and there are no API keys")
    assert len(said.splitlines()) == 1


def test_the_gateway_alone(docker: DockerEngine, image: Image) -> None:
    with run(docker, image, "gateway", *_KEY) as container:
        docker.wait(container, _HEALTH, "healthy")
        ready = httpx.get(f"{docker.address(container, 8000)}/readyz")
        assert ready.status_code == 503
        assert "index" in ready.json()["parts"]
        docker("stop", container)
        assert docker.inspect(container, _EXITED) == "exited 0"


ITEM = {"id": "a", "vector": _VECTOR, "metadata": {"n": 1}}


def fill(index: httpx.Client) -> None:
    assert index.put("/collections/c", json={"model": "m", "fingerprint": "f", "dim": 3}).status_code == 201
    added = index.post("/collections/c/items", json={"fingerprint": "f", "items": [ITEM]})
    assert added.json()["results"][0]["status"] < 300


def test_the_index_keeps_what_it_acknowledged(docker: DockerEngine, image: Image) -> None:
    with run(docker, image, "index") as container:
        docker.wait(container, _HEALTH, "healthy")
        with httpx.Client(base_url=docker.address(container, 8090)) as index:
            fill(index)
        docker("kill", container)
        docker("start", container)
        docker.wait(container, _HEALTH, "healthy")
        with httpx.Client(base_url=docker.address(container, 8090)) as index:
            assert index.get("/collections/c/items/a").json()["metadata"] == {"n": 1}
            assert index.post("/collections/c/snapshots").status_code < 300
        docker("stop", container)
        assert docker.inspect(container, _EXITED) == "exited 0"


_KEEPS = """
import sys, fsspec
from gateway.pictures.bucket import BucketStore
fsspec.filesystem("s3").mkdir("images")
store, digest = BucketStore("s3://images/pictures", 1000), "ab" * 32
store.write(digest, {256: b"small"})
store.measure()
assert (store.read(digest, 256), store.has(digest, (256,)), store.bytes) == (b"small", True, 5)
assert store.remove_unused(lambda _: False, -10) == 1
"""


def test_thumbnails_in_object_storage(docker: DockerEngine, image: Image, s3_url: str) -> None:
    """On a server that speaks S3, with what the image keeps of S3's client."""
    given = {"AWS_ACCESS_KEY_ID": KEY["key"], "AWS_SECRET_ACCESS_KEY": KEY["secret"], "AWS_ENDPOINT_URL": s3_url}
    told = [word for name, value in given.items() for word in ("--env", f"{name}={value}")]
    options = (*LOCKED_DOWN, "--network", "host", "--rm", *told, "--entrypoint", "python3")
    docker("run", *options, image("gateway"), "-c", _KEEPS)


def test_object_storage_whose_client_is_not_there(docker: DockerEngine, image: Image) -> None:
    url = "CLIPSERVE_GATEWAY_PICTURES_URL=gs://bucket/pictures"
    said = docker("run", *LOCKED_DOWN, "--rm", *_KEY, "--env", url, image("gateway"), check=False)
    assert said.startswith("gateway: CLIPSERVE_GATEWAY_PICTURES_URL: gs://bucket/pictures: ")
    assert said.endswith("pip install gcsfs; the gateway's image has s3fs only")
    assert len(said.splitlines()) == 1


def test_a_disk_that_can_not_be_written(docker: DockerEngine, image: Image) -> None:
    """One line that says what to do, and no traceback; the same for a folder of another user."""
    for options in (("--mount", "type=tmpfs,destination=/data,readonly"), ("--tmpfs", "/data:uid=0,mode=0700")):
        for target in SERVICES:
            said = docker("run", *LOCKED_DOWN, *_KEY, *options, "--rm", image(target), check=False)
            assert "/data" in said, said
            assert "Traceback" not in said
            assert len(said.splitlines()) == 1, said
