"""What the scripts beside this share: where the gateway is, and what it says without anybody's client."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import urllib.request
from collections.abc import Iterator
from typing import Any

import numpy as np

URL = os.environ["CLIPSERVE_URL"]
KEY = os.environ["CLIPSERVE_API_KEY"]
GRPC = os.environ["GRPC_ADDRESS"]
HEADERS = {"authorization": f"Bearer {KEY}"}
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC")
PICTURE = "data:image/png;base64," + base64.b64encode(PNG).decode()
TEXTS = [f"text {n}" for n in range(300)]


@contextlib.contextmanager
def refused(kind: type[Exception], *words: str) -> Iterator[None]:
    """What is inside raises an exception of this kind that says these words."""
    said = ""
    try:
        yield
    except kind as error:
        said = f"{error} {getattr(error, 'body', '')}"
    assert said, f"no {kind.__name__}"
    for each in words:
        assert each in said, said


def vectors(given: list[Any]) -> np.ndarray:
    """(n, dim) float32, by a plain request."""
    body = json.dumps({"input": given, "encoding_format": "base64"}).encode()
    request = urllib.request.Request(f"{URL}/v1/embeddings", body, {"X-API-Key": KEY})
    with urllib.request.urlopen(request) as answer:
        data = json.load(answer)["data"]
    return np.stack([np.frombuffer(base64.b64decode(entry["embedding"]), "<f4") for entry in data])


def same(found: Any, given: list[Any]) -> None:
    """The vectors are those of a plain request."""
    np.testing.assert_allclose(np.float32(found), vectors(given), atol=1e-6)
