"""As much of TorchServe's management and inference API as a change of models needs, over plain HTTP."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import httpx

from clip_core.errors import ClipServeError, Conflict, NotFound, TorchServeUnavailable
from clip_core.serving.torchserve_tokens import bearer
from scripts.public_api import http_client

_REGISTERING: Mapping[int, type[ClipServeError]] = MappingProxyType({404: NotFound, 409: Conflict})


class Management:
    """Addresses such as http://127.0.0.1:8081 or unix:/run/management.sock.

    `key_file`: where TorchServe writes its tokens, if it asks for some; it need not be there.

    Unless it says more, every method raises TorchServeUnavailable with TorchServe's words.
    """

    def __init__(
        self, management_url: str, inference_url: str, timeout_s: float = 600.0, key_file: Path | None = None
    ) -> None:
        self._management, self._inference = (_client(url, timeout_s) for url in (management_url, inference_url))
        with_token(self._management, key_file, "management")
        with_token(self._inference, key_file, "inference")
        self._timeout_s = timeout_s

    def versions(self, endpoint: str) -> list[dict[str, Any]]:
        """What is registered under this name, every version described."""
        found: list[dict[str, Any]] = _call(self._management, "GET", f"/models/{endpoint}/all")
        return found

    def registered(self, endpoint: str) -> list[str]:
        """The versions under this name; none where there is no such name."""
        found = _call(self._management, "GET", f"/models/{endpoint}/all", missing=[])
        return [str(each["modelVersion"]) for each in found]

    def worker_pids(self, endpoint: str) -> list[int]:
        """Of the default version, on TorchServe's machine; none where there is no such name."""
        found = _call(self._management, "GET", f"/models/{endpoint}", missing=[])
        workers = [worker for version in found for worker in version["workers"]]
        return [worker["pid"] for worker in workers if isinstance(worker.get("pid"), int) and worker["pid"] > 0]

    def default_version(self, endpoint: str) -> str:
        return str(_call(self._management, "GET", f"/models/{endpoint}")[0]["modelVersion"])

    def register(self, endpoint: str, archive: str, workers: int) -> None:
        """`archive` is a file's name in the model store. `wait_ready` says when its workers are up.

        Raises NotFound when the store has no such file, Conflict when this version is registered already.
        TorchServe is not asked to wait for them: one of its event loops would, and half of all requests with it.
        """
        query = {"url": archive, "model_name": endpoint, "initial_workers": workers, "synchronous": "false"}
        _call(self._management, "POST", "/models", errors=_REGISTERING, params=query)

    def pending(self, endpoint: str, version: str) -> int:
        """Requests that wait in the version's queue."""
        status = self._version(endpoint, version).get("jobQueueStatus") or {}
        return int(status.get("pendingRequests", 0))

    def make_default(self, endpoint: str, version: str) -> None:
        _call(self._management, "PUT", f"/models/{endpoint}/{version}/set-default")

    def unregister(self, endpoint: str, version: str) -> None:
        _call(self._management, "DELETE", f"/models/{endpoint}/{version}")

    def predict(
        self, endpoint: str, body: Any, version: str | None = None, timeout_s: float | None = None
    ) -> dict[str, Any]:
        path = f"/predictions/{endpoint}{f'/{version}' if version else ''}"
        limit = self._timeout_s if timeout_s is None else timeout_s
        answer: dict[str, Any] = _call(self._inference, "POST", path, json=body, timeout=limit)
        return answer

    def wait_ready(self, endpoint: str, version: str) -> None:
        """Raises TorchServeUnavailable as soon as a worker ended instead of becoming ready."""
        deadline, seen = time.monotonic() + self._timeout_s, set[int]()
        while not _all_ready(workers := self._version(endpoint, version)["workers"]):
            seen |= {each["pid"] for each in workers if each.get("pid", 0) > 0}
            if len(seen) > max(1, len(workers)):
                raise TorchServeUnavailable(f"{endpoint} {version} does not start; TorchServe's log says why")
            if time.monotonic() > deadline:
                raise TorchServeUnavailable(f"{endpoint} {version} is not ready after {self._timeout_s:.0f} s")
            time.sleep(0.2)

    def _version(self, endpoint: str, version: str) -> dict[str, Any]:
        found: dict[str, Any] = _call(self._management, "GET", f"/models/{endpoint}/{version}")[0]
        return found


def with_token(client: httpx.Client, key_file: Path | None, api: Literal["inference", "management"]) -> None:
    """From now on its requests carry TorchServe's token of `api`, as the file says it then."""
    client.event_hooks = {"request": [lambda request: request.headers.update(bearer(key_file, api))]}


def _all_ready(workers: Sequence[Mapping[str, Any]]) -> bool:
    return bool(workers) and all(each["status"] == "READY" for each in workers)


def _client(url: str, timeout_s: float) -> httpx.Client:
    """`unix:PATH`, too: where TorchServe listens behind the guard of its management API."""
    if not url.startswith("unix:"):
        return http_client(url, None, timeout_s)
    transport = httpx.HTTPTransport(uds=url.removeprefix("unix:"))
    return httpx.Client(base_url="http://localhost", transport=transport, timeout=timeout_s)


def _call(
    client: httpx.Client,
    method: str,
    path: str,
    missing: Any = None,
    errors: Mapping[int, type[ClipServeError]] = MappingProxyType({}),
    **how: Any,
) -> Any:
    """`missing` is the answer in place of a 404, where it is given; `errors`: status → what it raises."""
    try:
        response = client.request(method, path, **how)
        if response.status_code == 404 and missing is not None:
            return missing
        if not response.is_success:
            raise errors.get(response.status_code, TorchServeUnavailable)(f"TorchServe: {_words(response)}")
        return response.json()
    except (httpx.RequestError, ValueError) as error:
        raise TorchServeUnavailable(f"TorchServe does not answer at {client.base_url.join(path)} ({error})") from error


def _words(response: httpx.Response) -> str:
    try:
        answer = response.json()
        return str(answer.get("error", answer)["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return response.text[:300]
