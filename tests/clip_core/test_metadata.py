"""Whatever lies beside a picture's pixels, they are served, and upright."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from clip_core.errors import BadImage
from clip_core.inputs.images import decode
from clip_core.inputs.metadata_removal import without_metadata
from clip_core.inputs.orientation import upright

ORIENTATION = 0x0112
Entry = tuple[int, int, int, bytes]  # tag, type, count, value


def scene() -> Image.Image:
    x, y = np.meshgrid(np.arange(24), np.arange(16))
    return Image.fromarray(np.stack([x * 10, y * 15, (x + y) * 6], -1).astype(np.uint8))


def exif(entries: list[Entry], sub: list[Entry] = [], order: str = "<") -> bytes:  # noqa: B006
    """TIFF bytes of IFD0 and an Exif IFD behind it; a value longer than four bytes follows its directory."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "L", 8)
    entries = [*entries, (0x8769, 4, 1, b"")] if sub else entries
    size = 2 + 12 * len(entries) + 4 + sum(len(value) for *_, value in entries if len(value) > 4)
    entries = [(t, k, n, struct.pack(order + "L", 8 + size) if t == 0x8769 else v) for t, k, n, v in entries]
    return head + ifd(entries, 8, order) + (ifd(sub, 8 + size, order) if sub else b"")


def ifd(entries: list[Entry], start: int, order: str) -> bytes:
    body, extra, data_at = struct.pack(order + "H", len(entries)), b"", start + 2 + 12 * len(entries) + 4
    for tag, kind, count, value in sorted(entries):
        place = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack(order + "L", data_at + len(extra))
        extra += value if len(value) > 4 else b""
        body += struct.pack(order + "HHL", tag, kind, count) + place
    return body + b"\0\0\0\0" + extra


def turned(orientation: int, order: str = "<") -> Entry:
    return (ORIENTATION, 3, 1, struct.pack(order + "H", orientation))


def encoded(kind: str, picture: Image.Image | None = None, **options: object) -> bytes:
    buffer = io.BytesIO()
    lossless = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}
    (picture or scene()).save(buffer, kind, **lossless.get(kind, {}), **options)
    return buffer.getvalue()


def as_turned(orientation: int) -> Image.Image:
    image = scene()
    image.getexif()[ORIENTATION] = orientation
    return ImageOps.exif_transpose(image)


def assert_shows(data: bytes, orientation: int = 1) -> None:
    expected, got = np.asarray(as_turned(orientation), int), np.asarray(decode(data), int)
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() < 12


# EXIF

