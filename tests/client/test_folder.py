"""`ingest_folder`: odd folders, captions, EXIF, scaling, and runs that follow on each other."""

from __future__ import annotations

import io
import json
import os
import socket
import sys
from base64 import b64decode
from pathlib import Path
from typing import Any

import pillow_heif
import pytest
from PIL import Image

from clipserve_client import Client, FolderOptions, Result, Tally, ingest_folder, ingest_paths
from clipserve_client.answers.answers import Limits
from clipserve_client.folder.memory import Memory
from clipserve_client.sources import files
from clipserve_client.sources.files import Skip, read
from clipserve_client.sources.preparing import SIDES, prepared
from clipserve_client.sources.walking import Walk
from tests.gateway.fakes import picture


def put(path: Path, content: bytes | str = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content or picture(path.stem))
    return path


def photo(width: int = 40, height: int = 30, kind: str = "JPEG", **exif: Any) -> bytes:
    image, written = Image.new("RGB", (width, height), "red"), io.BytesIO()
    tags = image.getexif()
    tags.update({0x010F: "Apple", 0x0110: "iPhone 13"})
    tags.get_ifd(0x8769)[0x9003] = "2024:05:01 12:30:00"
    tags.get_ifd(0x8825).update({1: "S", 2: (33.0, 30.0, 0.0), 3: "E", 4: (151.0, 0.0, 36.0)})
    tags.update(exif.get("tags", {}))
    image.save(written, kind, exif=tags)
    return written.getvalue()


def ingest(client: Client, folder: Path, **options: Any) -> tuple[Tally, dict[str, Result]]:
    results: list[Result] = []
    total: list[int] = []
    tally = ingest_folder(
        client, folder, "demo", FolderOptions(**options), on_begin=total.append, on_result=results.append
    )
    assert total == [len(results)]
    return tally, {result.id: result for result in results}


def test_odd_folders_are_walked_to_their_end(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.PNG", "sub/deep/c.webp", "folder.jpg/d.heic", ".hidden.jpg", ".thumbnails/e.jpg"):
        put(tmp_path / name)
    put(tmp_path / "film.mp4")
    put(tmp_path / "notes", "x")
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    (tmp_path / "sub" / "self").symlink_to(tmp_path / "sub")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    os.mkfifo(tmp_path / "pipe.png")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "s.gif"))
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")).write_bytes(b"x")
    found = {each.name: each.skipped for each in Walk(tmp_path)}
    assert [name for name, skipped in found.items() if not skipped] == [
        "a.PNG",
        "b.jpg",
        "caf\\xe9.jpg",
        "folder.jpg/d.heic",
        "sub/deep/c.webp",
    ]
    assert {name: skipped for name, skipped in found.items() if skipped} == {
        "film.mp4": "not a picture (.mp4)",
        "notes": "not a picture (no suffix)",
        "gone.jpg": "vanished or broken link",
        "pipe.png": "not a file",
        "s.gif": "not a file",
    }


