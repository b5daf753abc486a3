"""What `clipserve bulk` takes as a source, and what it says of what is none."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from clipserve_client.sources import files, webdataset
from clipserve_client.sources.files import Skip
from scripts.bulk import planning
from scripts.bulk.output.layouts import LAYOUTS
from scripts.bulk.reading import files as reading_files
from scripts.bulk.reading import rows
from scripts.bulk.runners import InThisProcess
from scripts.bulk.shards.errors import BulkRefused
from scripts.cli import app
from tests.bulk.conftest import Bulk, jpeg, table, tar


def test_patterns(bulk: Bulk, tmp_path: Path) -> None:
    """At any depth; folders of tars among the matches, and files that are no sources."""
    for name in ("data/a.tar", "data/train/b.tar", "data/train/deep/c.tar"):
        tar(tmp_path / name, {f"{Path(name).stem}.jpg": jpeg(1)})
    (tmp_path / "data" / "a_stats.json").write_text("{}")
    bulk(tmp_path / "data" / "**" / "*.tar", out=tmp_path / "deep")
    assert set(bulk.rows(tmp_path / "deep")) == {"a", "b", "c"}
    bulk(tmp_path / "data" / "*")
    assert (set(bulk.rows()), bulk.bad()) == ({"a", "b"}, {})


def test_a_folder_in_another_one_that_a_pattern_matches_too_is_read_once(bulk: Bulk, tmp_path: Path) -> None:
    for name in ("raw/a.jpg", "raw/day/raw/b.jpg"):
        (tmp_path / "all" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "all" / name).write_bytes(jpeg(1))
    bulk(tmp_path / "all" / "**" / "raw")
    assert set(bulk.rows()) == {"a.jpg", "day/raw/b.jpg"}


def test_vectors_that_somebody_removed_are_made_again(bulk: Bulk, photos: Path) -> None:
    bulk(photos, shard_items=4)
    before = set(bulk.rows())
    (bulk.out / "part-00001.parquet").unlink()
    ended, _ = bulk(photos, shard_items=4)
    assert (set(bulk.rows()), ended.totals.new_rows) == (before, 4)


def test_a_blank_text_is_none(bulk: Bulk, tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"image": [jpeg(1)], "text": [" "]}), tmp_path / "a.parquet")
    folder = tmp_path / "b"
    folder.mkdir()
    (folder / "b.jpg").write_bytes(jpeg(2))
    (folder / "b.json").write_text('{"caption": " "}')
    for source, name in (("a.parquet", "a.parquet#0"), ("b", "b.jpg")):
        out = tmp_path / f"out-{source}"
        bulk(tmp_path / source, embed="both", out=out)
        assert set(bulk.rows(out)) == {name}


def test_an_empty_parquet_file_is_refused(bulk: Bulk, tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"text": pyarrow.array([], pyarrow.string())}), tmp_path / "a.parquet")
    with pytest.raises(BulkRefused, match="nothing to encode"):
        bulk(tmp_path / "a.parquet", embed="text")


def test_a_file_that_could_not_be_read_when_it_was_cut_is_read_whole_later(
    bulk: Bulk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        parquet.write_table(
            pyarrow.table({"text": [f"{name} {at}" for at in range(9)]}), tmp_path / f"{name}.parquet", 2
        )
    real = planning.opened_parquet

    def failing(path: str, *given: Any) -> Any:
        if path.endswith("a.parquet"):
            raise OSError(errno.EIO, "Input/output error")
        return real(path, *given)

    everything = {f"{name}.parquet#{at}" for name in "ab" for at in range(9)}
    options: dict[str, Any] = {"embed": "text", "shard_items": 4}
    with monkeypatch.context() as patched:
        patched.setattr(planning, "opened_parquet", failing)
        ended, _ = bulk(tmp_path / "*.parquet", **options)
        assert (len(ended.again), {each[0] for each in bulk.rows()}) == (1, {"b"})
    bulk(tmp_path / "*.parquet", **options)
    assert set(bulk.rows()) == everything
    with monkeypatch.context() as patched:
        patched.setattr(planning, "opened_parquet", failing)
        bulk(tmp_path / "*.parquet", **options)
        assert set(bulk.rows()) == everything, "what was cut before stays so"


def test_rows_by_path_on_a_disk_that_fails(bulk: Bulk, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet.write_table(pyarrow.table({"path": ["photos/p0.jpg", "photos/p2.jpg"]}), photos.parent / "rows.parquet")

    def failing(path: str) -> Any:
        raise Skip("unreadable", "Input/output error") from OSError(errno.EIO, path)

    with monkeypatch.context() as patched:
        patched.setattr(rows, "read", failing)
        ended, _ = bulk(photos.parent / "rows.parquet")
        assert (len(ended.again), bulk.bad()) == (1, {})
    bulk(photos.parent / "rows.parquet")
    assert len(bulk.rows()) == 2


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("empty", r"nothing to encode in .*empty: .*'FOLDER/\*\*/\*\.tar'"),
        ("photos/*.jpg", r"matches pictures, such as .*p0\.jpg: name their folder"),
        ("photos/*.json", r"matches no folder, \.tar"),
    ],
)
def test_what_is_no_source_is_refused_before_it_begins(bulk: Bulk, photos: Path, source: str, why: str) -> None:
    (photos.parent / "empty").mkdir()
    with pytest.raises(BulkRefused, match=why):
        bulk(photos.parent / source)
    bulk(photos, batch=8)  # nothing of the refused run is left
    assert len(bulk.rows()) == 10


def test_texts_of_json_lines(bulk: Bulk, tmp_path: Path) -> None:
    lines = ['{"text": "a star", "id": "one", "metadata": {"year": 1}}', '{"text": "a dot"}', '{"id": "x"}', "no", ""]
    (tmp_path / "t.jsonl").write_text("\n".join([*lines, '"a"']))
    bulk(tmp_path / "t.jsonl", embed="text", texts=True)
    assert {name: (row["caption"], row["metadata"]) for name, row in bulk.rows().items()} == {
        "one": ("a star", '{"year": 1}'), "t.jsonl#1": ("a dot", None),
    }  # fmt: skip
    assert bulk.bad() == {
        "x": "nothing to embed", "t.jsonl#3": "text not read", "t.jsonl#4": "nothing to embed",
        "t.jsonl#5": "text not read",
    }  # fmt: skip


def test_texts_alone_need_no_pictures(bulk: Bulk, tmp_path: Path) -> None:
    """None is fetched: half of an old list of URLs is dead."""
    told: list[dict[str, Any]] = [
        {"id": "a", "url": "http://127.0.0.1:9/a.jpg", "caption": "a star", "image": b"no picture"}
    ]
    told += [{"id": "b", "url": "http://127.0.0.1:9/b.jpg", "caption": None, "image": None}]
    parquet.write_table(pyarrow.Table.from_pylist(told), tmp_path / "t.parquet")
    bulk(tmp_path / "t.parquet", embed="text")
    assert bulk.rows()["a"]["metadata"] == '{"url": "http://127.0.0.1:9/a.jpg"}'
    assert bulk.bad() == {"b": "nothing to embed"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_that_lack_a_picture_or_a_text(bulk: Bulk, tmp_path: Path, layout: str) -> None:
    told: list[dict[str, Any]] = [{"id": f"t{at}", "image": None, "text": f"text {at}"} for at in range(3)]
    told += [{"id": f"p{at}", "image": jpeg(at % 2), "text": "star" if at else None} for at in range(3)]
    parquet.write_table(pyarrow.Table.from_pylist(told), tmp_path / "t.parquet")
    ended, _ = bulk(tmp_path / "t.parquet", embed="both", layout=layout, dedupe=0.9999 if layout == "parquet" else None)
    assert (ended.totals.rows, bulk.bad()) == (6, {})
    if layout == "parquet":
        assert {name for name, row in bulk.rows().items() if row["vector"] is None} == {"t0", "t1", "t2"}
        assert [(row["kind"], row["id"]) for row in table(bulk.out / "duplicates.parquet")] == [
            ("content", "p0"), ("content", "p2"),
        ]  # fmt: skip
    else:
        about = table(next((bulk.out / "metadata").iterdir()))
        assert [row["image_path"] for row in about] == [row["id"] for row in told]


def test_a_disk_that_fails_is_no_damage(bulk: Bulk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next run reads what could not be read."""

    def fails(*_: Any) -> Any:
        raise OSError(errno.EIO, "Input/output error")

    tar(tmp_path / "data" / "a.tar", {"a.jpg": jpeg(1)})
    parquet.write_table(pyarrow.Table.from_pylist([{"id": "b", "image": jpeg(2)}]), tmp_path / "data" / "b.parquet")
    with monkeypatch.context() as patched:
        patched.setattr(webdataset, "_opened", fails)
        patched.setattr(rows, "opened_parquet", fails)
        ended, _ = bulk(tmp_path / "data" / "*")
    assert (len(ended.again), bulk.rows()) == (2, {})
    ended, _ = bulk(tmp_path / "data" / "*")
    assert (ended.again, set(bulk.rows())) == ([], {"a", "b"})


