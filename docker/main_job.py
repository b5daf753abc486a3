"""`python main_job.py GATEWAY_URL`: a collection is made, filled, searched and dropped; `helm test` runs it.

Where the model has a captioner, a picture of the collection is captioned, too.

The key is the first of `/run/secrets/clipserve_gateway_api_keys`, where there is one. It needs none of our packages.
"""

from __future__ import annotations

import base64
import json
import struct
import sys
import urllib.error
import urllib.request
import uuid
import zlib
from pathlib import Path
from typing import Any

KEYS = Path("/run/secrets/clipserve_gateway_api_keys")
_WORDS = ("a red circle", "a blue star", "a green square")
_TIMEOUT_S = 60.0


def call(method: str, url: str, body: object = None) -> Any:
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, method=method, data=content)
    request.add_header("Content-Type", "application/json")
    if KEYS.is_file():
        request.add_header("Authorization", f"Bearer {KEYS.read_text(encoding='utf-8').split(',')[0].strip()}")
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
        return json.load(answer)


def picture(size: int = 64) -> str:
    """A red square as PNG, in base64."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        told = kind + content
        return struct.pack(">I", len(content)) + told + struct.pack(">I", zlib.crc32(told))

    rows = (b"\0" + b"\xff\0\0" * size) * size
    head = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + parts).decode()


def run(url: str) -> str:
    """What was done. Raises OSError, or ValueError when something else is found than what was added."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    collection = f"{url}/v1/collections/{name}"
    call("PUT", collection, {})
    try:
        items = [{"id": str(place), "text": text} for place, text in enumerate(_WORDS)]
        items.append({"id": "square", "image": picture()})
        results = call("POST", f"{collection}/items", {"items": items})["results"]
        if any(each["status"] >= 300 for each in results):
            raise ValueError(f"items were refused: {results}")
        hits = call("POST", f"{url}/v1/search", {"collection": name, "text": _WORDS[1], "k": 1})["hits"]
        if [hit["id"] for hit in hits] != ["1"]:
            raise ValueError(f"the search for {_WORDS[1]!r} found {hits}")
        said = caption(url)
    finally:
        call("DELETE", collection)
    return f"a collection was made, filled, searched and dropped; {said}"


def caption(url: str) -> str:
    """What the default model says of a picture. Raises OSError or ValueError."""
    (model,) = [each for each in call("GET", f"{url}/v1/models")["data"] if each["default"]]
    if not model["captioner"]:
        return f"{model['id']} has no captioner"
    text = call("POST", f"{url}/v1/captions", {"image": picture()})["data"][0].get("text")
    if not text:
        raise ValueError("a picture got no caption")
    return f"a picture was captioned: {text}"


def main(url: str) -> int:
    try:
        said = run(url)
    except urllib.error.HTTPError as error:
        print(f"{error.url} answered {error.code}: {error.read(1000).decode(errors='replace')}")
        return 1
    except (OSError, ValueError, LookupError) as error:
        print(f"{url}: {error}")
        return 1
    print(f"{url}: {said}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
