"""Which requests are answered: those of programs that use the service's own name, never those of web pages.

Any web page that a browser on this machine shows can send requests to a loopback service. Browsers mark them with
`Origin` and `Sec-Fetch-Site`. A page whose name resolves to this address (DNS rebinding) sends that name as `Host`.
Without a preflight request (CORS) a page can't send JSON.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence
from functools import lru_cache

from clip_core.errors import BadInput, Forbidden, UnsupportedMediaType

_PROBES = ("/healthz", "/readyz", "/metrics")  # called by address, and the answers hold nothing of a caller's
_ANY_HOST = "*"
_KNOWN = 256  # values of a header whose verdict is kept


class CallerCheck:
    """For a service that listens on `host`, and that its callers may also name as one of `names`; `*`: any."""

    def __init__(self, host: str, names: Collection[str]) -> None:
        self._names = {_plain(name) for name in (*names, host, "localhost")}
        self._any_address = _is_wildcard(host)
        self._is_own = lru_cache(_KNOWN)(self._named_here)

    def check(self, path: str, headers: Sequence[tuple[bytes, bytes]], by_name: dict[bytes, bytes]) -> None:
        """Raises Forbidden or UnsupportedMediaType; `by_name` are the same `headers`."""
        if b"origin" in by_name or by_name.get(b"sec-fetch-site", b"none") != b"none":
            raise Forbidden("the index service answers no web pages: call the gateway", param="Origin")
        if path not in _PROBES:
            self._check_host(headers, by_name)
        if by_name.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in by_name:
            _check_type(by_name.get(b"content-type", b""))

    def _check_host(self, headers: Sequence[tuple[bytes, bytes]], by_name: dict[bytes, bytes]) -> None:
        if len(by_name) < len(headers) and sum(name == b"host" for name, _ in headers) > 1:
            raise BadInput("the request has more than one header Host", param="Host")
        if not self._is_own(by_name.get(b"host", b"")):
            advice = "call it by its address, or add the name to CLIPSERVE_INDEX_ALLOWED_HOSTS"
            raise Forbidden(f"the index service is not called by the name in the header Host: {advice}", param="Host")

    def _named_here(self, header: bytes) -> bool:
        host = _without_port(header.decode("latin-1"))
        if host and (host in self._names or _ANY_HOST in self._names):
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return address.is_loopback or self._any_address


def _check_type(value: bytes) -> None:
    kind = value.partition(b";")[0].strip().lower()
    if kind != b"application/json" and not (kind.startswith(b"application/") and kind.endswith(b"+json")):
        raise UnsupportedMediaType("a body is JSON: send the header Content-Type: application/json")


def _without_port(value: str) -> str:
    """The name in `name:port`, or the address in `[address]:port`; empty when it is neither."""
    host, colon, port = value.rpartition(":") if not value.endswith("]") else (value, "", "")
    if not colon:
        host = host or port
    elif port and not (port.isascii() and port.isdecimal()):
        return ""
    return _plain(host)


def _plain(name: str) -> str:
    name = name.strip().lower().removesuffix(".")
    return name[1:-1] if name.startswith("[") and name.endswith("]") else name


def _is_wildcard(host: str) -> bool:
    """Whether the service listens on every address of its machine."""
    try:
        return ipaddress.ip_address(_plain(host)).is_unspecified
    except ValueError:
        return not host
