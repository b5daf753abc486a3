"""The head of a request: written again without an offer to change the protocol, and the host that it names."""

from __future__ import annotations

from collections.abc import Sequence

import httptools

Header = tuple[bytes, bytes]


def size_of(url: bytes, headers: Sequence[Header], framing: int) -> int:
    """Of a whole head in bytes, where its first line and each header take `framing` besides their content."""
    size = len(url) + framing * (len(headers) + 1)
    for name, value in headers:
        size += len(name) + len(value)
    return size


def head_without_upgrade(method: bytes, url: bytes, version: str, headers: Sequence[Header]) -> bytes:
    """The request line and all other headers, as bytes."""
    lines = [b"%b %b HTTP/%b" % (method, url, version.encode("ascii"))]
    lines += [b"%b: %b" % header for header in headers if header[0] != b"upgrade"]
    return b"\r\n".join([*lines, b"", b""])


def name_host(url: bytes, headers: list[Header]) -> None:
    """For a target that is no path: of `GET http://host/path` the host counts, not the header (RFC 9112, 3.2.2).

    Raises HttpParserInvalidURLError.
    """
    if url == b"*":
        return
    target = httptools.parse_url(url)
    port = b"" if target.port is None else b":%d" % target.port
    host = target.host or b""
    headers[:] = [(b"host", (b"[%b]" % host if b":" in host else host) + port)] + [
        header for header in headers if header[0] != b"host"
    ]
