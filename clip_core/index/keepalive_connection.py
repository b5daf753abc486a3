"""One HTTP connection, kept between calls: the standard library's, for a pool's bookkeeping costs as much."""

from __future__ import annotations

from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

JSON = {"Content-Type": "application/json"}
_CONNECT_S = 1.0


class _AtOnce(HTTPConnection):
    """Sends a request's headers and its body together: apart, the server would wake up for each."""

    _parts: tuple[bytes, ...] = ()

    def send(self, data: Any) -> None:
        """Keep what is to be sent."""
        self._parts = (*self._parts, data)

    def flush(self) -> None:
        """Send what was kept."""
        parts, self._parts = self._parts, ()
        super().send(b"".join(parts))

    def close(self) -> None:
        """Forget what was kept, too."""
        self._parts = ()
        super().close()


class _AtOnceTls(HTTPSConnection, _AtOnce):
    """The same over TLS."""


class KeepaliveConnection:
    """To the server of `url`, such as http://127.0.0.1:8090; not shared between threads."""

    def __init__(self, url: str, timeout_s: float) -> None:
        """`timeout_s` is the longest wait for the server to go on; connecting has a second at most."""
        parts = urlsplit(url.rstrip("/"))
        kind = _AtOnceTls if parts.scheme == "https" else _AtOnce
        self._connection = kind(parts.hostname or "", parts.port, timeout=min(_CONNECT_S, timeout_s))
        self._timeout_s, self._prefix = timeout_s, parts.path

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = JSON
    ) -> tuple[int, bytes]:
        """Status and body; for calls that may be made twice, as they are when the server had closed the connection.

        Raises OSError or http.client.HTTPException when the server can't be reached, or doesn't answer.
        """
        kept = self._open
        try:
            return self._once(method, path, body, headers)
        except (ConnectionError, HTTPException):
            if not kept:
                raise
            return self._once(method, path, body, headers)

    @property
    def _open(self) -> bool:
        return self._connection.sock is not None

    def close(self) -> None:
        """The next call opens it again."""
        self._connection.close()

    def __del__(self) -> None:
        self.close()

    def _once(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        try:
            if not self._open:
                self._connection.connect()
                self._connection.sock.settimeout(self._timeout_s)
            self._connection.request(method, self._prefix + path, body, headers)
            self._connection.flush()
            answer = self._connection.getresponse()
            return answer.status, answer.read()
        except BaseException:
            self.close()
            raise
