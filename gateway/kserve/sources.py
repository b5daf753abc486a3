"""Input tensors → what is to be encoded: TEXT, IMAGE, or both, which make one vector of each pair."""

from __future__ import annotations

import math
from collections.abc import Sequence

from clip_core.errors import BadText, InvalidRequest
from gateway.inputs.parser import InputParser
from gateway.inputs.source import Source
from gateway.kserve.tensors import InputTensor

INPUTS = ("TEXT", "IMAGE")


def sources_of(tensors: Sequence[InputTensor], parser: InputParser) -> list[Source]:
    """One for each text, picture or pair. Raises BadInput that names the place, such as `TEXT[3]`."""
    by_name: dict[str, list[Source]] = {}
    for tensor in tensors:
        name = tensor.name.upper()
        if name not in INPUTS or name in by_name:
            raise InvalidRequest("the inputs are TEXT, IMAGE, or one of each", param=tensor.name[:64])
        by_name[name] = _texts(tensor, parser) if name == "TEXT" else _pictures(tensor, parser)
    if len(by_name) == 1:
        return next(iter(by_name.values()))
    texts, pictures = (by_name[name] for name in INPUTS)
    if len(texts) != len(pictures):
        raise InvalidRequest(f"{len(texts)} in TEXT and {len(pictures)} in IMAGE make no pairs", param="IMAGE")
    return [_pair(*both) for both in zip(texts, pictures, strict=True)]


def _pair(text: Source, picture: Source) -> Source:
    return Source("query", [{**part.item(), "weight": 1.0} for part in (text, picture)], picture.param)


def _texts(tensor: InputTensor, parser: InputParser) -> list[Source]:
    if tensor.datatype != "BYTES":
        raise InvalidRequest("texts are BYTES", param="TEXT")
    return [_text(value, f"TEXT[{place}]", parser) for place, value in enumerate(tensor.elements)]


def _text(value: object, param: str, parser: InputParser) -> Source:
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError as error:
            raise BadText("this text is not in UTF-8", param=param) from error
    return parser.of_kind("text", value, param)


def _pictures(tensor: InputTensor, parser: InputParser) -> list[Source]:
    elements = _files(tensor) if tensor.datatype == "UINT8" else tensor.elements
    return [_picture(value, f"IMAGE[{place}]", parser) for place, value in enumerate(elements)]


def _picture(value: object, param: str, parser: InputParser) -> Source:
    """A file's bytes, or what stands for one in JSON: base64, or a URL. ASCII that is no plain PPM is the latter."""
    if isinstance(value, bytes):
        if not value.isascii() or value.startswith(b"P"):
            return Source("image", parser.upload(value, param), param)
        value = value.decode()
    return parser.of_kind("image", value, param)


def _files(tensor: InputTensor) -> list[bytes]:
    """UINT8 of shape [bytes] is a file, [n, bytes] n files of one size; [h, w, 3] are pixels, [n, h, w, 3] n times."""
    pixels = len(tensor.shape) >= 3
    shape = tensor.shape[1:] if len(tensor.shape) in (2, 4) else tensor.shape
    if len(shape) == 3 and shape[2] in _PORTABLE:
        height, width, channels = shape
        head = b"%s\n%d %d\n255\n" % (_PORTABLE[channels], width, height)
    elif not pixels:
        head = b""
    else:
        raise InvalidRequest(
            "UINT8 pictures have the shape [height, width, 3], [n, height, width, 3], or 1 in place of 3 for greys",
            param="IMAGE",
        )
    content, size = bytes(tensor.elements), math.prod(shape)  # type: ignore[arg-type]
    return [head + content[start : start + size] for start in range(0, len(content), size or 1)]


_PORTABLE = {3: b"P6", 1: b"P5"}  # binary PPM and PGM, by channels: pixels need a head of a few bytes, and no encoder
