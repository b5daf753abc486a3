"""Thumbnails in object storage: the same promises as in a folder, on a server that speaks S3."""

from __future__ import annotations

import base64
import io
import sys
import time
from collections.abc import Iterator
from typing import Any

import fsspec
import pytest
from PIL import Image
from pydantic import ValidationError

from clip_core.errors import StorageFull
from gateway.pictures import bucket
from gateway.pictures.bucket import BucketStore, NoFileSystem
from gateway.pictures.originals import DIGEST
from gateway.settings import GatewaySettings
from tests.sync.conftest import KEY, s3_url

__all__ = ["s3_url"]
s3fs = pytest.importorskip("s3fs", reason="make setup-test")
ONE, OTHER = "ab" * 32, "cd" * 32


@pytest.fixture
def store(s3_url: str, request: pytest.FixtureRequest) -> BucketStore:
    options = {**KEY, "endpoint_url": s3_url}
    name = request.node.name.replace("_", "-")[:50].strip("-")
    s3fs.S3FileSystem(**options, skip_instance_cache=True).mkdir(name)
    return BucketStore(f"s3://{name}/pictures", 1000, options)


def test_what_is_written_is_read_and_counted(store: BucketStore) -> None:
    assert (store.read(ONE, 256), store.has(ONE, (256,)), store.last_copy()) == (None, False, 0)
    store.write(ONE, {256: b"x" * 10, 768: b"y" * 5})
    store.write(OTHER, {256: b"z"})
    assert (store.read(ONE, 768), store.has(ONE, (256, 768)), store.has(OTHER, (256, 768))) == (b"y" * 5, True, False)
    with pytest.raises(StorageFull):
        store.write("ef" * 32, {256: b"x" * 985})
    assert store.bytes == 16
    store.bytes = 0
    store.measure()
    assert store.bytes == 16
    store.note_copy()
    first = store.last_copy()
    store.note_copy()
    assert len({0, first, store.last_copy()}) == 3


def test_only_old_and_unused_ones_are_removed(store: BucketStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write(ONE, {256: b"x"})
    store.write(OTHER, {256: b"z"})
    assert store.remove_unused(lambda digest: digest == ONE, 3600) == 0
    monkeypatch.setattr(bucket, "_WRITTEN_AGAIN_S", -10.0)  # they are old: what is wanted now counts as new
    before = store._fs.info(store._path(ONE, 256))["LastModified"]
    time.sleep(1.1)  # S3 tells whole seconds
    store.want([ONE, "ef" * 32], (256, 768))
    assert store._fs.info(store._path(ONE, 256))["LastModified"] > before
    assert store.remove_unused(lambda digest: digest == ONE, -10) == 1
    assert (store.read(ONE, 256), store.read(OTHER, 256), store.bytes) == (b"x", None, 1)


def test_a_bucket_that_is_away_is_no_error_of_a_search(s3_url: str) -> None:
    away = BucketStore("s3://none-such-bucket/pictures", 1000, {**KEY, "endpoint_url": s3_url})
    assert away.read(ONE, 256) is None
    with pytest.raises(OSError, match="bucket"):
        away.write(ONE, {256: b"x"})
    with pytest.raises(NoFileSystem, match="nonsense"):
        BucketStore("nonsense://a/b", 1)


@pytest.mark.parametrize(("address", "package"), [("gs://a/b", "gcsfs"), ("az://a/b", "adlfs")])
def test_a_package_that_is_missing_is_named(address: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(NoFileSystem, match=f"^{address}: .*: pip install {package}; the gateway's image has s3fs only"):
        BucketStore(address, 1)


@pytest.mark.parametrize("address", ["bucket/pictures", "s3://", "s3:///"])
def test_an_address_without_a_bucket(address: str) -> None:
    with pytest.raises(NoFileSystem, match="names no bucket"):
        BucketStore(address, 1)


@pytest.fixture
def memory() -> Iterator[Any]:
    found = fsspec.filesystem("memory")
    yield found
    if found.exists("/kept"):
        found.rm("/kept", recursive=True)


def test_a_gateway_shows_them(stack_of: Any, memory: Any) -> None:
    written = io.BytesIO()
    Image.new("RGB", (900, 300), "red").save(written, "PNG")
    stack = stack_of(pictures_url="memory://kept")
    stack.client.put("/v1/collections/demo", json={})
    image = "data:image/png;base64," + base64.b64encode(written.getvalue()).decode()
    added = stack.client.post("/v1/collections/demo/items", json={"items": [{"id": "a", "image": image}]})
    assert added.status_code == 200, added.text
    digest = stack.index.collections["demo"]["items"]["a"]["metadata"][DIGEST]
    assert memory.find("/kept") == [f"/kept/thumbnails/{digest[:2]}/{digest}.{size}.webp" for size in (256, 768)]
    shown = stack.client.get("/v1/collections/demo/items/a/thumbnail?size=256")
    assert (shown.status_code, Image.open(io.BytesIO(shown.content)).size) == (200, (256, 85))
    assert stack.client.get("/v1/collections/demo/items/a/picture").status_code == 404
    memory.rm("/kept/thumbnails", recursive=True)
    gone = stack.client.get("/v1/collections/demo/items/a/thumbnail?size=768")
    assert gone.json()["error"]["code"] == "picture_not_found"


def test_originals_are_not_kept_in_a_bucket() -> None:
    with pytest.raises(ValidationError, match="leave out pictures=copy"):
        GatewaySettings(pictures_url="s3://x/y", pictures="copy")
