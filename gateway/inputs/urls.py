"""Which URLs may be fetched at all, before any name is resolved."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from yarl import URL

from clip_core.errors import FetchRefused

MAX_URL_CHARS = 2048


def is_http_url(value: object) -> bool:
    """Whether `value` names something to fetch; base64 holds no colon, so an image itself never does."""
    return isinstance(value, str) and value[:8].lower().startswith(("http:", "https:"))


@dataclass(frozen=True)
class UrlPolicy:
    """`hosts` are names, or `*.example.org` for everything below one; none means any host. `ports` likewise."""

    hosts: Sequence[str] = ()
    ports: Sequence[int] = (80, 443)

    def checked(self, text: str) -> URL:
        """The URL, parsed by the same library that will fetch it. Raises FetchRefused."""
        url = _parsed(text)
        if url.scheme not in ("http", "https") or not url.raw_host:
            raise FetchRefused("only http and https URLs with a host are fetched")
        if url.user is not None or url.password is not None:
            raise FetchRefused("a URL with a user name or a password is not fetched")
        if self.ports and url.port not in self.ports:
            raise FetchRefused(f"the port {url.port} is not one of those that are fetched from")
        if self.hosts and not any(_matches(url.raw_host, pattern) for pattern in self.hosts):
            raise FetchRefused(f"the host {url.raw_host[:100]!r} is not on this gateway's list")
        return url


def _parsed(text: str) -> URL:
    if len(text) > MAX_URL_CHARS:
        raise FetchRefused(f"the URL is longer than {MAX_URL_CHARS} characters")
    if any(character <= " " or character in "\\\x7f" for character in text):
        raise FetchRefused("the URL holds a space, a backslash or a control character")
    try:
        url = URL(text)
        port = url.port
    except ValueError as error:
        raise FetchRefused("this is not a well-formed URL") from error
    if port == 0:
        raise FetchRefused("there is nothing on port 0")
    if url.raw_host and _looks_numeric(url.raw_host) and not is_address(url.raw_host):
        raise FetchRefused("an address in an old numeric form is not fetched")
    return url.with_fragment(None)


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _looks_numeric(host: str) -> bool:
    """2130706433, 0x7f000001, 127.1, 0177.0.0.1: the system's resolver takes each for an address."""
    last = host.rstrip(".").rpartition(".")[2].lower()
    return last.isdigit() or last.startswith("0x")


def _matches(host: str, pattern: str) -> bool:
    host, pattern = host.rstrip(".").lower(), pattern.lower()
    if pattern.startswith("*."):
        return host.endswith(pattern[1:])
    return host == pattern
