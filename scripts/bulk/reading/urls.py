"""Pictures by URL, fetched by the worker itself."""

from __future__ import annotations

import time

import httpx

from clip_core.periodic import doubled
from clipserve_client.sources.files import Skip

_MOST_BYTES = 64 * 1024 * 1024
_TIMEOUT_S, _TRIES, _PAUSE_S, _LONGEST_PAUSE_S = 20.0, 3, 0.5, 8.0
_MOST_S = 120.0  # for a whole picture: a server may send a byte now and then
_PASSING = (429, 500, 502, 503, 504)
_UNWANTED = {"noai", "noimageai", "noindex", "noimageindex"}  # of X-Robots-Tag: the site wants no such use


class Fetcher:
    """From several threads."""

    def __init__(self, connections: int) -> None:
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        headers = {"User-Agent": "clipserve-bulk", "Accept": "image/*"}
        self._http = httpx.Client(timeout=_TIMEOUT_S, limits=limits, headers=headers, follow_redirects=True)

    def fetch(self, url: str) -> bytes:
        """Raises Skip."""
        for attempt in range(_TRIES):
            try:
                status, content = self._once(url)
            except (httpx.InvalidURL, ValueError) as error:  # also UnicodeError, of names that are none
                raise Skip("fetch_failed", str(error)) from error
            except httpx.HTTPError as error:
                status, why = 503, str(error) or type(error).__name__
            else:
                if content is not None:
                    return content
                why = f"HTTP {status}"
            if status not in _PASSING or attempt == _TRIES - 1:
                raise Skip("fetch_failed", why)
            time.sleep(doubled(_PAUSE_S, attempt, _LONGEST_PAUSE_S))
        raise Skip("fetch_failed")

    def close(self) -> None:
        self._http.close()

    def _once(self, url: str) -> tuple[int, bytes | None]:
        with self._http.stream("GET", url) as answer:
            if answer.status_code != 200:
                return answer.status_code, None
            if _UNWANTED & {each.strip().lower() for each in answer.headers.get("X-Robots-Tag", "").split(",")}:
                raise Skip("fetch_disallowed", "the site's X-Robots-Tag forbids it")
            parts, size, end = [], 0, time.monotonic() + _MOST_S
            for part in answer.iter_bytes():
                if time.monotonic() > end:
                    raise Skip("fetch_failed", f"it was not whole after {_MOST_S:g} s")
                size += len(part)
                if size > _MOST_BYTES:
                    raise Skip("too large", f"more than {_MOST_BYTES:,} bytes")
                parts.append(part)
            if not size:
                raise Skip("empty file")
            return 200, b"".join(parts)