ODD = {
    "exposure bias (-1, 0)": ([], [(37380, 10, 1, struct.pack("<ll", -1, 0))]),
    "brightness as a negative short": ([], [(37379, 8, 1, struct.pack("<h", -3))]),
    "resolution unit as a long": ([(296, 4, 1, struct.pack("<L", 100_000))], []),
    "resolution of nothing": ([(282, 5, 1, struct.pack("<LL", 0, 0)), (296, 3, 1, struct.pack("<H", 2))], []),
    "resolution as text": ([(282, 2, 4, b"abc\0"), (283, 2, 4, b"abc\0")], []),
    "a maker note of nonsense": ([], [(37500, 7, 40, b"\xff" * 40)]),
    "a type that is none": ([(40_000, 99, 3, b"abc")], []),
    "a count without end": ([(40_000, 2, 2**31, b"abc")], []),
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("odd", ODD)
def test_a_tag_that_pil_cannot_write_again_is_no_matter(kind: str, odd: str) -> None:
    entries, sub = ODD[odd]
    assert_shows(encoded(kind, exif=b"Exif\0\0" + exif([turned(6), *entries], sub)), 6)


ENTRIES = st.lists(
    st.tuples(
        st.sampled_from([256, 270, 282, 283, 296, 305, 34853, 37380, 37379, 37500, 40_000, 40_965]),
        st.integers(0, 14),
        st.one_of(st.integers(0, 9), st.just(2**32 - 1)),
        st.binary(max_size=24),
    ),
    max_size=6,
    unique_by=lambda entry: entry[0],
)


@settings(max_examples=120, print_blob=True)
@given(st.sampled_from(["JPEG", "PNG", "WEBP"]), st.integers(1, 8), st.sampled_from("<>"), ENTRIES, ENTRIES)
def test_odd_exif_changes_no_pixel_and_the_orientation_holds(
    kind: str, orientation: int, order: str, entries: list[Entry], sub: list[Entry]
) -> None:
    entries = [entry for entry in entries if entry[0] != 34853 or entry[1] == 4]
    data = exif([turned(orientation, order), *entries], sub, order)
    assert_shows(encoded(kind, exif=b"Exif\0\0" + data), orientation)


@settings(max_examples=100)
@given(st.sampled_from(["JPEG", "PNG", "WEBP"]), st.binary(max_size=80))
def test_exif_of_nonsense_is_left_out(kind: str, nonsense: bytes) -> None:
    assert decode(encoded(kind, exif=b"Exif\0\0" + nonsense)).mode == "RGB"


@settings(max_examples=60)
@given(st.data())
def test_exif_that_is_damaged_anywhere_spoils_no_picture(data: st.DataObject) -> None:
    whole = bytearray(exif([turned(6), (282, 5, 1, struct.pack("<LL", 72, 1))], [(37380, 10, 1, b"\1" * 8)]))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    for kind in ("JPEG", "PNG", "WEBP"):
        assert sorted(decode(encoded(kind, exif=b"Exif\0\0" + bytes(whole[:cut]))).size) == [16, 24]


XMP = b'<x:xmpmeta xmlns:tiff="http://ns.adobe.com/tiff/1.0/"><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>'


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_place_of_an_orientation_that_pil_knows(orientation: int) -> None:
    tags, xmp = Image.Exif(), XMP % orientation
    tags[ORIENTATION] = orientation
    for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        assert_shows(encoded(kind, exif=tags), orientation)
    assert_shows(encoded("JPEG", xmp=xmp), orientation)
    assert_shows(encoded("WEBP", xmp=xmp), orientation)
    raw = f"\nexif\n{len(tags.tobytes()):8}\n{tags.tobytes().hex()}\n"
    for name, value in (("XML:com.adobe.xmp", xmp.decode()), ("Raw profile type exif", raw)):
        assert_shows(png(text(b"iTXt" if name[0] == "X" else b"zTXt", name, value)), orientation)
    assert_shows(encoded("MPO", save_all=True, append_images=[scene()], exif=tags), orientation)


@pytest.mark.parametrize("value", [0, 9, 255, "6", b"x"])
def test_an_orientation_that_is_none_turns_nothing(value: object) -> None:
    image = scene()
    image.getexif()[ORIENTATION] = value
    assert upright(image) is image


# PNG


def chunk(kind: bytes, data: bytes, crc: int = 0) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + (zlib.crc32(kind + data) ^ crc).to_bytes(4, "big")


def text(kind: bytes, name: str, value: str) -> bytes:
    if kind == b"zTXt":
        return chunk(kind, name.encode() + b"\0\0" + zlib.compress(value.encode()))
    return chunk(kind, name.encode() + (b"\0" if kind == b"tEXt" else b"\0\0\0\0\0") + value.encode())


def png(extra: bytes, after: bytes = b"", picture: Image.Image | None = None) -> bytes:
    """`extra` behind the header, `after` behind the pixels."""
    data = encoded("PNG", picture)
    return data[:33] + extra + data[33:-12] + after + data[-12:]


LONG = "x" * 2_000_000
BESIDE = {
    "a long text": text(b"tEXt", "Comment", LONG),
    "a long packed text": text(b"zTXt", "Comment", LONG),
    "a long international text": text(b"iTXt", "Comment", LONG),
    "a long international text, packed": chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(LONG.encode())),
    "texts of 80 MB in sum": text(b"zTXt", "Comment", "y" * 1_000_000) * 80,
    "a long profile": chunk(b"iCCP", b"p\0\0" + zlib.compress(LONG.encode())),
    "a damaged text": chunk(b"zTXt", b"Comment\0\0" + b"\xff" * 50),
    "a text packed in another way": chunk(b"zTXt", b"Comment\0\7" + b"\xff" * 50),
    "a damaged profile": chunk(b"iCCP", b"p\0\7nonsense"),
    "a wrong check sum": chunk(b"tEXt", b"Comment\0well", crc=1),
    "an empty physical size": chunk(b"pHYs", b""),
    "an empty gamma": chunk(b"gAMA", b""),
    "an animation's empty header": chunk(b"acTL", b""),
    "an unknown chunk": chunk(b"zzZz", b"\0" * 100_000),
}


@pytest.mark.parametrize("beside", BESIDE)
def test_a_png_is_served_whatever_lies_beside_its_pixels(beside: str) -> None:
    turn = chunk(b"eXIf", exif([turned(8)]))
    assert_shows(png(BESIDE[beside] + turn), 8)
    assert_shows(png(turn, BESIDE[beside]), 8)


def test_an_orientation_in_xmp_is_found_beside_a_long_text() -> None:
    extra = text(b"iTXt", "XML:com.adobe.xmp", (XMP % 6).decode())
    assert_shows(png(extra + BESIDE["a long text"]), 6)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "RGBA", "I;16"])
