"""Sources in a bucket, on a server that speaks S3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from clipserve_client.sources.entries import SourceError
from scripts.bulk.shards.errors import Away
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
        patched.setattr("scripts.bulk.reading._fetched_bytes", away)
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
