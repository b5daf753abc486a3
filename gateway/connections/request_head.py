"""The head of a request: written again without an offer to change the protocol, its target, its body's coding."""

from __future__ import annotations

from collections.abc import Sequence

import httptools

from clip_core.errors import InvalidRequest

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


def origin_form(url: bytes, headers: list[Header]) -> bytes:
    """The path and query of a target that names a host: the host counts, not the header (RFC 9112, 3.2.2).

    Raises HttpParserInvalidURLError.
    """
    if url == b"*":
        return url
    target = httptools.parse_url(url)
    port = b"" if target.port is None else b":%d" % target.port
    host = target.host or b""
    headers[:] = [(b"host", (b"[%b]" % host if b":" in host else host) + port)] + [
        header for header in headers if header[0] != b"host"
    ]
    return (target.path or b"/") + (b"" if target.query is None else b"?" + target.query)


def check_transfer(headers: Sequence[Header]) -> None:
    """Raises InvalidRequest for a body that was coded in another way than in chunks: it is decoded nowhere."""
    for name, value in headers:
        if name == b"transfer-encoding" and value.lower() != b"chunked":
            raise InvalidRequest("the one Transfer-Encoding known here is `chunked`: send the body uncompressed")
