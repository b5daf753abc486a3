"""Plain HTTP to the gateway or the index service, each call sent once: for what watches and measures them."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from clip_core.errors import Unavailable, from_dict


class PublicApi:
    """`url` such as http://127.0.0.1:8000. Raises the gateway's own errors as ClipServeError."""

    def __init__(self, url: str, api_key: str | None = None, timeout_s: float = 60.0) -> None:
        self.url, self.timeout_s = url.rstrip("/"), timeout_s
        self.headers = {"Content-Type": "application/json"}
        if api_key:
            self.headers["Authorization"] = f"Bearer {api_key}"

    def call(self, method: str, path: str, body: Any = None) -> Any:
        status, answer = self._send(method, path, body)
        if status >= 300:
            raise from_dict(answer, status)
        return answer

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

    def _send(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """→ status and JSON. Raises Unavailable."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=self.headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=self.timeout_s) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, _json(error.read())
        except (OSError, urllib.error.URLError) as error:
            raise Unavailable(f"{self.url} does not answer ({error}); is `clipserve up` running?") from error


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data.decode("utf-8", "replace")
