"""`clipserve bulk` in one process: what goes in comes out, once, and what can't is named."""

from __future__ import annotations

import contextlib
import errno
import http.server
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from clip_core.encode.encoders import Encoders
from clip_core.endpoint_config import EndpointConfig
from clip_core.inputs.request import Item, Part
from clipserve_client.sources.entries import SourceError
from scripts.bulk import worker
from scripts.bulk.output.folder import OutputFolder
from scripts.bulk.output.place import write_text
from scripts.bulk.output.run_folder import Output
from scripts.bulk.reading import urls
from scripts.bulk.runners import InThisProcess
from scripts.bulk.shards.errors import BulkFailed, BulkRefused
from scripts.bulk.worker import ShardWorker
from scripts.cli import app
from tests.bulk.conftest import Bulk, jpeg, tar


@pytest.fixture(scope="module")
def encoders(model_dirs: dict[str, Path]) -> Encoders:
    return Encoders.load(model_dirs["multimodal"], EndpointConfig())


def vector(encoders: Encoders, value: str | bytes) -> Any:
    part = Part("text" if isinstance(value, str) else "image", value)
    return encoders.encode([Item((part,))], cut_long_texts=[True])[0].vector  # type: ignore[union-attr]


def test_a_folder(bulk: Bulk, photos: Path, encoders: Encoders) -> None:
    ended, progress = bulk(photos)
    rows = bulk.rows()
    assert (ended.totals.rows, len(progress.ended), len(rows)) == (10, 3, 10)
    for name in ("p0.jpg", "sub/p7.jpg"):
        assert np.abs(np.array(rows[name]["vector"]) - vector(encoders, (photos / name).read_bytes())).max() < 1e-5
    assert (rows["p0.jpg"]["caption"], json.loads(rows["p0.jpg"]["metadata"])["year"]) == ("a caption", 2024)
    assert "<h1>clipserve bulk</h1>" in (bulk.out / "summary.html").read_text()
    again, progress = bulk(photos)
    assert (again.totals.rows, progress.before, progress.ended) == (10, 3, [])


def test_what_is_added_later_becomes_new_shards(bulk: Bulk, photos: Path) -> None:
    bulk(photos)
    (photos / "a.jpg").write_bytes(jpeg(77))
    (photos / "p0.jpg").unlink()
    ended, progress = bulk(photos)
    assert (len(progress.ended), ended.totals.rows, "a.jpg" in bulk.rows()) == (1, 11, True)


def test_tars_with_captions(bulk: Bulk, tmp_path: Path, encoders: Encoders) -> None:
    for number in range(3):
        members = {f"{number}{at}.jpg": jpeg(10 * number + at) for at in range(5)}
        told = {f"{number}{at}.txt": f"words {at}".encode() for at in range(5)}
        tar(tmp_path / "shards" / f"{number}.tar", dict(sorted({**members, **told}.items())))
    ended, _ = bulk(tmp_path / "shards", embed="both")
    rows = bulk.rows()
    assert (ended.totals.shards, ended.totals.rows) == (3, 15)
    assert np.abs(np.array(rows["21"]["text_vector"]) - vector(encoders, "words 1")).max() < 1e-5
    assert np.abs(np.array(rows["21"]["vector"]) - vector(encoders, jpeg(21))).max() < 1e-5


def test_truncated_tars_and_bad_pictures(bulk: Bulk, tmp_path: Path) -> None:
    members = {f"{at}.jpg": jpeg(at) for at in range(6)} | {"6.jpg": b"no picture", "7.txt": b"alone"}
    whole = tar(tmp_path / "t" / "whole.tar", members)
    (tmp_path / "t" / "short.tar").write_bytes(
        tar(tmp_path / "x.tar", {f"s{at}.jpg": jpeg(at) for at in range(6)}).read_bytes()[:5000]
    )
    (tmp_path / "t" / "none.tar").write_bytes(b"no tar at all" * 100)
    ended, _ = bulk(tmp_path / "t")
    bad = bulk.bad()
    assert (bad["6"], bad["7"]) == ("invalid_image", "no picture")
    assert bad[str(tmp_path / "t" / "short.tar")] == bad[str(tmp_path / "t" / "none.tar")] == "damaged"
    assert {str(at) for at in range(6)} <= set(bulk.rows())
    assert {"s0"} <= set(bulk.rows())
    assert (len(ended.damaged), ended.again, whole.exists()) == (2, [], True)
    assert "Damaged sources" in (bulk.out / "summary.html").read_text()


