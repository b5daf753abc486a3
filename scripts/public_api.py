"""Plain HTTP to the gateway or the index service, each call sent once: for what watches and measures them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from clip_core.errors import Unavailable, from_dict
from clipserve_client.calls.exchange import Target

_NONE_KEPT = httpx.Limits(max_keepalive_connections=0)


def http_client(url: str, api_key: str | None = None, timeout_s: float = 60.0) -> httpx.Client:
    """Each call has a connection of its own, so that there is nothing to close, and none meets a server's last one.

    No proxy stands between this machine and itself. Raises BadAddress.
    """
    target = Target(url.rstrip("/"), api_key, verify=not url.startswith("http://"))
    return httpx.Client(**target.options(), timeout=timeout_s, limits=_NONE_KEPT)


class PublicApi:
    """`url` such as http://127.0.0.1:8000. Raises the gateway's own errors as ClipServeError."""

    def __init__(self, url: str, api_key: str | None = None, timeout_s: float = 60.0) -> None:
        self.url, self._http = url.rstrip("/"), http_client(url, api_key, timeout_s)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        status, answer = self._send(method, path, body)
        if status >= 300:
            raise from_dict(answer, status)
        return answer

    @contextmanager
    def download(self, path: str) -> Iterator[Iterator[bytes]]:
        """The body of a GET, in parts. Raises Unavailable when it ends too early."""
        with self._failures(), self._http.stream("GET", path) as response:
            if not response.is_success:
                response.read()
                raise from_dict(_json(response), response.status_code)
            yield response.iter_bytes()

    def ready(self) -> tuple[bool, str]:
        """Whether /readyz is 200, and what it says when it is not."""
        faults = [f"{part}: {verdict}" for part, verdict in self.parts().items() if verdict != "ok"]
        return not faults, "; ".join(faults)

    def parts(self) -> dict[str, str]:
        """Part → "ok", or what /readyz says is wrong with it."""
        try:
            status, answer = self._send("GET", "/readyz")
        except Exception as error:  # of whatever kind: no answer
            return {"gateway": str(error)}
        parts = answer.get("parts") if isinstance(answer, dict) else None
        return parts or {"gateway": "ok" if status == 200 else str(from_dict(answer, status))}

    def models(self) -> dict[str, str]:
        """Each model but the default → "ok", or what /readyz says is wrong with it."""
        try:
            _, answer = self._send("GET", "/readyz")
        except Unavailable as error:
            return {"gateway": str(error)}
        return dict(answer.get("models") or {}) if isinstance(answer, dict) else {}

    def _send(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """→ status and JSON; of an error its text, where it is no JSON. Raises Unavailable."""
        with self._failures():
            response = self._http.request(method, path, json=body)
            return response.status_code, response.json() if response.is_success else _json(response)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (httpx.RequestError, ValueError) as error:
            raise Unavailable(f"{self.url} does not answer ({error}); is `clipserve up` running?") from error


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return response.text
