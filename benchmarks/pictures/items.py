"""Calls about single pictures that are in: their thumbnails, their metadata."""

from __future__ import annotations

import base64
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import httpx
from PIL import Image

from benchmarks.pictures.ingest import COLLECTION
from scripts.stack.live_stack import LiveStack

_CALLS, _BULK, _BULKS, _PAGE = 300, 1000, 20, 16384


def item_figures(stack: LiveStack) -> dict[str, float]:
    with httpx.Client(base_url=f"{stack.gateway}/v1/collections/{COLLECTION}", timeout=60) as http:
        ids = [item["id"] for item in http.get("/items", params={"limit": 100}).json()["items"]]
        return {
            "thumbnail_p50_ms": _p50_ms(lambda n: http.get(f"/items/{quote(ids[n % len(ids)], '')}/thumbnail")),
            "upload_metadata_bytes": _metadata_bytes(http),
            "patch_p50_ms": _p50_ms(
                lambda n: http.patch(f"/items/{quote(ids[n % len(ids)], '')}", json={"metadata": {"rating": n}})
            ),
            "patches_per_s": _bulk_rate(http),
            "fdatasync_p50_ms": _sync_p50_ms(stack.data_dir),
        }


def _p50_ms(call: Callable[[int], httpx.Response]) -> float:
    """One client, one call after the other. Raises httpx.HTTPStatusError."""
    times = []
    for n in range(_CALLS):
        began = time.perf_counter()
        call(n).raise_for_status()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def _sync_p50_ms(folder: Path) -> float:
    """What no durable write is faster than: 16 KB written over and forced to this disk."""
    times = []
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(_PAGE * _CALLS))
        os.fsync(file.fileno())
        for n in range(_CALLS):
            began = time.perf_counter()
            os.pwrite(file.fileno(), os.urandom(_PAGE), n * _PAGE)
            os.fdatasync(file.fileno())
            times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def _metadata_bytes(http: httpx.Client) -> float:
    """Of the JSON metadata of a picture that was uploaded with a caption of four letters."""
    file = io.BytesIO()
    Image.new("RGB", (800, 600), "red").save(file, "JPEG")
    image = "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
    http.post("/items", json={"items": [{"id": "one", "image": image, "metadata": {"caption": "plum"}}]})
    return float(len(json.dumps(http.get("/items/one").raise_for_status().json()["metadata"])))


def _bulk_rate(http: httpx.Client) -> float:
    """Items a second, by calls of 1,000 over the collection's own items, one after the other."""
    ids = [item["id"] for item in http.get("/items", params={"limit": _BULK}).json()["items"]]
    began = time.monotonic()
    for n in range(_BULKS):
        items = [{"id": item_id, "metadata": {"seen": n}} for item_id in ids]
        http.patch("/items", json={"items": items}).raise_for_status()
    return _BULKS * len(ids) / (time.monotonic() - began)
