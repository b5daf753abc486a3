"""Tells a gateway on this machine where a collection's pictures lie, so that it can show the originals."""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from clipserve_client import Client, ClientError
from clipserve_client.inputs.names import collection_name

_NAME = "folders.token"
_TOKEN = re.compile("[A-Za-z0-9_-]{43}")


def show_from(client: Client, folder: Path, collection: str, prefix: str) -> bool:
    """Whether the gateway shows pictures from there now. It does only for who can read its data folder."""
    if not _is_here(client.target.url):
        return False
    path = f"/v1/collections/{collection_name(collection)}/folders"
    try:
        token = _token(client.call("GET", path)["token_file"])
        if token is not None:
            client.call("POST", path, {"folder": os.path.abspath(folder), "prefix": prefix, "token": token})
    except (ClientError, KeyError, TypeError):  # an older gateway
        return False
    return token is not None


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _token(file: object) -> str | None:
    """A gateway names the file: nothing is sent that is no token, nor read that is not named like one."""
    if not isinstance(file, str) or os.path.basename(file) != _NAME:
        return None
    try:
        with open(file, encoding="ascii") as opened:
            text = opened.read(64)
    except (OSError, ValueError):
        return None
    return text if _TOKEN.fullmatch(text) else None
