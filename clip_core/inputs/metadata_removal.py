"""A picture's file without its metadata: for PIL refuses sound pixels for what lies beside them.

It does so for a PNG with over 1 MB in a text or a profile, or with a damaged one, and for some odd JPEG segments and
TIFF tags.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_PNG = b"\x89PNG\r\n\x1a\n"
_LARGEST_KEPT = 1 << 16
_PNG_TURNS = (b"eXIf", b"iTXtXML:com.adobe.xmp\0", b"tEXtRaw profile type exif\0", b"zTXtRaw profile type exif\0")
_JPEG_TURNS = (b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0")
_JPEG_TABLES = range(0xC0, 0xE0)
_JPEG_COLOURS = {0xE0: 16, 0xEE: 14}  # APP0 (JFIF) and APP14 (Adobe) say what they are from this length on
_TIFF_PIXELS = {256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, *range(322, 326), 338, 339}
_TIFF_PIXELS |= {347, *range(512, 522), *range(529, 533)}  # JPEG inside TIFF, and its colours
_TIFF_TURN = 274


def without_metadata(data: bytes, *, keep_turn: bool) -> bytes | None:
    """The same pixels in another file; None where there is nothing to leave out, or the format is another.

    `keep_turn` keeps what may say which way up the picture is, where it is of a usual size.
    """
    bare = b"".join(_parts(data, keep_turn))
    return None if bare == data else bare


def _parts(data: bytes, keep_turn: bool) -> Iterator[bytes]:
    if data.startswith(_PNG):
        return _png(data, _PNG_TURNS if keep_turn else ())
    if data.startswith(b"\xff\xd8"):
        return _jpeg(data, _JPEG_TURNS if keep_turn else ())
    if data.startswith((b"II*\0", b"MM\0*")):
        return _tiff(data, _TIFF_PIXELS | {_TIFF_TURN} if keep_turn else _TIFF_PIXELS)
    return iter((data,))


def _png(data: bytes, kept: tuple[bytes, ...]) -> Iterator[bytes]:
    """Its critical chunks, which an upper-case letter begins (PNG specification, 5.4). Alpha is dropped, so is tRNS."""
    yield _PNG
    at = len(_PNG)
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        critical = data[at + 4] < ord("a")
        if critical or (end - at <= _LARGEST_KEPT and data.startswith(kept, at + 4)):
            yield data[at:end]
        at = end


def _jpeg(data: bytes, kept: tuple[bytes, ...]) -> Iterator[bytes]:
    """Its segments but for comments and applications', up to the scan, and all that follows."""
    yield data[:2]
    at = 2
    while data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] not in (b"", b"\xda"):
        if data[at + 1] == 0xFF:  # filling
            at += 1
            continue
        end = at + 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
        decisive = data[at + 1] in _JPEG_TABLES or end - at - 2 >= _JPEG_COLOURS.get(data[at + 1], len(data))
        if decisive or data.startswith(kept, at + 4):
            yield data[at:end]
        at = end
    yield data[at:]


def _tiff(data: bytes, kept: set[int]) -> Iterator[bytes]:
    """The first directory without other tags, in its place; no further picture."""
    order = "<" if data[:1] == b"I" else ">"
    start = int.from_bytes(data[4:8], "little" if order == "<" else "big")
    count = min(struct.unpack_from(order + "H", data, start)[0] if start + 2 <= len(data) else 0, len(data) // 12)
    entries = [data[at : at + 12] for at in range(start + 2, start + 2 + 12 * count, 12)]
    wanted = [entry for entry in entries if len(entry) == 12 and struct.unpack_from(order + "H", entry)[0] in kept]
    directory = struct.pack(order + "H", len(wanted)) + b"".join(wanted) + bytes(4)
    yield data[:start]
    yield directory if len(wanted) < len(entries) else data[start : start + len(directory)]
    yield data[start + len(directory) :]
