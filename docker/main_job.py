"""`python main_job.py GATEWAY_URL`: a collection is made, filled and searched, and dropped; `helm test` runs it.

The key is the first of `/run/secrets/clipserve_gateway_api_keys`, where there is one. It needs none of our packages.
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
import uuid
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


def run(url: str) -> None:
    """Raises OSError, or ValueError when something else is found than what was added."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    collection = f"{url}/v1/collections/{name}"
    call("PUT", collection, {})
    try:
        items = [{"id": str(place), "text": text} for place, text in enumerate(_WORDS)]
        results = call("POST", f"{collection}/items", {"items": items})["results"]
        if any(each["status"] >= 300 for each in results):
            raise ValueError(f"items were refused: {results}")
        hits = call("POST", f"{url}/v1/search", {"collection": name, "text": _WORDS[1], "k": 1})["hits"]
        if [hit["id"] for hit in hits] != ["1"]:
            raise ValueError(f"the search for {_WORDS[1]!r} found {hits}")
    finally:
        call("DELETE", collection)


def main(url: str) -> int:
    try:
        run(url)
    except urllib.error.HTTPError as error:
        print(f"{error.url} answered {error.code}: {error.read(1000).decode(errors='replace')}")
        return 1
    except (OSError, ValueError, LookupError) as error:
        print(f"{url}: {error}")
        return 1
    print(f"{url}: a collection was made, filled, searched and dropped")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