def test_what_can_not_be_read_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "shut" / "a.jpg")
    scandir = os.scandir

    def refuse(path: str) -> Any:
        if path.endswith("shut"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # the tests may run as root
    assert [(each.name, each.skipped) for each in Walk(tmp_path)] == [("shut", "unreadable folder")]
    with pytest.raises(Skip, match="vanished"):
        read(str(tmp_path / "none.jpg"))
    empty = tmp_path / "empty.jpg"
    empty.touch()
    with pytest.raises(Skip, match="empty file"):
        read(str(empty))
    with pytest.raises(Skip, match="unreadable"):
        read(str(tmp_path / "shut"))


def test_a_file_that_changes_while_it_is_read_is_read_again_or_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, once = put(tmp_path / "a.jpg", b"old"), files._read_once
    changes = iter([b"new!", None])

    def changing(name: str) -> Any:
        content, before, after = once(name)
        change = next(changes)
        if change is None:
            return content, before, after
        path.write_bytes(change)
        return content, before, files.stamp(name)

    monkeypatch.setattr(files, "_read_once", changing)
    assert read(str(path))[0] == b"new!"
    changes = iter([b"newer", b"newest!"])
    with pytest.raises(Skip, match="changes while it is read"):
        read(str(path))


def test_every_file_has_a_result_and_a_line_in_the_report(client: Client, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for n in range(40):
        put(photos / "2024" / f"{n}.png")
    put(photos / "bad.jpg", b"no picture")
    put(photos / "film.mp4")
    tally, results = ingest(client, photos, report=tmp_path / "report.jsonl")
    assert (tally.added, dict(tally.skipped)) == (40, {"not a picture (.mp4)": 1})
    assert [(result.id, result.code) for result in tally.failed] == [("bad.jpg", "invalid_image")]
    lines = [json.loads(line) for line in (tmp_path / "report.jsonl").read_text().splitlines()]
    assert {line["id"]: line["outcome"] for line in lines} == {each.id: each.outcome for each in results.values()}
    assert client.item("demo", "2024/7.png").metadata["file"] == "2024/7.png"


def test_a_second_run_sends_what_is_new_or_changed(client: Client, stack: Any, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for name in ("a", "b", "c", "d"):
        put(photos / f"{name}.png")
    assert ingest(client, photos)[0].added == 4
    tally, _ = ingest(client, photos)
    assert (tally.added, tally.unchanged) == (0, 4)
    put(photos / "a.png", picture("other"))
    os.utime(photos / "b.png", (1, 1))  # another time, the same bytes
    put(photos / "c.txt", "a caption")
    client.delete_item("demo", "d.png")
    put(photos / "e.png")
    tally, results = ingest(client, photos)
    assert {name for name, result in results.items() if result.outcome == "added"} == {
        "a.png",
        "c.png",
        "d.png",
        "e.png",
    }
    assert results["b.png"].outcome == "unchanged"
    assert client.item("demo", "c.png").metadata["caption"] == "a caption"
    assert ingest(client, photos)[0].unchanged == 5
    assert ingest(client, photos, force=True)[0].added == 5
    client.drop_collection("demo")
    stack.index.collections.clear()
    client.create_collection("demo")
    stack.index.collections["demo"]["spec"]["created"] = "2026-01-01T00:00:00Z"
    assert ingest(client, photos)[0].added == 5


def test_two_folders_do_not_overwrite_each_other(client: Client, tmp_path: Path) -> None:
    one, other = put(tmp_path / "one" / "a.png").parent, put(tmp_path / "other" / "a.png").parent
    ingest(client, one)
    tally, _ = ingest(client, other)
    assert [(result.code, "--prefix" in result.message) for result in tally.failed] == [("id_taken", True)]
    assert ingest(client, other, prefix="other/")[0].added == 1
    one.rename(tmp_path / "moved")
    assert ingest(client, tmp_path / "moved")[0].unchanged == 1


def test_folders_are_told_once_something_of_them_is_in(client: Client, tmp_path: Path) -> None:
    one, other = put(tmp_path / "one" / "a.png").parent, put(tmp_path / "other" / "a.png").parent
    put(tmp_path / "bad" / "b.png", b"no picture")
    told: list[str] = []
    for _ in range(2):  # added, then unchanged
        ingest_paths(client, [one, other, tmp_path / "bad"], "demo", on_folder=told.append)
        assert told == [str(one)]
        told.clear()
    put(other / "c.png")
    ingest_paths(client, [other], "demo", on_folder=told.append)
    assert told == [str(other)]


def test_the_files_of_one_folder_may_change_their_ids(client: Client, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        put(tmp_path / name, picture(name))
    for ids in (("x", "y"), ("y", "x")):
        rows = [{"id": item_id, "file": name} for item_id, name in zip(ids, ("a.png", "b.png"), strict=True)]
        put(tmp_path / "gallery.jsonl", "\n".join(map(json.dumps, rows)))
        tally, _ = ingest(client, tmp_path)
        assert (tally.added, tally.failed) == (2, [])
        assert [client.item("demo", item_id).metadata["file"] for item_id in ids] == ["a.png", "b.png"]


def test_a_folder_is_the_same_by_whatever_way_it_is_reached(client: Client, tmp_path: Path) -> None:
    photos = put(tmp_path / "photos" / "a.png").parent
    (tmp_path / "link").symlink_to(photos)
    assert ingest(client, photos)[0].added == 1
    assert ingest(client, tmp_path / "link")[0].unchanged == 1


@pytest.mark.parametrize("folders", [["one"], ["one", "other"]])
def test_an_id_that_comes_twice_fails_the_same_way_in_every_run(
    client: Client, tmp_path: Path, folders: list[str]
) -> None:
    for folder in folders:
        put(tmp_path / folder / "a.png", picture(folder))
    put(tmp_path / "one" / "b.png", picture("b"))
    put(tmp_path / folders[-1] / "gallery.jsonl", json.dumps({"id": "b.png", "file": "a.png"}))
    for _ in range(2):
        tally = ingest_paths(client, [tmp_path / folder for folder in folders], "demo")
        assert [(result.id, result.code) for result in tally.failed] == [("b.png", "duplicate_id")]


def test_captions_and_metadata_from_files_beside(client: Client, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for name in ("a", "b", "c", "d", "e", "f"):
        put(photos / f"{name}.png")
    rows = [
        {"id": "first", "file": "a.png", "caption": "listed", "metadata": {"n": 1}},
        {"file": "./b.png"},
        {"file": "none.png"},
    ]
    put(photos / "gallery.jsonl", "\n".join([*map(json.dumps, rows), "no json", "", "[1]"]))
    put(photos / "a.json", json.dumps({"n": 2, "m": 3, "file": "scan.tif"}))
    put(photos / "b.txt", "\ufeffa caption\n")
    put(photos / "c.png.json", json.dumps({"caption": "inside", "metadata": {"tags": ["x"]}}))
    put(photos / "d.json", "{")
    put(photos / "e.json", '{"x": NaN}')
    put(photos / "f.txt", b"\xff\xfe")
    tally, results = ingest(client, photos)
    assert tally.added == 6
    assert dict(tally.skipped) == {"listed, but not in the folder": 1, "a line of the listing is not read": 2}
    kept = {item.id: {**item.metadata} for item in client.items("demo")}
    assert all(metadata.pop("digest") for metadata in kept.values())
    assert kept["first"].pop("original_file") == {"path": "a.png"}
    assert all(metadata.pop("original_file", "") for item_id, metadata in kept.items() if item_id != "first")
    assert kept == {
        "first": {"file": "a.png", "caption": "listed", "n": 1, "m": 3},
        "b.png": {"file": "b.png", "caption": "a caption"},
        "c.png": {"file": "c.png", "caption": "inside", "tags": ["x"]},
        **{f"{name}.png": {"file": f"{name}.png"} for name in "def"},
    }
    assert results["d.png"].notes == ("sidecar not read: d.json",)
    assert dict(tally.noted) == {"sidecar not read: d.json": 1, "metadata left out: x": 1, "caption not read: f.txt": 1}


def test_what_a_listing_says_in_vain_is_told_by_name(client: Client, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for name in "abcd":
        put(photos / f"{name}.png")
    rows = [
        {"file": "a.png", "caption": "the first"},
        {"file": "./a.png", "caption": "the second"},
        {"file": "b.png", "id": 7, "caption": ["a", "list"], "metadata": "none"},
        {"file": "c.png", "id": "", "caption": None},
    ]
    put(photos / "gallery.jsonl", "\n".join(map(json.dumps, rows)))
    put(photos / "a.json", json.dumps({"caption": "of the sidecar"}))
    put(photos / "d.json", json.dumps({"caption": 7}))
    tally, results = ingest(client, photos)
    assert dict(tally.skipped) == {"a second line of the listing for a file": 1}
    assert results["gallery.jsonl line 2"].message == "a.png"
    assert client.item("demo", "a.png").metadata["caption"] == "the first"
    assert results["b.png"].notes == (
        "not a text: the id in gallery.jsonl",
        "not a text: the caption in gallery.jsonl",
        "not an object: the metadata in gallery.jsonl",
    )
    assert results["c.png"].notes == ("not a text: the id in gallery.jsonl",)
    assert results["d.png"].notes == ("not a text: the caption in the sidecar",)
    assert tally.added == 4


def test_photos_tell_when_and_with_what_they_were_taken() -> None:
    assert prepared(photo(), Limits(), gps=False).facts == {"taken": "2024-05-01T12:30:00", "camera": "Apple iPhone 13"}
    assert prepared(photo(), Limits(), gps=True).facts["gps"] == {"lat": -33.5, "lon": 151.01}
    odd = photo(tags={0x010F: "\x00\x07", 0x0110: "x" * 500})
    assert prepared(odd, Limits(), gps=False).facts["camera"] == "x" * 100
    assert prepared(b"no picture", Limits(), gps=True) == (b"no picture", {}, ())


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_control_characters_go_and_other_characters_stay(encoding: str) -> None:
    joined = "à\u200d" if encoding == "utf-8" else "à"
    tags = {0x010F: "", 0x0110: f"Le\u00a0{joined}Model \x07\n5\x00".encode(encoding)}
    assert prepared(photo(tags=tags), Limits(), gps=False).facts["camera"] == f"Le\u00a0{joined}Model 5"


def test_what_is_within_the_limits_goes_as_it_is() -> None:
    content = photo()
    assert prepared(content, Limits(), gps=False).content is content


@pytest.mark.parametrize(
    "limits", [Limits(max_image_bytes=60_000), Limits(max_image_pixels=1000), Limits(max_body_bytes=90_000)]
)
def test_large_pictures_are_scaled_down_upright(limits: Limits) -> None:
    content = photo(4000, 2000, tags={0x0112: 6})
    assert len(content) > 60_000
    ready = prepared(content, limits, gps=False)
    assert ready.notes == ("scaled down",)
    assert Image.open(io.BytesIO(ready.content)).size == (SIDES[0] // 2, SIDES[0])
    assert ready.facts["camera"] == "Apple iPhone 13"


def test_a_picture_that_pillow_does_not_open_is_skipped_in_plain_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    with pytest.raises(Skip, match="too many pixels") as caught:
        prepared(photo(2000, 1100), Limits(), gps=False)
    assert caught.value.message == "more than 2 million, the most that Pillow opens: scale it down"


@pytest.mark.skipif(sys.platform != "linux", reason="Pillow's wheels for Linux read AVIF")
def test_avif_becomes_jpeg_whatever_its_name() -> None:
    ready = prepared(photo(kind="AVIF"), Limits(), gps=False)
    assert (ready.notes, Image.open(io.BytesIO(ready.content)).format) == (("converted from AVIF",), "JPEG")
    assert ready.facts["taken"] == "2024-05-01T12:30:00"


def test_heic_without_its_reader_is_skipped_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    heic = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"
    with pytest.raises(Skip, match="HEIC can't be read here") as caught:
        prepared(heic, Limits(), gps=False)
    assert "pillow-heif" in caught.value.message
    large = photo(4000, 2000)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(Skip, match="too large"):
        prepared(large, Limits(max_image_bytes=1000), gps=False)


def test_heic_becomes_an_upright_jpeg() -> None:
    """As phones write it: turned by its metadata, with the time and the place where it was taken."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0x9003] = "2024:05:01 12:30:00"
    heic, turned = io.BytesIO(), Image.new("RGB", (90, 50), "red")
    turned.paste("blue", (0, 0, 45, 50))
    pillow_heif.from_pillow(turned).save(heic, exif=exif.tobytes())
    ready = prepared(heic.getvalue(), Limits(), gps=False)
    image = Image.open(io.BytesIO(ready.content))
    assert (ready.notes, image.format, image.size) == (("converted from HEIC",), "JPEG", (50, 90))
    assert ready.facts["taken"] == "2024-05-01T12:30:00"
    red, _, blue = image.getpixel((25, 10))  # type: ignore[misc]
    assert blue > 200 > 60 > red, "the left half is up"
    with pytest.raises(Skip, match="HEIC can't be read here"):
        prepared(heic.getvalue()[:400], Limits(), gps=False)


def test_pictures_over_the_body_limit_arrive(stack_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = stack_of(max_body_bytes=400_000, max_buffered_bytes=900_000)
    sent: list[bytes] = []
    monkeypatch.setattr("tests.gateway.fakes._word", lambda text: str(sent.append(b64decode(text))))
    (tmp_path / "photos").mkdir()
    for n in range(8):
        noise = Image.effect_noise((900, 900), 90 + n)
        noise.save(tmp_path / "photos" / f"{n}.png")
    with Client(stack.url) as client:
        tally, results = ingest(client, tmp_path / "photos")
    assert {result.message for result in results.values()} == {""}
    assert (tally.added, dict(tally.noted)) == (8, {"scaled down": 8})


def test_a_damaged_memory_is_made_again_and_none_is_needed(tmp_path: Path) -> None:
    path = put(tmp_path / "cache" / "memory.db", b"no database " * 1000)
    memory = Memory(path, "x")
    assert memory.is_empty()
    memory.close()
    for impossible in (tmp_path, put(tmp_path / "file", b"x") / "memory.db"):
        Memory(impossible, "x").close()


def test_no_folder_is_an_error(client: Client, tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError):
        ingest_folder(client, tmp_path / "none", "demo")