def test_parquet_of_bytes_paths_and_texts(bulk: Bulk, tmp_path: Path, encoders: Encoders) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.jpg").write_bytes(jpeg(5))
    rows = [
        {"id": f"b{at}", "image": {"bytes": jpeg(at), "path": None}, "path": None, "text": f"t{at}", "year": at}
        for at in range(6)
    ]
    rows += [
        {"id": "p", "image": None, "path": "a.jpg", "text": None, "year": None},
        {"id": "gone", "image": None, "path": "none.jpg", "text": None, "year": None},
        {"id": "empty", "image": None, "path": None, "text": None, "year": None},
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "data" / "t.parquet", row_group_size=3)
    ended, _ = bulk(tmp_path / "data" / "t.parquet")
    found = bulk.rows()
    assert ended.totals.shards == 2, "runs of row groups of at least four rows"
    assert set(found) == {*(f"b{at}" for at in range(6)), "p"}
    assert np.abs(np.array(found["p"]["vector"]) - vector(encoders, jpeg(5))).max() < 1e-5
    assert json.loads(found["b3"]["metadata"])["year"] == 3
    assert bulk.bad() == {"gone": "vanished", "empty": "nothing to embed"}


def test_texts(bulk: Bulk, tmp_path: Path, encoders: Encoders) -> None:
    (tmp_path / "words.txt").write_bytes("\n".join(f"line {at}" for at in range(9)).encode() + b"\n\n\xff\n")
    ended, _ = bulk(tmp_path / "words.txt", embed="text", texts=True)
    found = bulk.rows()
    assert (ended.totals.shards, len(found)) == (3, 9)
    assert np.abs(np.array(found["words.txt#7"]["vector"]) - vector(encoders, "line 7")).max() < 1e-5
    assert bulk.bad() == {"words.txt#9": "nothing to embed", "words.txt#10": "text not read"}


