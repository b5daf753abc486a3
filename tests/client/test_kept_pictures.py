"""`clipserve reindex` takes pictures from the gateway where nothing else is left of them."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from PIL import Image

from scripts.collections.kept_pictures import KeptPictures
from scripts.public_api import PublicApi

ID = "sub/a b.png"


def png() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (12, 8), "red").save(out, "PNG")
    return out.getvalue()


def filled(stack_of: Any, mode: str) -> PublicApi:
    stack = stack_of(pictures=mode)
    stack.fill("text")
    image = f"data:image/png;base64,{base64.b64encode(png()).decode()}"
    answer = stack.post("/v1/collections/demo/items", {"items": [{"id": ID, "image": image}]})
    assert answer.json()["results"][0]["status"] == 200
    return PublicApi(stack.url)


def test_a_copy_is_the_picture_as_it_was_sent(stack_of: Any) -> None:
    kept = KeptPictures(filled(stack_of, "copy"), "demo", thumbnails=False)
    assert kept.of(ID) == png()
    assert kept.of("text") is None


@pytest.mark.parametrize("thumbnails", [True, False])
def test_a_thumbnail_is_taken_only_when_it_is_asked_for(stack_of: Any, thumbnails: bool) -> None:
    found = KeptPictures(filled(stack_of, "thumbnails"), "demo", thumbnails=thumbnails).of(ID)
    assert (found is not None) == thumbnails
    assert found is None or Image.open(io.BytesIO(found)).size == (12, 8)
