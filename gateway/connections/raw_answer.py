"""Answers for requests that the HTTP parser could not finish, as bytes."""

from __future__ import annotations

from http import HTTPStatus

import orjson

from clip_core.errors import (
    ClipServeError,
    InvalidRequest,
)


def not_http(data: bytes) -> InvalidRequest:
    if data.startswith(b"PRI * HTTP/2"):
        return InvalidRequest("HTTP/2 is not spoken here: send HTTP/1.1")
    return InvalidRequest("this is not a well-formed HTTP/1.1 request")


def raw_answer(error: ClipServeError) -> bytes:
    body, phrase = orjson.dumps(error.to_dict()), HTTPStatus(error.status).phrase
    again = "Retry-After: 1\r\n" if error.status == HTTPStatus.SERVICE_UNAVAILABLE else ""
    head = (
        f"HTTP/1.1 {error.status} {phrase}\r\nContent-Type: application/json\r\n{again}"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body
