"""`python export_snapshots.py INDEX_URL FOLDER`: a Parquet snapshot of every collection, `<collection>.<time>.parquet`.

It needs none of our packages. A collection that fails is told, the others are written, and the exit code is 1. A file
that is put into the index service's folder `snapshots` can be restored by its name.
"""

from __future__ import annotations

import json
import shutil
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

_TIMEOUT_S = 3600.0  # of one call: a snapshot is made before its answer begins


def call(method: str, url: str) -> Any:
    request = urllib.request.Request(url, method=method, data=b"{}" if method == "POST" else None)
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
        return json.load(answer)


def export(url: str, collection: str, folder: Path) -> int:
    """The file's bytes. It appears whole or not at all; the service keeps no copy."""
    made = call("POST", f"{url}/collections/{quote(collection)}/snapshots")["name"]
    snapshot, part = f"{url}/snapshots/{quote(made)}", folder / f"{collection}.part"
    try:
        with urllib.request.urlopen(snapshot, timeout=_TIMEOUT_S) as content, part.open("wb") as file:
            shutil.copyfileobj(content, file)
    finally:
        call("DELETE", snapshot)
    part.rename(folder / made)
    return (folder / made).stat().st_size


def told(url: str, collection: str, folder: Path) -> bool:
    """Whether it was exported."""
    try:
        print(f"{collection}: {export(url, collection, folder)} bytes", flush=True)
    except (OSError, ValueError, KeyError) as error:  # HTTPError and URLError are OSErrors
        detail = error.read(500).decode(errors="replace") if isinstance(error, urllib.error.HTTPError) else error
        print(f"{collection}: not exported: {detail}", flush=True)
        return False
    return True


def main(url: str, folder: str) -> int:
    try:
        names = [each["name"] for each in call("GET", f"{url}/collections")["collections"]]
    except OSError as error:
        print(f"{url} does not answer: {error}")
        return 1
    exported = [told(url, name, Path(folder)) for name in names]
    return 0 if all(exported) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
