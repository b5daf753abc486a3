"""Offers of other protocols to the index service."""

from __future__ import annotations

import json
import socket
import time
from urllib.parse import urlsplit

import pytest
from starlette.types import Receive, Scope, Send

from index_service.http.protocol import PlainProtocol
from tests.gateway.fakes import serving

SEEN: list[str] = []


async def note(scope: Scope, _: Receive, send: Send) -> None:
    SEEN.append(scope["path"])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize("offer", ["Upgrade: h2c", "Upgrade: websocket"])
@pytest.mark.parametrize("later", [False, True])
def test_an_offer_is_refused_with_all_that_follows(offer, later):
    inner = b"DELETE /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    head = f"POST /search HTTP/1.1\r\nConnection: Upgrade\r\n{offer}\r\nContent-Length: {len(inner)}\r\n\r\n".encode()
    SEEN.clear()
    with serving(note, http=PlainProtocol) as url:
        parts = urlsplit(url)
        with socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=10) as connection:
            connection.sendall(head if later else head + inner)
            if later:
                time.sleep(0.01)
                connection.sendall(inner)
            answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert "Upgrade" in json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["message"]
    assert SEEN == []
