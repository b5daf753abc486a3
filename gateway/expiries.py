"""When what others trust the gateway by ends: its certificate, and the API keys in use."""

from __future__ import annotations

import ssl
from _ssl import _test_decode_cert  # type: ignore[attr-defined]
from pathlib import Path

from gateway.keys.key_lookup import KeyLookup


class Expiries:
    """`certificate`: the PEM file that is served, read once as the server reads it."""

    def __init__(self, certificate: Path | None, keys: KeyLookup) -> None:
        self._certificate = None if certificate is None else certificate_expiry(certificate)
        self._keys = keys

    def read(self) -> dict[str, float]:
        """Seconds since 1970: of the `certificate`, and of the next `key`. What does not end is left out."""
        found = {"certificate": self._certificate, "key": self._keys.next_expiry()}
        return {what: moment for what, moment in found.items() if moment is not None}


def certificate_expiry(path: Path) -> float | None:
    """Of the first certificate of a PEM file; None where there is none, which the server itself tells.

    The standard library has no other reader for it.
    """
    try:
        return float(ssl.cert_time_to_seconds(str(_test_decode_cert(str(path))["notAfter"])))
    except (OSError, ValueError, KeyError):
        return None
