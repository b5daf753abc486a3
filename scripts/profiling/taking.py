"""Asks a worker, or a service, for a profile and waits for it; what comes is written into a folder."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import orjson

from clip_core.errors import BadInput, ClipServeError, NotFound, TorchServeUnavailable, from_dict
from scripts.models.management import with_token
from scripts.profiling.profile_page import page, service_page
from scripts.public_api import PublicApi, http_client

Json = dict[str, Any]
_LOOK_S = 0.5
_WRITING_S = 60.0
_CEILING_SIZE = 1024
_PASSING = (429, 503)


class ProfiledService(NamedTuple):
    """Where it is by default, and the path of its profile."""

    url: str
    path: str


SERVICES = {
    "gateway": ProfiledService("http://127.0.0.1:8000", "/v1/stats/profile"),
    "index": ProfiledService("http://127.0.0.1:8090", "/stats/profile"),
}


class ProfileTaker:
    """`url`: TorchServe's inference API; `token`: what CLIPSERVE_HANDLER_ADMIN_TOKEN is there.

    `key_file`: where TorchServe writes tokens of its own, if it asks for some.
    """

    def __init__(self, url: str, token: str, key_file: Path | None = None) -> None:
        self._client, self._token = http_client(url, timeout_s=30.0), token
        with_token(self._client, key_file, "inference")

    def take(self, endpoint: str, batches: int, seconds: float, look: Callable[[], object] = lambda: None) -> Json:
        """Raises ClipServeError. `look` is called while it waits."""
        begun = self._admin(endpoint, {"profile": "start", "batches": batches, "seconds": seconds})
        ends = time.monotonic() + seconds + _WRITING_S
        while time.monotonic() < ends:
            time.sleep(_LOOK_S)
            look()
            found = self._fetched(endpoint, begun["id"])
            if found is not None:
                return found
        raise TorchServeUnavailable(f"the worker of {endpoint} did not finish its profile")

    def _fetched(self, endpoint: str, identity: str) -> Json | None:
        """None while it is taken. A full queue is no end of it: under load is when profiles are taken."""
        try:
            found = self._admin(endpoint, {"profile": "fetch", "id": identity})
        except ClipServeError as error:
            if error.status not in _PASSING:
                raise
            return None
        return found if found["state"] == "done" else None

    def _admin(self, endpoint: str, body: Json) -> Json:
        content = orjson.dumps({"admin": {**body, "token": self._token}})
        try:
            answer = self._client.post(f"/predictions/{quote(endpoint, safe='')}", content=content, headers=_JSON)
        except httpx.HTTPError as error:
            raise TorchServeUnavailable(f"TorchServe does not answer ({type(error).__name__})") from error
        return _profile_in(endpoint, answer)


def take_service(service: str, url: str, api_key: str | None, seconds: int, *, memory: bool) -> Json:
    """A service's profile of itself; `service`: one of SERVICES. Raises ClipServeError."""
    path = f"{SERVICES[service].path}?seconds={seconds}&memory={str(memory).lower()}"
    found = PublicApi(url, api_key, timeout_s=seconds + _WRITING_S).call("POST", path)
    if not isinstance(found, dict) or "stacks" not in found:
        raise ClipServeError(f"what answers at {url} is no {service} of clipserve")
    return found


_JSON = {"Content-Type": "application/json"}


def _profile_in(endpoint: str, answer: httpx.Response) -> Json:
    try:
        body = answer.json()
    except ValueError:
        body = {}
    if answer.status_code == 404 and "error" not in body:
        raise NotFound(f"TorchServe has no endpoint {endpoint}")
    if answer.status_code >= 500 and "error" not in body:
        raise TorchServeUnavailable(f"{endpoint} takes no request now: {body.get('message', answer.status_code)}")
    if answer.status_code != 200 or "profile" not in body:
        raise from_dict(body, answer.status_code) if "error" in body else ClipServeError(f"no profile: {body}")
    found: Json = body["profile"]
    return found


def ceiling_gflops(threads: int) -> float:
    """What a float32 product of 1,024 × 1,024 reaches on this machine."""
    import torch

    torch.set_num_threads(threads)
    left = torch.rand(_CEILING_SIZE, _CEILING_SIZE)
    seconds = min(_timed(lambda: left @ left) for _ in range(5))
    return 2 * _CEILING_SIZE**3 / seconds / 1e9


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def check_folder(folder: Path) -> None:
    """Before a profile is taken for it: it is there and can be written into. Raises BadInput."""
    with _writing(folder):
        tempfile.TemporaryFile(dir=folder).close()


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Raises BadInput for what the system says."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise BadInput(f"no profile can be written into {folder}: {error.strerror}") from error


def write_profile(profile: Json, folder: Path, ceiling: float | None) -> None:
    """profile.json for `diff`, trace.json for Perfetto, and index.html for people. Raises BadInput."""
    rest = {name: value for name, value in profile.items() if name != "trace"}
    with _writing(folder):
        (folder / "trace.json").write_bytes(orjson.dumps({"traceEvents": profile["trace"]}))
        (folder / "index.html").write_text(page(profile, ceiling), encoding="utf-8")
        (folder / "profile.json").write_bytes(orjson.dumps(rest, option=orjson.OPT_INDENT_2))


def write_service_profile(service: str, profile: Json, folder: Path) -> None:
    """profile.json, and index.html for people. Raises BadInput."""
    with _writing(folder):
        (folder / "index.html").write_text(service_page(service, profile), encoding="utf-8")
        (folder / "profile.json").write_bytes(orjson.dumps(profile, option=orjson.OPT_INDENT_2))
