"""Sources: tars, Parquet files, lists of URLs and folders, with what is odd in them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import shutil
import tarfile
import tracemalloc
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clipserve_client import Client, FolderOptions, Result, ingest_paths
from clipserve_client.answers.answers import Limits
from clipserve_client.folder.memory import Memory
from clipserve_client.inputs.inputs import NewItem
from clipserve_client.sources.entries import Entry, Loaded, SourceError, SourceGone
from clipserve_client.sources.folder import Folder
from clipserve_client.sources.json_values import carried, within
from clipserve_client.sources.opening import open_path
from clipserve_client.sources.parquet import ParquetRows, UnknownColumn
from clipserve_client.sources.planning import Planner
from clipserve_client.sources.spool import Spool
from clipserve_client.sources.url_list import UrlList, url_id
from clipserve_client.sources.walking import Walk
from clipserve_client.sources.webdataset import Webdataset
from tests.gateway.fakes import picture

JPG, OTHER = b"\xff\xd8the picture", b"\xff\xd8another"


def tar_of(path: Path, *members: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def planned(source: Any) -> dict[str, NewItem | Result]:
    """What would become of each entry in an empty collection, by id."""
    memory = Memory(None, "x")
    planner = Planner(memory, Limits(), lambda _: False)
    things = [planner.plan(entry).thing for entry in source.entries()]
    source.close()
    memory.close()
    assert len({thing.id for thing in things}) == len(things)
    return {thing.id: thing for thing in things}


def reasons(things: dict[str, NewItem | Result]) -> dict[str, str]:
    return {name: thing.code for name, thing in things.items() if isinstance(thing, Result)}


def items(things: dict[str, NewItem | Result]) -> dict[str, NewItem]:
    return {name: thing for name, thing in things.items() if isinstance(thing, NewItem)}


def test_a_suffix_is_all_after_the_first_dot(tmp_path: Path) -> None:
    path = tar_of(
        tmp_path / "a.tar",
        *(("a/001.depth.png", OTHER), ("a/001.jpg", JPG), ("a/001.mask.png", OTHER)),
        *(
            ("a/002.alt.txt", b"wrong"),
            ("a/002.JPG", JPG),
            ("a/002.TXT", b"\xef\xbb\xbf right\n"),
            ("a/002.z.txt", b"no"),
        ),
        *(("v1.5/003.jpg", JPG), ("v1.5/003.json", b'{"n": 3}'), ("v1.5/003.gen.json", b'{"n": 4}')),
        *(("./004.jpg", JPG), ("./004.txt", b"x" * 300_000)),
        *(("._005.jpg", OTHER), (".DS_Store", b"x"), ("005.jpg", JPG)),
        *(("006.png", JPG), ("006.jpg", OTHER)),
        *(("007.txt", b"alone"), ("008.jpg", b""), ("009.mask.png", OTHER)),
    )
    things = planned(Webdataset(path))
    assert reasons(things) == {"007": "no picture", "008": "empty file", "009": "no picture"}
    found = items(things)
    assert {name: item.image for name, item in found.items()} == dict.fromkeys(
        ("a/001", "a/002", "v1.5/003", "004", "005", "006"), JPG
    )
    assert found["a/002"].metadata == {"caption": "right"}
    assert found["v1.5/003"].metadata == {"n": 3}
    assert (found["004"].metadata, found["004"].notes) == ({}, ("caption not read",))
    assert found["006"].notes == ("several pictures: png, jpg",)


@pytest.mark.parametrize(
    ("text", "kept", "note"),
    [
        (b'{"n": 1, "phash": 338958331222012082418099330867817087233}', {"n": 1}, "metadata left out: phash"),
        (b'{"n": 18446744073709551615, "id": -9223372036854775809}', {"n": 2**64 - 1}, "metadata left out: id"),
        (b'{"caption": "a red circle \\ud83d"}', {}, "metadata left out: caption"),
        (b'{"\\udc00": 1}', {}, "metadata left out: \\udc00"),
        (b'{"x": NaN, "y": [1, {"z": -Infinity}], "w": 1e999, "n": 2.5}', {"n": 2.5}, "metadata left out: x"),
        (b'{"n": 1, "a":' + b'{"a":' * 300 + b"1" + b"}" * 301, {"n": 1}, "metadata left out: a"),
        (b"[" * 100_000 + b"]" * 100_000, {}, "metadata not read"),
        (b'{"a":' * 100_000, {}, "metadata not read"),
        (b"[1, 2]", {}, "metadata not read"),
        (b'{"n": ' + b"9" * 5000 + b"}", {}, "metadata not read"),
        ('{"a": 1}'.encode("utf-16"), {}, "metadata not read"),
        (b'{"a": "caf\xe9"}', {}, "metadata not read"),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}, None),
        (b'{"a": 1, "a": 2}', {"a": 2}, None),
    ],
)
def test_a_picture_goes_in_without_the_metadata_that_json_can_not_carry(
    tmp_path: Path, text: bytes, kept: dict[str, Any], note: str | None
) -> None:
    path = tar_of(tmp_path / "a.tar", ("0.jpg", JPG), ("1.jpg", JPG), ("1.json", text), ("2.jpg", JPG))
    found = items(planned(Webdataset(path)))
    assert sorted(found) == ["0", "1", "2"]
    assert found["1"].metadata == kept
    json.dumps(found["1"].metadata, allow_nan=False).encode()
    assert (found["1"].notes[:1] or (None,))[0] == note


LONG = "word " * 20_000  # more than an item's metadata may have


def test_pictures_go_in_without_captions_and_fields_that_are_too_large(client: Client, tmp_path: Path) -> None:
    for n, (name, beside) in enumerate((("txt", LONG), ("json", json.dumps({"n": 1, "long": LONG})))):
        (tmp_path / "folder").mkdir(exist_ok=True)
        (tmp_path / "folder" / f"f{n}.png").write_bytes(picture(f"f{n}"))
        (tmp_path / "folder" / f"f{n}.{name}").write_text(beside)
    tar_of(
        tmp_path / "a.tar",
        *(("t0.png", picture("t0")), ("t0.txt", LONG.encode())),
        *(("t1.png", picture("t1")), ("t1.json", json.dumps({"n": 1, "long": LONG}).encode())),
    )
    parquet_of(
        tmp_path / "t.parquet",
        id=["p0", "p1"],
        image=[picture("p0"), picture("p1")],
        caption=[LONG, None],
        metadata=[None, json.dumps({"n": 1, "long": LONG})],
    )
    tally = ingest_paths(client, [tmp_path / "folder", tmp_path / "a.tar", tmp_path / "t.parquet"], "demo")
    assert (tally.added, tally.failed) == (6, [])
    assert tally.noted == {"metadata too large, left out: caption": 3, "metadata too large, left out: long": 3}
    assert [client.item("demo", name).metadata["n"] for name in ("f1.png", "t1", "p1")] == [1, 1, 1]


@pytest.mark.parametrize(
    ("metadata", "most", "kept"),
    [
        ({"a": "x" * 50, "b": 1, "c": "y" * 20}, 100, {"a", "b", "c"}),
        ({"a": "x" * 50, "b": 1, "c": "y" * 20}, 60, {"b", "c"}),
        ({"a": "é" * 50, "b": 1}, 100, {"b"}),
        ({str(n): "x" for n in range(1000)}, 100, None),
        ({"a": 1}, 1, set()),
        ({}, 2, set()),
    ],
)
def test_the_largest_fields_are_left_out(metadata: dict[str, Any], most: int, kept: set[str] | None) -> None:
    good, notes = within(metadata, most)
    assert kept is None or good.keys() == kept
    assert len(good) + len(notes) == len(metadata)
    assert not good or len(json.dumps(good, ensure_ascii=False, separators=(",", ":")).encode()) <= most


def test_links_folders_and_odd_names_in_a_tar(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "a.tar", ("a.jpg", JPG))
    with tarfile.open(path, "a") as tar:
        for name, kind in (("b.jpg", tarfile.SYMTYPE), ("c.jpg", tarfile.LNKTYPE), ("d.jpg", tarfile.DIRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd" if kind == tarfile.SYMTYPE else "a.jpg"
            tar.addfile(info)
        info = tarfile.TarInfo(os.fsdecode(b"caf\xe9.jpg"))
        info.size = len(JPG)
        tar.addfile(info, io.BytesIO(JPG))
    things = planned(Webdataset(path))
    assert reasons(things) == {"b": "not a file", "c": "not a file"}
    assert sorted(items(things)) == ["a", "caf\\xe9"]


@pytest.mark.parametrize(
    "damage", ["cut in a picture", "cut in a header", "overwritten", "zeroed", "no tar", "cut gzip"]
)
def test_a_damaged_tar_is_never_taken_for_a_whole_one(tmp_path: Path, damage: str) -> None:
    path = tar_of(tmp_path / "a.tar", *((f"{n}.jpg", bytes([n]) * 3000) for n in range(10)))
    content = path.read_bytes()
    size = 512 + 3072
    if damage == "cut gzip":
        path = tmp_path / "a.tar.gz"
        with tarfile.open(path, "w:gz") as tar:
            for n in range(10):
                info = tarfile.TarInfo(f"{n}.jpg")
                info.size = 30_000
                tar.addfile(info, io.BytesIO(os.urandom(30_000)))
        path.write_bytes(path.read_bytes()[:150_000])
    else:
        path.write_bytes(
            {
                "cut in a picture": content[: size * 5 + 700],
                "cut in a header": content[: size * 5 + 100],
                "overwritten": content[: size * 5] + b"x" * size + content[size * 6 :],
                "zeroed": content[: size * 5] + bytes(512) + content[size * 5 + 512 :],
                "no tar": b"no tar at all" * 100,
            }[damage]
        )
    seen: list[str] = []

    def read_all() -> None:
        for entry in Webdataset(path).entries():
            assert isinstance(entry, Entry)
            entry.load()
            seen.append(entry.id)

    with pytest.raises(SourceError, match=r"^\S+ can't be read: [^\n]+$"):
        read_all()
    assert len(seen) == {"no tar": 0, "cut in a picture": 5}.get(damage, 4)


@pytest.mark.parametrize("damage", ["joined with cat", "a wrong CRC", "a cut CRC", "words"])
def test_samples_before_a_damaged_end_of_a_tar_are_whole(tmp_path: Path, damage: str) -> None:
    members = [("0.jpg", b"x" * 3000), ("1.jpg", b"y" * 3000), ("1.txt", b"a caption")]
    whole = tar_of(tmp_path / "a.tar", *members).read_bytes()
    packed = gzip.compress(whole)
    path = tmp_path / ("a.tar.gz" if "CRC" in damage else "a.tar")
    path.write_bytes(
        {
            "joined with cat": whole + tar_of(tmp_path / "b.tar", ("2.jpg", JPG)).read_bytes(),
            "a wrong CRC": packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:],
            "a cut CRC": packed[:-5],
            "words": whole + b"\0" * 100 + b"words",
        }[damage]
    )
    seen: dict[str, Any] = {}
    with pytest.raises(SourceError, match=r"can't be read"):
        seen.update((entry.id, entry.load().metadata) for entry in Webdataset(path).entries())
    assert seen == {"0": {}, "1": {"caption": "a caption"}}


@pytest.mark.parametrize("ending", [b"", bytes(512), bytes(1024), bytes(1_000_000)])
def test_a_tar_is_whole_with_any_number_of_blocks_at_its_end(tmp_path: Path, ending: bytes) -> None:
    path = tar_of(tmp_path / "a.tar", ("0.jpg", b"x" * 3000), ("1.jpg", b"y" * 3000))
    path.write_bytes(path.read_bytes()[: 2 * (512 + 3072)] + ending)
    assert list(planned(Webdataset(path))) == ["0", "1"]


def parquet_of(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def bad_text(*values: bytes | None) -> Any:
    raw = pa.array(values, pa.binary())
    return pa.Array.from_buffers(pa.string(), len(values), raw.buffers())


ODD_COLUMNS = {
    "ns": pa.array([1700000000123456789] * 2, pa.timestamp("ns")),
    "year 12000": pa.array([316516377600000000] * 2, pa.timestamp("us")),
    "before year 1": pa.array([-99999999999] * 2, pa.timestamp("s")),
    "unknown zone": pa.array([0] * 2, pa.timestamp("us", tz="Mars/Olympus")),
    "far date": pa.array([99999999] * 2, pa.date32()),
    "duration": pa.array([1] * 2, pa.duration("ns")),
    "not UTF-8": bad_text(b"ok", b"caf\xe9"),
    "dictionary not UTF-8": pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), bad_text(b"ok", b"\xff")),
    "nan": pa.array([float("nan"), float("inf")]),
    "list": pa.array([[1.0], None], pa.list_(pa.float16())),
    "fixed list": pa.array([[1.0, 2.0], None], pa.list_(pa.float32(), 2)),
    "map": pa.array([[("a", 1), ("a", 2)]] * 2, pa.map_(pa.string(), pa.int32())),
    "struct": pa.array([{"a": {"b": 1}}] * 2),
    "null": pa.nulls(2),
    "binary": pa.array([b"\0\xff"] * 2),
}


@pytest.mark.parametrize("what", ODD_COLUMNS)
def test_columns_that_nobody_asked_for_spoil_nothing(tmp_path: Path, what: str) -> None:
    path = parquet_of(tmp_path / "t.parquet", id=["a", "b"], text=["x", "y"], odd=ODD_COLUMNS[what], n=[1, 2])
    found = items(planned(ParquetRows(path)))
    assert {name: (item.text, item.metadata["n"]) for name, item in found.items()} == {"a": ("x", 1), "b": ("y", 2)}
    assert found["b"].metadata.keys() <= ({"n", "odd"} if what == "ns" else {"n"})
    assert any("odd" in note for note in found["a"].notes + found["b"].notes) or what in ("ns", "null")


def test_columns_that_become_no_metadata_are_named_once(tmp_path: Path) -> None:
    rows = {name: column for name, column in ODD_COLUMNS.items() if name in ("map", "struct", "binary", "duration")}
    path = parquet_of(tmp_path / "t.parquet", id=["a", "b"], text=[None, "y"], metadata=rows["struct"], **rows)
    things = planned(ParquetRows(path))
    assert reasons(things) == {"a": "nothing to embed"}
    assert items(things)["b"].notes == ("columns not read (metadata, duration, map, struct, binary)",)
    wide = {f"c{n}": rows["binary"] for n in range(12)}
    path = parquet_of(tmp_path / "w.parquet", text=["x", "y"], **wide)
    notes = [item.notes for item in items(planned(ParquetRows(path))).values()]
    assert notes == [("columns not read (c0, c1, c2, c3, c4, c5, c6, c7, c8, c9 and 2 more)",), ()]


def test_dates_and_timestamps_become_texts(tmp_path: Path) -> None:
    path = parquet_of(
        tmp_path / "t.parquet",
        text=["a"],
        ns=pa.array([1700000000123456789], pa.timestamp("ns")),
        s=pa.array([0], pa.timestamp("s", tz="UTC")),
        day=pa.array([1], pa.date32()),
        none=pa.array([None], pa.timestamp("us")),
    )
    (item,) = items(planned(ParquetRows(path))).values()
    assert item.metadata == {"ns": "2023-11-14T22:13:20.123456", "s": "1970-01-01T00:00:00+00:00", "day": "1970-01-02"}
    assert item.notes == ()


def test_plain_columns_become_metadata(tmp_path: Path) -> None:
    path = parquet_of(
        tmp_path / "t.parquet",
        text=["a"],
        caption=["said"],
        f16=pa.array([1.5], pa.float16()),
        big=pa.array([2**64 - 1], pa.uint64()),
        kind=pa.array(["x"]).dictionary_encode(),
        long=pa.array(["y"], pa.large_string()),
        yes=[True],
        none=pa.array([None], pa.int64()),
        metadata=['{"from": "json", "yes": false}'],
    )
    (item,) = items(planned(ParquetRows(path))).values()
    assert item.metadata == {
        "caption": "said",
        "f16": 1.5,
        "big": 2**64 - 1,
        "kind": "x",
        "long": "y",
        "yes": False,
        "from": "json",
    }


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (pa.array([b"k1", b"k2", None]), ["k1", "k2", "t.parquet#2"]),
        (pa.array([b"\xff\x01", b"\0\0", b""]), ["ff01", "0000", "t.parquet#2"]),
        (pa.array([1, None, 2]), ["1", "t.parquet#1", "2"]),
        (pa.array([1.0, float("nan"), 2.5]), ["1", "t.parquet#1", "2.5"]),
        (pa.array([2**63, 1, 0], pa.uint64()), ["9223372036854775808", "1", "0"]),
        (bad_text(b"ok", b"caf\xe9", None), ["ok", "636166e9", "t.parquet#2"]),
        (pa.array(["a", "b", None]).dictionary_encode(), ["a", "b", "t.parquet#2"]),
        (pa.array([0, 1, 2], pa.timestamp("us", tz="Mars/Olympus")), [f"t.parquet#{n}" for n in range(3)]),
    ],
)
def test_ids_are_names_and_no_row_takes_anothers(tmp_path: Path, ids: Any, expected: list[str]) -> None:
    path = parquet_of(tmp_path / "t.parquet", id=ids, text=["a", "b", "c"])
    assert list(planned(ParquetRows(path))) == expected


def test_pictures_of_every_kind_of_column(tmp_path: Path) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    structs = pa.array([{"bytes": JPG, "path": "a"}, {"bytes": None, "path": "b"}, None], kind)
    ids = ["a", "b", "c"]
    cases: list[tuple[Any, dict[str, str]]] = [
        (structs, {"b": "nothing to embed", "c": "nothing to embed"}),
        (pa.array([{"path": "a"}] * 3), dict.fromkeys("abc", "nothing to embed")),
        (pa.array([JPG, b"", None], pa.large_binary()), {"b": "nothing to embed", "c": "nothing to embed"}),
        (pa.array([b64encode(JPG).decode(), "no base64!", "photos/a.jpg"]), {"b": "no picture", "c": "no picture"}),
        (pa.array(["https://example.org/a.jpg", "ftp://x", "?"]), {"b": "no picture", "c": "no picture"}),
        (pa.array([1, 2, 3]), dict.fromkeys("abc", "no picture")),
    ]
    for column, left_out in cases:
        things = planned(ParquetRows(parquet_of(tmp_path / "t.parquet", id=ids, image=column)))
        assert reasons(things) == left_out
        assert all(item.image in (JPG, "https://example.org/a.jpg") for item in items(things).values())


def test_texts_and_large_pictures_in_a_parquet_file(tmp_path: Path) -> None:
    path = parquet_of(tmp_path / "t.parquet", id=["a", "b", "c"], text=bad_text(b"ok", b"caf\xe9", None))
    assert reasons(planned(ParquetRows(path))) == {"b": "text not read", "c": "nothing to embed"}
    path = parquet_of(tmp_path / "t.parquet", image=[JPG, JPG * 9])
    assert reasons(planned(ParquetRows(path, most_bytes=50))) == {"t.parquet#1": "too large"}


def damaged_parquet(path: Path, rows: int, group: int, at: float, **options: Any) -> Path:
    """Damaged in the pictures of the last row group; `at` is a fraction of them."""
    pictures = [random.Random(n).randbytes(20_000) for n in range(rows)]
    table = pa.table({"id": [f"{n:03}" for n in range(rows)], "image": pictures})
    pq.write_table(table, path, row_group_size=group, use_dictionary=False, **options)
    content, column = bytearray(path.read_bytes()), pq.read_metadata(path).row_group((rows - 1) // group).column(1)
    start = column.data_page_offset + int(at * column.total_compressed_size)
    content[start : start + 64] = bytes(byte ^ 0xFF for byte in content[start : start + 64])
    path.write_bytes(content)
    return path


def read_until_damaged(path: Path) -> tuple[list[str], SourceError | None]:
    ids: list[str] = []
    try:
        ids.extend(entry.id for entry in ParquetRows(path).entries() if isinstance(entry, Entry))
    except SourceError as error:
        return ids, error
    return ids, None


@pytest.mark.parametrize(
    ("rows", "group", "at", "readable"), [(60, 25, 0, 50), (20, 10, 0, 10), (40, 40, 0.5, 20), (10, 1, 0, 9)]
)
def test_every_row_before_the_damage_of_a_parquet_file_is_read(
    tmp_path: Path, rows: int, group: int, at: float, readable: int
) -> None:
    path = damaged_parquet(tmp_path / "t.parquet", rows, group, at, data_page_size=40_000, compression="none")
    ids, error = read_until_damaged(path)
    assert ids == [f"{n:03}" for n in range(readable)]
    assert error is not None
    assert error.message.startswith(f"{path} is not a readable Parquet file: it is damaged after row {readable}")
    assert str(tmp_path) not in error.why


def test_damaged_footers_of_parquet_files(tmp_path: Path) -> None:
    """Whatever pyarrow stumbles over, which may be the name of a column."""
    whole = parquet_of(tmp_path / "t.parquet", id=["a"] * 9, text=["x"] * 9).read_bytes()
    size = int.from_bytes(whole[-8:-4], "little")
    choose = random.Random(0)
    for _ in range(300):
        content = bytearray(whole)
        content[-9 - choose.randrange(size)] ^= 1 << choose.randrange(8)
        (tmp_path / "t.parquet").write_bytes(content)
        ids, error = read_until_damaged(tmp_path / "t.parquet")
        assert len(ids) <= 9
        if error is not None and not isinstance(error, UnknownColumn):
            assert error.message.startswith(f"{tmp_path / 't.parquet'} is not a readable Parquet file: it")


def test_a_parquet_file_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(b"PAR1 no parquet PAR1")
    with pytest.raises(SourceError, match="is not a readable Parquet file"):
        ParquetRows(path)
    parquet_of(path, x=[1])
    with pytest.raises(UnknownColumn, match="name the column"):
        ParquetRows(path)
    with pytest.raises(UnknownColumn, match="no column 'y'"):
        ParquetRows(path, {"image": "y"})


def test_files_are_open_only_while_they_are_read(tmp_path: Path) -> None:
    """A data set has hundreds, and a process may open about a thousand."""
    for n in range(3):
        parquet_of(tmp_path / f"{n}.parquet", text=["a"])
        tar_of(tmp_path / f"{n}.tar", ("a.jpg", JPG))
    for pattern in ("*.parquet", "*.tar"):
        source = open_path(tmp_path / pattern)
        assert opened_below(tmp_path) == []
        entries = source.entries()
        next(entries)
        assert len(opened_below(tmp_path)) == 1
        entries.close()
        assert opened_below(tmp_path) == []


def opened_below(folder: Path) -> list[str]:
    names = (os.path.realpath(each) for each in Path("/proc/self/fd").iterdir())
    return [name for name in names if name.startswith(str(folder))]


def test_a_list_of_urls(tmp_path: Path) -> None:
    path = tmp_path / "urls.txt"
    long = "https://example.org/" + "x" * 600
    rows = ["\ufeffhttps://example.org/a.jpg\r", "", "# a comment", "example.org/b.jpg", long + "1", long + "2", "{"]
    path.write_text("\n".join([*rows, '{"url": "https://example.org/c.jpg", "id": "c", "metadata": {"n": 1}}']))
    things = planned(UrlList(path))
    assert reasons(things) == {"line 4": "not a URL", "line 7": "not a URL"}
    assert list(items(things)) == ["https://example.org/a.jpg", url_id(long + "1"), url_id(long + "2"), "c"]
    assert all(len(name) <= 512 for name in things)
    assert items(things)["c"].metadata == {"url": "https://example.org/c.jpg", "n": 1}


def test_a_line_that_is_too_long_is_one_that_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "urls.txt").write_text(f"https://a.example/{'x' * 200_000}\nhttps://a.example/1\n")
    things = planned(UrlList(tmp_path / "urls.txt"))
    assert reasons(things) == {"line 1": "not a URL"}
    assert list(items(things)) == ["https://a.example/1"]


def test_ids_that_are_no_text_are_not_taken(tmp_path: Path) -> None:
    lines = ['{"url": "https://a.example/1", "id": "\\ud83d"}', '{"url": "https://a.example/2", "id": 5}']
    (tmp_path / "urls.txt").write_text("\n".join([*lines, '{"url": "https://a.example/\\ud83d"}']))
    assert reasons(planned(UrlList(tmp_path / "urls.txt"))) == {
        "line 1": "not an id",
        "line 2": "not an id",
        "line 3": "not a URL",
    }
    (tmp_path / "a.jpg").write_bytes(JPG)
    (tmp_path / "gallery.jsonl").write_text('{"file": "a.jpg", "id": "\\ud83d"}\n{"file": "\\ud83d.jpg"}')
    things = planned(Folder(tmp_path))
    assert sorted(things) == ["\\ud83d.jpg", "a.jpg", "urls.txt"]


def test_what_is_no_source_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").touch()
    with pytest.raises(SourceError, match="is no folder"):
        open_path(tmp_path / "a.pdf")
    for nothing in ("none", "*.tar"):
        with pytest.raises(SourceGone):
            open_path(tmp_path / nothing)
    tar_of(tmp_path / "1.tar", ("a.jpg", JPG))
    tar_of(tmp_path / "2.tar", ("b.jpg", JPG))
    assert sorted(planned(open_path(tmp_path / "[12].tar"))) == ["a", "b"]


@pytest.mark.parametrize("name", ["pipe", "pipe.tar", "pipe.txt", "pipe.parquet", "pi*.tar"])
def test_a_pipe_is_no_source_and_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name.replace("*", "pe"))
    with pytest.raises(SourceError, match=r"pipe.* is no file but a pipe, a socket or a device"):
        open_path(tmp_path / name)


def test_pipes_in_a_folder_are_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "b.jpg").write_bytes(JPG)
    for name in ("a.jpg", "b.json", "b.txt", "gallery.jsonl"):
        os.mkfifo(tmp_path / name)
    things = planned(Folder(tmp_path))
    assert reasons(things) == {"a.jpg": "not a file"}
    assert items(things)["b.jpg"].metadata == {"file": "b.jpg", "original_file": {"path": "b.jpg"}}


def test_links_lead_out_of_a_confined_folder_neither_for_pictures_nor_for_what_is_beside(tmp_path: Path) -> None:
    root, out = tmp_path / "root", tmp_path / "out"
    (root / "sub").mkdir(parents=True)
    out.mkdir()
    (out / "secret.json").write_text('{"secret": 1}')
    (out / "b.jpg").write_bytes(JPG)
    (root / "a.jpg").write_bytes(JPG)
    for name, target in (("a.json", out / "secret.json"), ("b.jpg", out / "b.jpg"), ("out", out), ("in", root / "sub")):
        (root / name).symlink_to(target)
    (root / "gallery.jsonl").symlink_to(out / "secret.json")
    things = planned(Folder(root, confined=str(root)))
    left_out = ("a.json", "b.jpg", "gallery.jsonl", "out")
    assert reasons(things) == dict.fromkeys(left_out, "link leads out of the folder")
    assert items(things)["a.jpg"].metadata == {"file": "a.jpg", "original_file": {"path": "a.jpg"}}
    assert "out/b.jpg" in planned(Folder(root))


def test_a_folder_that_is_gone_is_no_failure_of_its_files(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    root.mkdir()
    for n in range(3):
        (root / f"{n}.jpg").write_bytes(JPG)
    source = Folder(root)
    entries = source.entries()
    first = next(entries)
    assert not isinstance(first, Result)
    assert first.load().content == JPG
    shutil.rmtree(root)
    second = next(entries)
    assert not isinstance(second, Result)
    with pytest.raises(SourceGone, match="is its disk mounted"):
        second.load()
    source.close()
    with pytest.raises(SourceGone):
        Folder(root)


def test_the_names_of_a_large_folder_are_not_held_in_memory(tmp_path: Path) -> None:
    for n in range(4000):
        (tmp_path / f"{'x' * 200}{n:05}.jpg").touch()
    tracemalloc.start()
    found = Walk(tmp_path)
    assert len(found) == 4000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    found.close()
    assert peak < 1_000_000  # the names alone are 836,000 bytes as bytes, and more as texts


def test_a_folder_that_fails_while_it_is_listed_keeps_what_was_listed() -> None:
    spool = Spool()

    def rows() -> Iterator[tuple[bytes, str]]:
        yield b"a.jpg", ""
        raise OSError("the disk is damaged here")

    with pytest.raises(OSError, match="damaged"):
        spool.add(rows())
    assert spool.add([(b".", "unreadable folder")]) == 1
    assert [name for name, _ in spool] == [b".", b"a.jpg"]
    spool.close()


def test_a_pictures_bytes_are_not_copied_to_see_whether_they_changed() -> None:
    loaded = Loaded(bytes(8_000_000), metadata={"n": 1})
    planner = Planner(Memory(None, "x"), Limits(), lambda _: False)
    tracemalloc.start()
    planned = planner.plan(Entry("a", b"a", lambda: loaded))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert planned.known is not None
    assert planned.known.digest == hashlib.sha256(bytes(8_000_000) + b'[null, null, {"n": 1}]').hexdigest()
    assert peak < 4_000_000


def test_metadata_is_carried_field_by_field() -> None:
    good = {"s": "é", "n": 2**64 - 1, "f": 1.5, "b": True, "z": None, "l": [1, {"a": []}]}
    assert carried({**good, "t": (1,), "deep": [[["x"]], {"y": float("nan")}]})[0] == good


def test_tars_parquet_files_and_urls_are_resumed_like_a_folder(client: Client, tmp_path: Path) -> None:
    tar = tar_of(tmp_path / "a.tar", *((f"{n}.png", picture(f"t{n}")) for n in range(5)))
    table = parquet_of(tmp_path / "t.parquet", image=[picture(f"p{n}") for n in range(5)], n=list(range(5)))

    def ingest(**options: Any) -> Any:
        return ingest_paths(client, [tar, table], "demo", FolderOptions(**options))

    assert ingest().added == 10
    assert (ingest().unchanged, ingest(force=True).added) == (10, 10)
    tar_of(tar, *((f"{n}.png", picture(f"t{n}" if n else "new")) for n in range(6)))
    tally = ingest()
    assert (tally.added, tally.unchanged) == (2, 9)
    other = tmp_path / "other"
    other.mkdir()
    tar_of(other / "a.tar", ("0.png", picture("x")))
    parquet_of(other / "t.parquet", image=[picture("y")])
    tally = ingest_paths(client, [other / "a.tar", other / "t.parquet"], "demo")
    assert [failed.code for failed in tally.failed] == ["id_taken", "id_taken"]


def test_what_stands_before_the_damage_is_in(client: Client, tmp_path: Path) -> None:
    tar = tar_of(tmp_path / "a.tar", *((f"{n}.png", picture(str(n))) for n in range(9)))
    tar.write_bytes(tar.read_bytes()[: 1024 * 6 + 100])
    for outcome in ("added", "unchanged"):
        told: list[Result] = []
        with pytest.raises(SourceError, match=r"a\.tar can't be read"):
            ingest_paths(client, [tar], "demo", on_result=told.append)
        assert [(result.id, result.outcome) for result in told] == [(str(n), outcome) for n in range(5)]
    assert client.collection("demo").count == 5


def test_a_tar_is_the_same_by_whatever_way_it_is_reached(client: Client, tmp_path: Path) -> None:
    tar = tar_of(tmp_path / "a.tar", ("a.png", picture("a")))
    (tmp_path / "link.tar").symlink_to(tar)
    assert ingest_paths(client, [tar], "demo").added == 1
    assert ingest_paths(client, [tmp_path / "link.tar"], "demo").unchanged == 1


def test_ids_that_come_twice_fail_in_every_run(client: Client, tmp_path: Path) -> None:
    table = parquet_of(tmp_path / "t.parquet", id=list("abacba"), text=list("uvwxyz"), n=list(range(6)))
    first, second = (ingest_paths(client, [table], "demo") for _ in range(2))
    assert (first.added, second.unchanged) == (3, 3)
    for tally in (first, second):
        assert [(failed.id, failed.code) for failed in tally.failed] == [(name, "duplicate_id") for name in "aba"]
    assert [client.item("demo", name).metadata["n"] for name in "abc"] == [0, 1, 3]


def test_parquet_rows_with_ids_replace_those_of_another_file(client: Client, tmp_path: Path) -> None:
    first = parquet_of(tmp_path / "1.parquet", id=["k"], image=[picture("old")], n=[1])
    second = parquet_of(tmp_path / "2.parquet", id=["k"], image=[picture("new")], n=[2])
    ingest_paths(client, [first], "demo")
    assert ingest_paths(client, [second], "demo").added == 1
    assert client.item("demo", "k").metadata["n"] == 2


def test_names_that_would_break_a_line_or_a_terminal(tmp_path: Path) -> None:
    for name in ("a\nb.jpg", "\x1b[31mred.jpg", "f\u0085g.jpg", "été.jpg"):
        (tmp_path / name).write_bytes(JPG)
    assert set(planned(Folder(tmp_path))) == {r"a\nb.jpg", r"\x1b[31mred.jpg", r"f\x85g.jpg", "été.jpg"}
