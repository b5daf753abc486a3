"""As much of TorchServe's management and inference API as a swap needs, over plain HTTP."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlencode

from clip_core.errors import TorchServeUnavailable


class Management:
    """Addresses such as http://127.0.0.1:8081. Every method raises TorchServeUnavailable with TorchServe's words."""

    def __init__(self, management_url: str, inference_url: str, timeout_s: float = 600.0) -> None:
        self._management, self._inference = management_url.rstrip("/"), inference_url.rstrip("/")
        self._timeout_s = timeout_s

    def versions(self, endpoint: str) -> list[dict[str, Any]]:
        """What is registered under this name, every version described."""
        found: list[dict[str, Any]] = self._call("GET", f"{self._management}/models/{endpoint}/all")
        return found

    def default_version(self, endpoint: str) -> str:
        return str(self._call("GET", f"{self._management}/models/{endpoint}")[0]["modelVersion"])

    def register(self, endpoint: str, archive: str, workers: int) -> None:
        """`archive` is a file's name in the model store. Returns once its workers are up."""
        query = {"url": archive, "model_name": endpoint, "initial_workers": workers, "synchronous": "true"}
        self._call("POST", f"{self._management}/models?{urlencode(query)}")

    def is_ready(self, endpoint: str, version: str) -> bool:
        workers = self._version(endpoint, version)["workers"]
        return bool(workers) and all(worker["status"] == "READY" for worker in workers)

    def pending(self, endpoint: str, version: str) -> int:
        """Requests that wait in the version's queue."""
        status = self._version(endpoint, version).get("jobQueueStatus") or {}
        return int(status.get("pendingRequests", 0))

    def make_default(self, endpoint: str, version: str) -> None:
        self._call("PUT", f"{self._management}/models/{endpoint}/{version}/set-default")

    def unregister(self, endpoint: str, version: str) -> None:
        self._call("DELETE", f"{self._management}/models/{endpoint}/{version}")

    def predict(self, endpoint: str, body: Any, version: str | None = None) -> dict[str, Any]:
        path = f"/{version}" if version else ""
        answer: dict[str, Any] = self._call("POST", f"{self._inference}/predictions/{endpoint}{path}", body)
        return answer

    def wait_ready(self, endpoint: str, version: str) -> None:
        deadline = time.monotonic() + self._timeout_s
        while not self.is_ready(endpoint, version):
            if time.monotonic() > deadline:
                raise TorchServeUnavailable(f"{endpoint} {version} is not ready after {self._timeout_s:.0f} s")
            time.sleep(0.2)

    def _version(self, endpoint: str, version: str) -> dict[str, Any]:
        found: dict[str, Any] = self._call("GET", f"{self._management}/models/{endpoint}/{version}")[0]
        return found

    def _call(self, method: str, url: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data else {}  # a call with it is expected to have a body
        request = urllib.request.Request(url, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise TorchServeUnavailable(f"TorchServe: {_words(error.read())}") from error
        except (OSError, urllib.error.URLError, ValueError) as error:
            raise TorchServeUnavailable(f"TorchServe does not answer at {url.partition('?')[0]} ({error})") from error


def _words(data: bytes) -> str:
    try:
        answer = json.loads(data)
        return str(answer.get("error", answer)["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return data.decode("utf-8", "replace")[:300]
