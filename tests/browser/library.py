"""A gateway before a fake TorchServe and a fake index: collections of any size at once, and no model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gateway.app import build
from gateway.settings import GatewaySettings
from tests.gateway.fake_captioner import FakeCaptioner
from tests.gateway.fake_index import FakeIndex
from tests.gateway.fakes import DIM, FakeTorchServe, embed, serving

NAMED = 300
COLORS = ("red", "green", "blue")


@dataclass
class Library:
    """`url` of the gateway, the index and the captioner behind it, and the folder of the collection `photos`."""

    url: str
    index: FakeIndex
    pictures: Path
    captioner: FakeCaptioner

    def fill(self, name: str, count: int, **metadata: Any) -> None:
        """`count` items `item-00000` …, each with a caption, a colour and this metadata; strings are formatted."""
        items = {
            f"item-{n:05}": {"vector": vector, "metadata": _metadata(n, metadata)} for n, vector in _vectors(count)
        }
        spec = {"model": "demo", "fingerprint": "fp-demo", "dim": DIM, "metric": "cosine", "engine": "auto"}
        self.index.collections[name] = {"spec": spec, "items": items}

    def asked(self, fragment: str) -> list[tuple[str, str, Any]]:
        """The calls of the index whose path has this in it."""
        return [call for call in self.index.calls if fragment in call[1]]


def _vectors(count: int) -> Iterator[tuple[int, np.ndarray]]:
    """The first of them are found by their number; drawing each by itself would take seconds for the others."""
    yield from ((n, embed(f"{n}")) for n in range(min(count, NAMED)))
    more = max(0, count - NAMED)
    yield from enumerate(np.random.default_rng(0).standard_normal((more, DIM), np.float32) / 99, NAMED)


def _metadata(n: int, more: dict[str, Any]) -> dict[str, Any]:
    written = {key: text.format(n=n) if isinstance(text, str) else text for key, text in more.items()}
    return {"caption": f"picture {n}", "color": COLORS[n % 3], **written}


@contextmanager
def library_gateway(folder: Path, **settings: Any) -> Iterator[Library]:
    """Served with a picture of its own for each of the first 50 items of `photos`."""
    pictures = folder / "pictures"
    pictures.mkdir()
    for n in range(50):
        Image.new("RGB", (64, 48), (5 * n, 120, 200 - 3 * n)).save(pictures / f"{n}.png")
    index = FakeIndex()
    torchserve = FakeTorchServe(index)
    with serving(index.app()) as index_url, serving(torchserve.app()) as url:
        upstreams = {"index_url": index_url, "torchserve_url": url, "management_url": url, "metrics_url": url}
        given = {"data_dir": folder / "gateway", "image_roots": {"photos": pictures}, **settings}
        given.setdefault("pictures_min_free_bytes", 0)
        with serving(build(GatewaySettings(**upstreams, **given)), lifespan="on") as address:
            yield Library(address, index, pictures, torchserve.captioner)
