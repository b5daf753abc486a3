"""Which names a gateway without keys answers to.

A page of evil.test whose name leads to 127.0.0.1 (DNS rebinding) is of the same origin as a gateway there, so that it
may read and write; but its browser says `Host: evil.test`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from clip_core.errors import HostNotAllowed

_HOST = re.compile(r"(\[(?P<address>[^\[\]]+)\]|(?P<name>[^:\[\]]+))(:[0-9]*)?")
PROBES = frozenset(  # called by address, and nothing to a page
    {"/healthz", "/readyz", "/metrics", "/health", "/v1/health", "/v2/health/live", "/v2/health/ready"}
)


class HostList:
    """Loopback names and addresses, and those given: `search.lan`, `*.lan` for everything below a name, `*` for any."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        self._names = frozenset(_plain(name) for name in names) | {"localhost"}
        self._endings = tuple(name[1:] for name in self._names if name.startswith("*."))
        self._allows = lru_cache(maxsize=256)(self.allows)

    def check(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """The Host. Raises HostNotAllowed unless there is exactly one, and it is on the list."""
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1 or not self._allows(hosts[0]):
            raise _refused(hosts)
        return hosts[0]

    def allows(self, host: bytes) -> bool:
        if "*" in self._names:
            return True
        name = _name(host.decode("latin-1"))
        return name is not None and (name in self._names or name.endswith(self._endings) or _is_loopback(name))


def _name(host: str) -> str | None:
    """`Search.LAN.:8000` → `search.lan`, `[::1]:8000` → `::1`; None for what is no host with a port."""
    found = _HOST.fullmatch(host)
    return _plain(found["address"] or found["name"]) if found else None


def _plain(name: str) -> str:
    return name.strip().lower().removesuffix(".")


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _refused(hosts: Sequence[bytes]) -> HostNotAllowed:
    if len(hosts) != 1:
        return HostNotAllowed("send exactly one Host header; this gateway has no API keys and goes by it")
    name = hosts[0].decode("latin-1")[:100]
    return HostNotAllowed(
        f"this gateway has no API keys, so it does not answer to the name {name!r}: call it as 127.0.0.1 or localhost, "
        "add the name to CLIPSERVE_GATEWAY_ALLOWED_HOSTS, or make a key with `clipserve keys create`"
    )