def test_a_png_of_any_mode_gives_the_same_pixels_without_its_metadata(mode: str) -> None:
    picture = Image.fromarray(np.arange(384, dtype=np.uint16).reshape(16, 24) * 170) if mode == "I;16" else None
    picture = picture or scene().convert(mode)
    data = png(BESIDE["a long text"] + (b"" if mode == "1" else chunk(b"sBIT", b"")), picture=picture)
    assert (np.asarray(decode(data)) == np.asarray(decode(encoded("PNG", picture)))).all()


def test_a_palette_with_transparency_keeps_its_colours() -> None:
    data = encoded("PNG", scene().convert("P"), transparency=3)
    long = data[:33] + BESIDE["a long text"] + data[33:]
    assert (np.asarray(decode(long)) == np.asarray(decode(data))).all()


def test_damaged_pixels_stay_refused() -> None:
    data = bytearray(png(BESIDE["a long text"]))
    data[-20] ^= 0xFF
    with pytest.raises(BadImage):
        decode(bytes(data))


# Other formats


def segment(marker: int, data: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + (len(data) + 2).to_bytes(2, "big") + data


@pytest.mark.parametrize(
    "extra",
    [
        segment(0xFE, b"c" * 65_533) * 60,
        segment(0xE2, b"ICC_PROFILE\0\1\1" + b"p" * 65_000) * 30,
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b"x" * 60_000) * 30,
        segment(0xED, b"Photoshop 3.0\x008BIM\4\4\0\0\xff\xff\xff\xff"),
        segment(0xE2, b"MPF\0II*\0\xff\xff\xff\xff"),
        segment(0xE2, b"MPF\0"),
        segment(0xE0, b"JFIF"),
        segment(0xEE, b"Adobe"),
        segment(0xE1, b"Exif\0\0"),
    ],
    ids=["comments", "profiles", "xmp", "photoshop", "many pictures", "none", "jfif", "adobe", "exif"],
)
def test_a_jpeg_is_served_whatever_its_segments_hold(extra: bytes) -> None:
    data = encoded("JPEG", exif=b"Exif\0\0" + exif([turned(6)]))
    assert decode(data[:2] + extra + data[2:]).mode == "RGB"


def test_a_gif_a_webp_and_a_tiff_with_much_beside_their_pixels() -> None:
    gif = encoded("GIF", scene().convert("P"), comment=b"x")
    at = gif.index(b"!\xfe")
    comment = b"!\xfe" + (b"\xff" + b"c" * 255) * 8_000 + b"\0"
    assert (np.asarray(decode(gif[:at] + comment + gif[at + 5 :])) == np.asarray(decode(gif))).all()
    assert_shows(encoded("WEBP", xmp=b"x" * 3_000_000))
    assert_shows(encoded("TIFF", description="x" * 3_000_000))


TIFF_PIXELS: list[Entry] = [
    (256, 3, 1, struct.pack("<H", 24)),
    (257, 3, 1, struct.pack("<H", 16)),
    (258, 3, 3, struct.pack("<HHH", 8, 8, 8)),
    (262, 3, 1, struct.pack("<H", 2)),
    (277, 3, 1, struct.pack("<H", 3)),
    (279, 4, 1, struct.pack("<L", 24 * 16 * 3)),
]


@settings(max_examples=120)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [270, 271, 282, 283, 296, 305, 315, 700, 33723, 34377, 34665, 34675, 34853, 40_000, 65_000]
            ),
            st.integers(0, 14),
            st.sampled_from([0, 1, 2, 9, 2**32 - 1]),
            st.binary(max_size=24),
        ),
        max_size=4,
        unique_by=lambda entry: entry[0],
    ),
    st.sampled_from([1, 6]),
)
def test_odd_tags_of_a_tiff_change_no_pixel(odd: list[Entry], orientation: int) -> None:
    def whole(pixels_at: int) -> bytes:
        return exif([*TIFF_PIXELS, turned(orientation), (273, 4, 1, struct.pack("<L", pixels_at)), *odd])

    assert_shows(whole(len(whole(0))) + scene().tobytes(), orientation)


@pytest.mark.parametrize("keep_turn", [True, False])
def test_a_file_without_metadata_is_left_as_it_is(keep_turn: bool) -> None:
    kinds = [encoded("PNG"), encoded("GIF"), encoded("BMP"), encoded("TIFF"), encoded("WEBP")]
    for data in (*kinds, b"", b"x", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"II*\0\xff\xff\xff\xff"):
        assert without_metadata(data, keep_turn=keep_turn) is None


@settings(max_examples=200)
@given(
    st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"II*\0", b""]),
    st.binary(max_size=60),
    st.booleans(),
)
def test_nonsense_ends(head: bytes, rest: bytes, keep_turn: bool) -> None:
    bare = without_metadata(head + rest, keep_turn=keep_turn)
    assert bare is None or len(bare) <= len(head + rest) + 6
