"""A run that writes into a bucket, on a server that speaks S3."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
import typer
from pyarrow import parquet

from gateway.pictures.bucket import BucketStore
from gateway.pictures.store import PictureStore
from scripts.bulk import worker
from scripts.bulk.output import lease
from scripts.bulk.output.folder import OutputFolder
from scripts.bulk.output.lease import Lease
from scripts.bulk.output.place import LOCK, OutputPlace, write_text
from scripts.bulk.output.remote import OutputBucket
from scripts.bulk.shards.errors import BulkFailed, BulkRefused
from scripts.commands.bulk_command import folder_or_bucket
from tests.bulk.conftest import Bulk
from tests.sync.conftest import KEY, s3_url

__all__ = ["s3_url"]
s3fs = pytest.importorskip("s3fs", reason="make setup-test")


class Out:
    """A bucket of its own, and a run's files in it."""

    def __init__(self, endpoint: str, name: str) -> None:
        self.options = {**KEY, "endpoint_url": endpoint}
        self.fs = s3fs.S3FileSystem(**self.options, skip_instance_cache=True, use_listings_cache=False)
        self.fs.mkdir(name)
        self.url = f"s3://{name}/vectors"

    def names(self) -> set[str]:
        return {path.partition("/vectors/")[2] for path in self.fs.find(self.url)}

    def rows(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name in self.names():
            if name.startswith("part-"):
                table = parquet.read_table(pyarrow.BufferReader(self.fs.cat_file(f"{self.url}/{name}")))
                found |= {row["id"]: row["vector"] for row in table.to_pylist()}
        return found


@pytest.fixture
def out(s3_url: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Out:
    monkeypatch.setattr(lease, "EVERY_S", 1.0)  # a busy machine writes a lock three times in that
    return Out(s3_url, re.sub("[^a-z]+", "-", request.node.name.removeprefix("test_"))[:50].strip("-"))


def test_a_run_into_a_bucket_goes_on_there(bulk: Bulk, photos: Path, out: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = worker.ShardWorker._rows, [0]

    def ends_its_process(self: worker.ShardWorker, chunk: Any) -> Any:
        calls[0] += 1
        if calls[0] == 2:
            raise KeyboardInterrupt
        return real(self, chunk)

    (photos / "bad.jpg").write_bytes(b"no picture")
    options = {"out": out.url, "out_storage": out.options}
    with monkeypatch.context() as patched:
        patched.setattr(worker.ShardWorker, "_rows", ends_its_process)
        with pytest.raises(KeyboardInterrupt):
            bulk(photos, **options)
    assert {name for name in out.names() if name.startswith("part-")} == {"part-00000.parquet"}
    ended, progress = bulk(photos, dedupe=0.99, **options)
    assert (progress.before, len(progress.ended), ended.totals.rows, ended.again) == (1, 2, 10, [])
    assert {"bad.parquet", "duplicates.parquet", "summary.html"} <= out.names()
    assert not {name for name in out.names() if "tries" in name or "lock" in name}
    bulk(photos)
    here = {name: row["vector"] for name, row in bulk.rows().items()}
    assert {name: np.array_equal(vector, here[name]) for name, vector in out.rows().items()} == dict.fromkeys(
        here, True
    )
    assert bulk(photos, **options)[1].ended == []
    with pytest.raises(BulkRefused, match="batch was 4"):
        bulk(photos, batch=8, **options)


def test_clip_retrievals_layout_in_a_bucket(bulk: Bulk, photos: Path, out: Out, tmp_path: Path) -> None:
    bulk(photos, layout="clip-retrieval", out=out.url, out_storage=out.options)
    assert {"img_emb/img_emb_00002.npy", "metadata/metadata_00002.parquet"} <= out.names()
    out.fs.get_file(f"{out.url}/img_emb/img_emb_00000.npy", str(tmp_path / "a.npy"))
    assert np.load(tmp_path / "a.npy").shape == (4, 32)


def test_a_bucket_that_is_not_there_or_not_ours(bulk: Bulk, photos: Path, out: Out) -> None:
    with pytest.raises(BulkFailed, match="s3://none-such-here/x"):
        bulk(photos, out="s3://none-such-here/x", out_storage=out.options)
    out.fs.pipe_file(f"{out.url}/letters.doc", b"mine")
    with pytest.raises(BulkRefused, match="not empty"):
        bulk(photos, out=out.url, out_storage=out.options)
    assert out.fs.cat_file(f"{out.url}/letters.doc") == b"mine"


@pytest.fixture(params=["bucket", "folder"])
def place(request: pytest.FixtureRequest, out: Out, tmp_path: Path) -> OutputPlace:
    return OutputBucket(out.url, out.options) if request.param == "bucket" else OutputFolder(tmp_path / "out")


def test_places(place: OutputPlace) -> None:
    assert (place.read("a/b"), place.names(""), place.names("a")) == (None, set(), set())
    write_text(place, "a/b", "one")
    write_text(place, "a/empty", "")
    with pytest.raises(UnicodeEncodeError):
        write_text(place, "a/b", "half\ud83d")
    assert (place.read("a/b"), place.read("a/empty"), place.names("a")) == (b"one", b"", {"b", "empty"})
    with place.here("a/b") as path, place.here("a/none") as none:
        assert (path is not None and path.read_text(), none) == ("one", None)
    place.remove("a/b")
    place.remove("a/b")
    assert place.names("a") == {"empty"}
    with place.locked(), pytest.raises(BulkRefused, match="another `clipserve bulk`"), place.locked():
        pass
    with place.locked():
        pass


def test_a_lock_that_a_killed_driver_left_is_taken_over(out: Out) -> None:
    place = OutputBucket(out.url, out.options)
    write_text(place, LOCK, "somebody 7")
    with Lease(place, LOCK, 0.1).held():
        assert (place.read(LOCK) or b"").split()[0] != b"somebody"
    assert place.read(LOCK) is None


def test_a_driver_that_slept_too_long_lets_go(out: Out) -> None:
    place = OutputBucket(out.url, out.options)
    with Lease(place, LOCK, 0.05).held():
        write_text(place, LOCK, "another 1")
        end = time.monotonic() + 10
        while threading.active_count() > 1 and _is_beating() and time.monotonic() < end:
            time.sleep(0.01)
        assert place.read(LOCK) == b"another 1"
    assert place.read(LOCK) == b"another 1"


def _is_beating() -> bool:
    return any(thread.name == "lease" for thread in threading.enumerate())


def test_thumbnails_where_a_gateway_keeps_its_own(bulk: Bulk, photos: Path, out: Out, tmp_path: Path) -> None:
    """In a folder and in a bucket, by the same names."""
    (photos / "bad.jpg").write_bytes(b"no picture")
    bulk(photos, thumbnails=str(tmp_path / "kept"))
    folder = PictureStore(tmp_path / "kept", 10**9, 0)
    bucket = f"{out.url.rpartition('/')[0]}/kept"
    bulk(photos, out=tmp_path / "again", out_storage=out.options, thumbnails=bucket)
    rows = bulk.rows()
    stored = BucketStore(bucket, 10**9, out.options)
    assert len(rows) == 10
    for row in rows.values():
        for size in (256, 768):
            small = folder.read(row["digest"], size)
            assert small is not None
            assert (small[8:12], small) == (b"WEBP", stored.read(row["digest"], size))


def test_where_it_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ("s3://a/b/", "x", f"file://{tmp_path}/y")
    assert [folder_or_bucket(each) for each in asked] == ["s3://a/b", f"{tmp_path}/x", f"{tmp_path}/y"]
    with pytest.raises(typer.BadParameter):
        folder_or_bucket("")