def test_a_file_that_was_written_anew_is_encoded_anew(bulk: Bulk, tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write = [{"id": f"{at}", "text": f"old {at}"} for at in range(12)]
    parquet.write_table(pyarrow.Table.from_pylist(write), path, row_group_size=4)
    bulk(path, embed="text")
    parquet.write_table(pyarrow.Table.from_pylist(write[:5]), path, row_group_size=5)
    bulk(path, embed="text")
    assert set(bulk.rows()) == {"0", "1", "2", "3", "4"}


class Pictures(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = jpeg(int(self.path.strip("/"))) if self.path.strip("/").isdigit() else b""
        self.send_response(200 if body else 404)
        if self.path == "/9":
            self.send_header("X-Robots-Tag", "noindex, noai")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Silent."""


def test_urls(bulk: Bulk, tmp_path: Path) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pictures) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        lines = [f"{base}/1", json.dumps({"url": f"{base}/2", "id": "two"}), f"{base}/9", f"{base}/none", "no url"]
        (tmp_path / "urls.txt").write_text("\n".join([*lines, "", "# note"]))
        bulk(tmp_path / "urls.txt")
        server.shutdown()
    assert set(bulk.rows()) == {f"{base}/1", "two"}
    assert bulk.bad() == {f"{base}/9": "fetch_disallowed", f"{base}/none": "fetch_failed", "line 5": "not a URL"}


def test_a_url_that_drips_is_given_up(bulk: Bulk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dripping(Pictures):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(50):
                    self.wfile.write(b"x")
                    time.sleep(0.1)

    monkeypatch.setattr(urls, "_MOST_S", 0.3)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Dripping) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/1"
        (tmp_path / "urls.txt").write_text(url)
        began = time.monotonic()
        bulk(tmp_path / "urls.txt")
        assert time.monotonic() - began < 4
        server.shutdown()
    assert bulk.bad() == {url: "fetch_failed"}


@pytest.mark.parametrize("kind", ["folder", "parquet"])
def test_a_source_that_is_named_twice_is_read_once(bulk: Bulk, photos: Path, tmp_path: Path, kind: str) -> None:
    rows = [{"id": str(at), "image": jpeg(at)} for at in range(10)]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "t.parquet", row_group_size=4)
    source = photos if kind == "folder" else tmp_path / "t.parquet"
    for _ in range(2):
        ended, _ = bulk(source, source)
        assert (ended.totals.rows, len(bulk.rows())) == (10, 10)


def test_clip_retrievals_layout(bulk: Bulk, photos: Path, tmp_path: Path) -> None:
    bulk(photos)
    told = bulk.rows()
    out = tmp_path / "cr"
    bulk(photos, layout="clip-retrieval", out=out)
    seen = 0
    for path in sorted((out / "img_emb").iterdir()):
        vectors = np.load(path)
        about = parquet.read_table(
            out / "metadata" / path.name.replace("img_emb", "metadata").replace("npy", "parquet")
        )
        assert (vectors.dtype, vectors.shape[0]) == (np.float16, about.num_rows)
        for row, number in zip(about.to_pylist(), vectors, strict=True):
            assert np.abs(number.astype(np.float32) - told[row["image_path"]]["vector"]).max() < 1e-3
            seen += 1
    assert seen == 10
    with pytest.raises(BulkRefused, match="layout parquet"):
        bulk(photos, layout="clip-retrieval", out=out, dedupe=0.98)


def test_duplicates_are_reported(bulk: Bulk, photos: Path) -> None:
    (photos / "copy.jpg").write_bytes((photos / "p2.jpg").read_bytes())
    (photos / "near.png").write_bytes(_as_png((photos / "p4.jpg").read_bytes()))
    ended, _ = bulk(photos, dedupe=0.9999)
    groups: dict[tuple[int, str], set[str]] = {}
    for row in parquet.read_table(bulk.out / "duplicates.parquet").to_pylist():
        groups.setdefault((row["group"], row["kind"]), set()).add(row["id"])
    assert ended.duplicates is not None
    assert ("content", {"copy.jpg", "p2.jpg"}) in [(kind, ids) for (_, kind), ids in groups.items()]
    assert any(kind == "vector" and {"near.png", "p4.jpg"} <= ids for (_, kind), ids in groups.items())
    assert len(bulk.rows()) == 12, "nothing is removed"


def _as_png(content: bytes) -> bytes:
    import io

    from PIL import Image

    written = io.BytesIO()
    Image.open(io.BytesIO(content)).save(written, "PNG")
    return written.getvalue()


def test_another_run_is_refused(bulk: Bulk, photos: Path, tmp_path: Path) -> None:
    bulk(photos)
    with pytest.raises(BulkRefused, match="layout was 'parquet'"):
        bulk(photos, layout="clip-retrieval")
    run = json.loads((bulk.out / "_bulk" / "run.json").read_text())
    (bulk.out / "_bulk" / "run.json").write_text(json.dumps({**run, "fingerprint": "another"}))
    with pytest.raises(BulkRefused, match="fingerprint was 'another'"):
        bulk(photos)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letters.doc").write_text("x")
    with pytest.raises(BulkRefused, match="not empty"):
        bulk(photos, out=tmp_path / "mine")
    with OutputFolder(tmp_path / "locked").locked(), pytest.raises(BulkRefused, match="another `clipserve bulk`"):
        bulk(photos, out=tmp_path / "locked")


@pytest.mark.parametrize("source", ["none", "a.pdf", "*.tar"])
def test_no_sources(bulk: Bulk, tmp_path: Path, source: str) -> None:
    (tmp_path / "a.pdf").write_text("x")
    with pytest.raises((SourceError, BulkRefused)):
        bulk(tmp_path / source)


def test_damaged_parquet_files(bulk: Bulk, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 nothing")
    parquet.write_table(pyarrow.table({"n": [1, 2]}), tmp_path / "b.parquet")
    for name in ("a.parquet", "b.parquet"):
        with pytest.raises(SourceError, match=name):
            bulk(tmp_path / name)
    rows = [{"id": f"{at}", "text": f"text number {at} " * 50} for at in range(40)]
    path = tmp_path / "c.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=10, compression="none")
    content = bytearray(path.read_bytes())
    at = content.index(b"text number 25 ")
    content[at - 6000 : at] = b"\xff" * 6000
    path.write_bytes(content)
    ended, _ = bulk(path, embed="text", shard_items=40)
    assert {str(at) for at in range(10)} <= set(bulk.rows())
    assert (len(ended.damaged), ended.again) == (1, [])


def test_a_shard_that_failed_is_done_again(bulk: Bulk, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = worker.ShardWorker._rows, [0]

    def fails_once(self: ShardWorker, chunk: Any) -> Any:
        calls[0] += 1
        if calls[0] == 2:
            raise RuntimeError("out of luck")
        return real(self, chunk)

    monkeypatch.setattr(worker.ShardWorker, "_rows", fails_once)
    ended, _ = bulk(photos)
    assert ([each.error for each in ended.again], len(bulk.rows())) == (["RuntimeError: out of luck"], 6)
    ended, progress = bulk(photos)
    assert (ended.again, len(progress.ended), len(bulk.rows())) == ([], 1, 10)
    assert list(bulk.out.rglob(".writing-*")) == []


def test_a_full_disk_ends_the_run(bulk: Bulk, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(worker, "write_text", full)
        with pytest.raises(BulkFailed, match="No space left"):
            bulk(photos)
    assert bulk(photos)[0].totals.rows == 10


def test_a_shard_that_ends_its_worker_is_given_up(bulk: Bulk, photos: Path) -> None:
    asked = bulk.asked(photos)
    bulk(photos)
    output = Output.at(str(bulk.out), {})
    shard = output.read_shards()[0]
    output.place.remove(output.done(shard))
    write_text(output.place, output.tries(shard), "...")
    done = ShardWorker(asked.job).run(shard)
    assert (done.rows, "ended its process" in done.error) == (0, True)


def test_models_are_found_by_name(bulk: Bulk, photos: Path) -> None:
    for name in ("clip", str(bulk.store / "clip_multimodal.mar")):
        assert bulk.asked(photos, model=name).archive.spec.name == "demo"
    with pytest.raises(BulkRefused, match="there is no archive of 'none'"):
        bulk(photos, model="none")
    with pytest.raises(BulkRefused, match="has no archive with what encodes text"):
        bulk(photos, embed="text", model=str(bulk.store / "clip_image.mar"))


def test_the_command(bulk: Bulk, photos: Path, tmp_path: Path) -> None:
    (photos / "bad.jpg").write_bytes(b"x")
    words = ["bulk", str(photos), "--model", "demo", "--out", str(tmp_path / "o"), "--no-ray"]
    words += ["--model-store", str(bulk.store)]
    ran = CliRunner().invoke(app, words, env={"COLUMNS": "120"})
    assert (ran.exit_code, "invalid_image" in ran.output, len(bulk.rows(tmp_path / "o"))) == (0, True, 10), ran.output
    assert CliRunner().invoke(app, [*words, "--layout", "x"]).exit_code == 2


def test_one_damaged_file_of_many_is_set_aside(bulk: Bulk, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    (folder / "a.parquet").write_bytes(b"PAR1 nothing")
    parquet.write_table(pyarrow.table({"n": [1, 2]}), folder / "b.parquet")
    parquet.write_table(pyarrow.table({"id": ["x"], "text": ["a star"]}), folder / "c.parquet")
    ended, _ = bulk(folder, embed="text")
    assert (set(bulk.rows()), len(ended.damaged), ended.again) == ({"x"}, 2, [])
    assert bulk.bad() == {str(folder / "a.parquet"): "damaged", str(folder / "b.parquet"): "damaged"}
    parquet.write_table(pyarrow.table({"id": ["y"], "text": ["a dot"]}), folder / "a.parquet")
    bulk(folder, embed="text")
    assert set(bulk.rows()) == {"x", "y"}
    with pytest.raises(SourceError, match="none of the columns image, url, path: it has id, text"):
        bulk(folder / "c.parquet", out=tmp_path / "o")


def test_tars_that_go_and_change_while_it_runs(bulk: Bulk, tmp_path: Path) -> None:
    """What was planned is gone, or another one, when its turn comes."""
    folder = tmp_path / "tars"
    for name in "abc":
        tar(folder / f"{name}.tar", {f"{name}{at}.jpg": jpeg(at) for at in range(3)})

    class Changing(InThisProcess):
        def run(self, job: Any, shards: Any) -> Any:
            (folder / "a.tar").rename(tmp_path / "a.tar")
            tar(folder / "b.tar", {f"b{at}.jpg": jpeg(at) for at in range(5)})
            return super().run(job, shards)

    ended, _ = bulk(folder, runner=Changing())
    assert (bulk.bad(), ended.again) == ({str(folder / "a.tar"): "vanished"}, [])
    assert set(bulk.rows()) == {*(f"b{at}" for at in range(5)), *(f"c{at}" for at in range(3))}
    _, progress = bulk(folder)
    assert [done.rows for done in progress.ended] == [0, 5], "looked for again; and not the tar that was planned"
    (tmp_path / "a.tar").rename(folder / "a.tar")
    bulk(folder)
    assert {"a0"} <= set(bulk.rows())


def test_odd_lines_and_urls(bulk: Bulk, tmp_path: Path) -> None:
    lines = [
        '{"url": "http://127.0.0.1:9/a", "id": "\\ud83d"}',
        "http://[::1",
        "http://a b/ c",
        "http://\u2603\ufffe/",
        "{}",
    ]
    (tmp_path / "odd.jsonl").write_text("\n".join([*lines, "http://x" + "y" * 70000, '{"url": "http://\\ud83d"}']))
    ended, _ = bulk(tmp_path / "odd.jsonl", shard_items=100)
    assert (len(bulk.bad()), ended.again, max(map(len, bulk.bad()))) == (7, [], 512)
    assert set(bulk.bad().values()) <= {"fetch_failed", "not a URL"}


def test_what_can_not_be_listed_is_named(bulk: Bulk, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (photos / "nowhere.jpg").symlink_to("gone.jpg")
    os.mkfifo(photos / "pipe.jpg")
    with monkeypatch.context() as patched:
        scandir = os.scandir
        patched.setattr(os, "scandir", lambda path: _closed() if str(path).endswith("sub") else scandir(path))
        ended, _ = bulk(photos)
    named = {"nowhere.jpg": "vanished or broken link", "pipe.jpg": "not a file"}
    assert (bulk.bad(), ended.totals.rows, ended.totals.bad) == ({**named, "sub": "unreadable folder"}, 5, 3)
    ended, _ = bulk(photos)
    assert (bulk.bad(), ended.totals.rows) == (named, 10), "what can be read again comes in"


def _closed() -> Any:
    raise PermissionError(errno.EACCES, "Permission denied")


@pytest.mark.usefixtures("photos")
def test_a_row_with_an_odd_path_spoils_no_other(bulk: Bulk, tmp_path: Path) -> None:
    paths = [
        "photos/p0.jpg",
        "a\0b.jpg",
        "nope://bucket/x.jpg",
        "x" * 5000,
        "photos/p2.jpg",
        "http://127.0.0.1:9/x.jpg",
    ]
    parquet.write_table(pyarrow.table({"path": paths}), tmp_path / "rows.parquet")
    ended, _ = bulk(tmp_path / "rows.parquet")
    assert (set(bulk.rows()), ended.again, ended.damaged) == ({"rows.parquet#0", "rows.parquet#4"}, [], [])
    assert list(bulk.bad().values()) == ["unreadable", "no address", "unreadable", "fetch_failed"]


@pytest.mark.parametrize("suffix", ["tar", "parquet", "txt"])
def test_links_to_nothing_and_pipes_are_set_aside(bulk: Bulk, tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "mixed"
    tar(folder / "a.tar", {"a.jpg": jpeg(1)})
    (folder / f"b.{suffix}").symlink_to("nowhere")
    os.mkfifo(folder / f"c.{suffix}")
    ended, _ = bulk(folder / "*")
    assert (set(bulk.rows()), ended.again) == ({"a"}, [])
    assert bulk.bad() == {str(folder / f"b.{suffix}"): "vanished", str(folder / f"c.{suffix}"): "damaged"}


def test_a_run_without_a_vector_of_damaged_sources_fails(bulk: Bulk, tmp_path: Path) -> None:
    (tmp_path / "no.tar").write_bytes(b"no tar")
    words = ["bulk", str(tmp_path / "no.tar"), "--model", "demo", "--out", str(tmp_path / "o"), "--no-ray"]
    assert CliRunner().invoke(app, [*words, "--model-store", str(bulk.store)]).exit_code == 1
