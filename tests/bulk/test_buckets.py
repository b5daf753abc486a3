"""Sources in a bucket, on a server that speaks S3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from clipserve_client.sources.entries import SourceError
from scripts.bulk import planning
from scripts.bulk.output.run_folder import Output
from scripts.bulk.reading import places
from scripts.bulk.reading.shard_reader import ShardReader
from scripts.bulk.shards.errors import Away, BulkRefused
from scripts.bulk.shards.shard import Shard
from tests.bulk.conftest import Bulk, jpeg, tar
from tests.bulk.faults import in_front_of
from tests.sync.conftest import KEY, s3_url

__all__ = ["s3_url"]
s3fs = pytest.importorskip("s3fs", reason="make setup-test")


@pytest.fixture
def storage(s3_url: str, tmp_path: Path) -> dict[str, Any]:
    options = {**KEY, "endpoint_url": s3_url}
    fs = s3fs.S3FileSystem(**options, skip_instance_cache=True)
    if not fs.exists("bulk"):
        fs.mkdir("bulk")
    for number in range(5):
        fs.pipe_file(f"bulk/pictures/sub/p{number}.jpg", jpeg(number))
    fs.pipe_file("bulk/pictures/sub/p0.json", b'{"caption": "words", "year": 2024}')
    fs.put_file(str(tar(tmp_path / "a.tar", {f"t{at}.jpg": jpeg(at) for at in range(3)})), "bulk/tars/a.tar")
    rows = [{"id": f"r{at}", "path": f"pictures/sub/p{at}.jpg"} for at in range(6)]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet", row_group_size=2)
    fs.put_file(str(tmp_path / "rows.parquet"), "bulk/rows.parquet")
    return options


def test_everything_may_be_in_a_bucket(bulk: Bulk, storage: dict[str, Any]) -> None:
    sources = ("s3://bulk/pictures", "s3://bulk/tars", "s3://bulk/rows.parquet")
    ended, _ = bulk(*sources, storage=storage)
    assert set(bulk.rows()) == {
        *(f"sub/p{at}.jpg" for at in range(5)), *(f"t{at}" for at in range(3)), *(f"r{at}" for at in range(5)),
    }  # fmt: skip
    assert bulk.rows()["sub/p0.jpg"]["caption"] == "words"
    assert (bulk.bad(), ended.again) == ({"r5": "vanished"}, [])
    _, progress = bulk(*sources, storage=storage)
    assert (progress.shards, progress.ended) == (progress.before, [])


def test_a_sidecar_that_can_not_be_read_costs_no_picture(bulk: Bulk, storage: dict[str, Any]) -> None:
    fs = s3fs.S3FileSystem(**storage, skip_instance_cache=True)
    for number, about in enumerate((b"", b"x" * 5_000_000, b"words")):
        fs.pipe_file(f"bulk/told/p{number}.jpg", jpeg(number))
        fs.pipe_file(f"bulk/told/p{number}.txt", about)
    bulk("s3://bulk/told", storage=storage)
    assert {name: row["caption"] for name, row in bulk.rows().items()} == {
        "p0.jpg": None, "p1.jpg": None, "p2.jpg": "words",
    }  # fmt: skip
    assert bulk.bad() == {}


def test_a_bucket_that_is_away_is_tried_again(
    bulk: Bulk, storage: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> bytes:
        raise Away("the bucket is away")

    with monkeypatch.context() as patched:
        patched.setattr("scripts.bulk.reading.files.fetched_bytes", away)
        ended, _ = bulk("s3://bulk/pictures", storage=storage)
    assert [each.error for each in ended.again] == ["the bucket is away"] * 2
    assert bulk("s3://bulk/pictures", storage=storage)[0].totals.rows == 5
    with pytest.raises(SourceError):
        bulk("s3://bulk/none-*.tar", storage=storage)


@pytest.mark.parametrize("fault", ["503", "half"])
def test_a_bucket_that_fails_for_a_while(bulk: Bulk, storage: dict[str, Any], fault: str) -> None:
    """What could not be read whole is not done; the next run does it. Pictures that came by halves are named."""
    sources = ("s3://bulk/pictures", "s3://bulk/tars", "s3://bulk/rows.parquet")
    once = {"retries": {"max_attempts": 1}}
    with in_front_of(storage["endpoint_url"], lambda path, _: fault if "/bulk/" in path else "") as url:
        ended, _ = bulk(*sources[1:], storage={**storage, "endpoint_url": url, "config_kwargs": once})
    assert (len(bulk.rows()), len(ended.again)) == (0, ended.totals.shards)
    ended, _ = bulk(*sources[1:], storage=storage)
    assert (len(bulk.rows()), ended.again, ended.damaged) == (8, [], [])


def test_503_that_passes_is_not_seen(bulk: Bulk, storage: dict[str, Any]) -> None:
    sources = ("s3://bulk/pictures", "s3://bulk/tars", "s3://bulk/rows.parquet")
    with in_front_of(storage["endpoint_url"], lambda _, before: "" if before else "503") as url:
        ended, _ = bulk(*sources, storage={**storage, "endpoint_url": url})
    assert (len(bulk.rows()), ended.again, bulk.bad()) == (13, [], {"r5": "vanished"})


def test_lists_in_a_bucket_are_read_by_ranges(bulk: Bulk, storage: dict[str, Any]) -> None:
    """Of one that is cut off, what came whole is in; the next run reads the others."""
    fs = s3fs.S3FileSystem(**storage, skip_instance_cache=True)
    fs.pipe_file("bulk/words.txt", "".join(f"text {at}\n" for at in range(10)).encode())
    options: dict[str, Any] = {"embed": "text", "texts": True, "shard_items": 4}

    def half_later(_: str, before: int) -> str:
        return "half" if before > 1 else ""  # the first one is the plan's

    with in_front_of(storage["endpoint_url"], half_later) as url:
        ended, _ = bulk("s3://bulk/words.txt", storage={**storage, "endpoint_url": url}, **options)
    assert (len(bulk.rows()), len(ended.again)) == (4, 2), ended
    ended, _ = bulk("s3://bulk/words.txt", storage=storage, **options)
    assert (set(bulk.rows()), ended.again) == ({f"words.txt#{at}" for at in range(10)}, [])
    fs.rm("bulk/words.txt")
    shard = Shard(0, "lines", "s3://bulk/words.txt", 0, 7)
    with pytest.raises(SourceError, match="is gone"):
        list(ShardReader(Output.at(str(bulk.out), {}), storage, "image", texts=False).items(shard))


def test_objects_that_are_no_pictures_by_their_size(
    bulk: Bulk, storage: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "MOST_BYTES", len(jpeg(0)))
    s3fs.S3FileSystem(**storage, skip_instance_cache=True).pipe_file("bulk/large/p.jpg", jpeg(0) + b" ")
    s3fs.S3FileSystem(**storage, skip_instance_cache=True).pipe_file("bulk/large/q.jpg", jpeg(0))
    bulk("s3://bulk/large", storage=storage)
    assert (set(bulk.rows()), bulk.bad()) == ({"q.jpg"}, {"p.jpg": "too large"})


def test_patterns_in_a_bucket(bulk: Bulk, storage: dict[str, Any]) -> None:
    bulk("s3://bulk/**/*.tar", storage=storage)
    assert len(bulk.rows()) == 3
    with pytest.raises(BulkRefused, match="matches pictures"):
        bulk("s3://bulk/pictures/sub/*", storage=storage)


def test_credentials_that_expire_set_no_picture_aside(bulk: Bulk, storage: dict[str, Any]) -> None:
    """Unlike one object that may not be read."""
    with in_front_of(storage["endpoint_url"], lambda path, _: "expired" if path.endswith("p3.jpg") else "") as url:
        ended, _ = bulk("s3://bulk/pictures", storage={**storage, "endpoint_url": url})
    assert ([each.number for each in ended.again], set(bulk.rows()), bulk.bad()) == ([0], {"sub/p4.jpg"}, {})
    with in_front_of(storage["endpoint_url"], lambda path, _: "denied" if path.endswith("p3.jpg") else "") as url:
        ended, _ = bulk("s3://bulk/pictures", storage={**storage, "endpoint_url": url})
    assert (ended.again, len(bulk.rows()), bulk.bad()) == ([], 4, {"sub/p3.jpg": "unreadable"})


def test_a_bucket_that_nobody_may_read_any_more(
    bulk: Bulk, storage: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "_MOST_IN_A_ROW", 3)
    with in_front_of(storage["endpoint_url"], lambda path, _: "denied" if ".jpg" in path else "") as url:
        ended, _ = bulk("s3://bulk/pictures", storage={**storage, "endpoint_url": url})
    assert "3 in a row can't be read" in ended.again[0].error
    assert len(bulk("s3://bulk/pictures", storage=storage)[0].again) == 0
