"""One request and its answer, whichever client sends it: headers, time limits, and failures as exceptions."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypedDict, TypeVar

import httpx

import clipserve_client.settings as settings
from clipserve_client.answers.reading import oddity
from clipserve_client.calls.calls import Call
from clipserve_client.errors import ApiError, BadAddress, BadKey, CallTimedOut, ConnectionFailed, api_error
from clipserve_client.retries import retry_after

T = TypeVar("T")
_CONNECT_S = 5.0
_SHOWN = 80  # characters of an odd answer
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True)
class Target:
    """Where calls go. Raises BadAddress for what is no http(s) URL, and BadKey."""

    url: str
    api_key: str | None = field(default=None, repr=False)
    verify: bool = True

    def __post_init__(self) -> None:
        try:
            parsed = httpx.URL(self.url)
        except httpx.InvalidURL:
            parsed = httpx.URL("")
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise BadAddress(f"{self.url!r} is no address of a gateway: write it as http://host:port")
        if self.api_key and not (self.api_key.isascii() and self.api_key.isprintable() and " " not in self.api_key):
            raise BadKey("the API key has a space, a line end or a letter that no key has: is it copied whole?")

    @classmethod
    def of(cls, url: str | None, api_key: str | None, verify: bool) -> Target:
        """What is None is read from the environment."""
        return cls((url or settings.gateway_url()).rstrip("/"), api_key or settings.api_key(), verify)

    def options(self) -> dict[str, Any]:
        """Of httpx's clients. No proxy stands between this machine and itself."""
        headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        return {
            "base_url": self.url,
            "headers": {"Accept": "application/json", "User-Agent": "clipserve-client", **headers},
            "verify": self.verify,
            "trust_env": not _is_loopback(httpx.URL(self.url).host),
        }


class Request(TypedDict):
    method: str
    url: str
    content: bytes | None
    params: dict[str, Any] | None
    headers: dict[str, str]
    timeout: httpx.Timeout


def request(call: Call[Any], time_left_s: float) -> Request:
    """What httpx sends. The gateway is told how long the answer is waited for, so that it does no work in vain."""
    content = call.content()
    headers = {"X-Request-Timeout": f"{min(time_left_s, 999_999.0):.3f}"}
    if content is not None:
        headers["Content-Type"] = "application/json"
    timeout = httpx.Timeout(time_left_s, connect=min(_CONNECT_S, time_left_s))
    return Request(
        method=call.method,
        url=call.path,
        content=content,
        params=dict(call.params) or None,
        headers=headers,
        timeout=timeout,
    )


def answer(call: Call[T], response: httpx.Response) -> T:
    """Raises ApiError."""
    body = _json(response)
    if response.is_success or response.status_code in call.answers:
        try:
            return call.read(body)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            why = f"it is no JSON ({body[:_SHOWN]})" if isinstance(body, str) else oddity(error)
            raise ApiError(
                f"{response.url} answered with {response.status_code}, but not as a gateway does: {why}",
                status=response.status_code,
                code="unreadable_answer",
            ) from error
    headers = response.headers
    raise api_error(
        response.status_code,
        body,
        request_id=headers.get("X-Request-Id"),
        retry_after=retry_after(headers.get("Retry-After")),
    )


def _json(response: httpx.Response) -> Any:
    try:
        return json.loads(response.content)
    except ValueError:
        return response.text


@contextmanager
def failures(target: Target) -> Iterator[None]:
    """httpx's errors as ours: ConnectionFailed or CallTimedOut."""
    try:
        yield
    except _UNSENT as error:
        raise ConnectionFailed(
            f"{target.url} does not answer ({error or type(error).__name__}). Is the gateway running? "
            "`clipserve up` starts one; CLIPSERVE_URL names one that runs elsewhere",
            sent=False,
        ) from error
    except httpx.TimeoutException as error:
        raise CallTimedOut(f"{target.url} gave no answer in time; raise `timeout_s`, or send less at once") from error
    except httpx.RequestError as error:
        raise ConnectionFailed(
            f"the connection to {target.url} broke before its answer ({error or type(error).__name__}). "
            "Does the gateway still run? Its log says why it ended",
            sent=True,
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