def test_pictures_that_a_disk_does_not_give(bulk: Bulk, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unlike one picture that may not be read."""

    def failing(number: int) -> Any:
        def read(path: str, *most: int) -> Any:
            if path.endswith("p2.jpg"):
                raise Skip("unreadable", "told") from OSError(number, "told")
            return files.read(path, *most)

        return read

    with monkeypatch.context() as patched:
        patched.setattr(reading_files, "read", failing(errno.EIO))
        ended, _ = bulk(photos)
    assert ([each.number for each in ended.again], len(bulk.rows()), bulk.bad()) == ([0], 6, {})
    with monkeypatch.context() as patched:
        patched.setattr(reading_files, "read", failing(errno.EACCES))
        bulk(photos)
    assert (len(bulk.rows()), bulk.bad()) == (9, {"p2.jpg": "unreadable"})


def test_a_disk_that_is_unmounted_meanwhile(bulk: Bulk, photos: Path) -> None:
    """A shard of which nothing is there is looked for again by the next run."""

    class Unmounting(InThisProcess):
        def run(self, job: Any, shards: Any) -> Any:
            (photos / "sub").rename(photos.parent / "sub")
            return super().run(job, shards)

    ended, _ = bulk(photos, runner=Unmounting())
    assert ([each[0] for each in ended.damaged], len(bulk.rows()), ended.again) == (["00002"], 5, [])
    (photos.parent / "sub").rename(photos / "sub")
    ended, progress = bulk(photos)
    assert ([each.number for each in progress.ended], len(bulk.rows()), ended.damaged) == ([2], 7, [])


def test_a_list_that_can_not_be_opened_is_set_aside(
    bulk: Bulk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(f"{name} star\n")
    closed, real = tmp_path / "a.txt", open

    def opened(path: Any, *given: Any) -> Any:
        if Path(path) == closed:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, *given)

    with monkeypatch.context() as patched:
        for module in ("planning", "reading.places"):
            patched.setattr(f"scripts.bulk.{module}.open", opened, raising=False)
        ended, _ = bulk(tmp_path / "*.txt", embed="text", texts=True)
    assert ([each.error[-17:] for each in ended.again], set(bulk.rows())) == (["Permission denied"], {"b.txt#0"})
    bulk(tmp_path / "*.txt", embed="text", texts=True)
    assert set(bulk.rows()) == {"a.txt#0", "b.txt#0"}


def test_the_command_says_what_does_not_fit(bulk: Bulk, photos: Path, tmp_path: Path) -> None:
    for path in photos.rglob("*.jpg"):
        path.write_bytes(b"no picture")
    words = ["bulk", str(photos), "--model", "demo", "--no-ray", "--model-store", str(bulk.store)]
    nothing = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "o")])
    assert (nothing.exit_code, "invalid_image" in nothing.output) == (1, True), nothing.output
    assert CliRunner().invoke(app, [*words, "--out", str(tmp_path / "p"), "--texts"]).exit_code == 2
