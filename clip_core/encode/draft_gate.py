"""What draft decoding of JPEGs costs, measured on the canaries before a worker that was told to use it serves."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

from PIL import Image

from clip_core.encode.encoded import Encoded
from clip_core.encode.encoders import Encoders
from clip_core.errors import BadModel
from clip_core.inputs.images import decode
from clip_core.inputs.request import Item, Part

_SCALE = 4  # the canaries are enlarged to this many times the least size of a draft, so that it has something to skip


def check(encoders: Encoders, pictures: Sequence[bytes]) -> list[float]:
    """Cosines of enlarged JPEGs of `pictures` decoded as drafts to the same decoded whole. Raises BadModel.

    Nothing is measured, and the list is empty, where the endpoint has no image tower or does not use drafts.
    """
    config = encoders.config
    if encoders.image is None or not config.jpeg_draft:
        return []
    least = config.jpeg_draft_margin * max(encoders.image.size)
    items = [Item((Part("image", _large_jpeg(data, least)),)) for data in pictures]
    whole = Encoders(encoders.spec, None, None, encoders.image, replace(config, jpeg_draft=False))
    cosines = [
        float(one.vector @ other.vector)
        for one, other in zip(_vectors(encoders, items), _vectors(whole, items), strict=True)
    ]
    if not cosines or min(cosines) < config.jpeg_draft_floor:
        worst = f"{min(cosines):.6f}" if cosines else "none"
        raise BadModel(f"jpeg_draft: the smallest cosine is {worst}, jpeg_draft_floor {config.jpeg_draft_floor}")
    return cosines


def _vectors(encoders: Encoders, items: Sequence[Item]) -> list[Encoded]:
    results = encoders.encode(items, cut_long_texts=[True] * len(items))
    return [result for result in results if isinstance(result, Encoded)]


def _large_jpeg(data: bytes, side: int) -> bytes:
    image = decode(data)
    factor = _SCALE * side / min(image.size)
    large = image.resize((round(image.width * factor), round(image.height * factor)), resample=Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    large.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
