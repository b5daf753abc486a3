"""When the certificate and the keys end, as `/metrics` shows it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from gateway.expiries import Expiries, certificate_expiry
from gateway.keys.key_lookup import KeyLookup
from gateway.keys.key_store import KeyStore
from gateway.metrics import GatewayMetrics

CERTIFICATE = Path(__file__).parent / "tls" / "certificate.pem"
YEAR_S = 365 * 86400


def test_the_certificates_end_is_read() -> None:
    found = certificate_expiry(CERTIFICATE)
    assert found is not None
    assert found > time.time() + 50 * YEAR_S


@pytest.mark.parametrize("content", [b"", b"no certificate", b"\xff" * 100])
def test_what_is_no_certificate_has_no_end(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "certificate.pem").write_bytes(content)
    assert certificate_expiry(tmp_path / "certificate.pem") is None
    assert certificate_expiry(tmp_path / "none.pem") is None


def test_the_next_key_that_is_in_use_counts(tmp_path: Path) -> None:
    store, now = KeyStore(tmp_path / "keys.db"), time.time()
    store.create("for good", ("search",))
    store.create("later", ("search",), expires=now + 900)
    store.create("soon", ("search",), expires=now + 600)
    store.create("over", ("search",), expires=now - 1)
    _, revoked = store.create("revoked", ("search",), expires=now + 60)
    store.revoke(revoked.id)
    lookup = KeyLookup((), store)
    assert lookup
    assert Expiries(None, lookup).read() == {"key": pytest.approx(now + 600)}


def test_what_does_not_end_is_not_shown() -> None:
    assert Expiries(None, KeyLookup(("secret",))).read() == {}
    metrics = GatewayMetrics()
    metrics.show_expiries({"certificate": 5.0})
    metrics.show_expiries({"key": 6.0})
    shown = {
        sample.labels["what"]: sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "clipserve_gateway_expires_timestamp_seconds"
    }
    assert shown == {"key": 6.0}
