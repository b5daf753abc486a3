"""The gateway takes images in every form of base64, counts their pixels, and holds them to the same size."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

from clip_core.data_urls import decode_base64
from clip_core.errors import BadImage, ImageTooLarge
from gateway.inputs.parser import InputParser
from gateway.inputs.source import Source
from gateway.inputs.urls import UrlPolicy
from gateway.keys.meter import _pixels


def picture() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((32, 32), 90).save(file, "PNG")
    return file.getvalue()


PNG = picture()
LINES = base64.encodebytes(PNG).decode()
SAFE = base64.urlsafe_b64encode(PNG).decode().rstrip("=")
FORMS = [
    LINES,
    SAFE,
    "\ufeff" + SAFE,
    f"data:image/png; base64,{LINES}",
    f'data:image/png;name="a:b, c";base64,{SAFE}',
    "data:image/png," + "".join(f"%{byte:02X}" for byte in PNG),
]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_reaches_the_encoder_and_is_charged(form: str) -> None:
    parser = InputParser(len(PNG))
    encoded = parser.image(form, "image")
    assert decode_base64(encoded) == PNG
    assert _pixels([Source("image", encoded, "image")]) == 32 * 32


def test_line_breaks_do_not_count_as_bytes() -> None:
    with pytest.raises(ImageTooLarge):
        InputParser(len(PNG) - 3).image(LINES, "image")


def test_spaces_around_a_url() -> None:
    assert InputParser(1, UrlPolicy()).image(" https://example.org/a.png\n", "image") == "https://example.org/a.png"


def test_an_empty_file_is_called_empty() -> None:
    parser = InputParser(1000)
    for empty in ("", parser.upload(b"", "image")):
        with pytest.raises(BadImage, match="empty"):
            parser.image(empty, "image")
    with pytest.raises(BadImage, match="a data: URI, base64, or an upload"):
        parser.image(7, "image")
