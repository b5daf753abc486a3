"""The addresses that helm says after an install."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.ship.helm import CHART, SCENARIOS, helm, scenario

HOST = "search.example.org"
PUBLIC = {"name": "public", "namespace": "gateways"}


def notes(*words: str) -> str:
    return helm("install", "r", str(CHART), "--namespace", "search", "--dry-run=client", *words).partition("NOTES:")[2]


def outside(**values: Any) -> list[str]:
    given = [word for name, value in values.items() for word in ("--set-json", f"{name}={json.dumps(value)}")]
    lines = [line.strip() for line in notes(*given).splitlines()]
    return [line.removeprefix("Address outside").strip() for line in lines if line.startswith("Address outside")]


@pytest.mark.parametrize(
    ("host", "tls", "address"),
    [
        (HOST, [], f"http://{HOST}"),
        (HOST, [{"secretName": "t", "hosts": [HOST]}], f"https://{HOST}"),
        (HOST, [{"secretName": "t", "hosts": ["other.example.org"]}], f"http://{HOST}"),
        (HOST, [{"secretName": "t", "hosts": ["*.example.org"]}], f"https://{HOST}"),
        (f"a.{HOST}", [{"secretName": "t", "hosts": ["*.example.org"]}], f"http://a.{HOST}"),
        (f"*.{HOST}", [{"secretName": "t", "hosts": [HOST]}], f"http://*.{HOST}"),
        (HOST, [{"secretName": "t"}], f"https://{HOST}"),
    ],
)
def test_an_ingress_has_https_where_it_has_tls(host: str, tls: list[dict[str, Any]], address: str) -> None:
    assert outside(ingress={"enabled": True, "hosts": [host], "tls": tls}) == [address]


def test_a_route_is_at_the_address_of_its_gateway() -> None:
    (told,) = outside(route={"enabled": True, "hosts": [HOST], "parents": [PUBLIC, {"name": "own"}]})
    assert told == f"{HOST}; port and TLS are those of the listener of Gateway gateways/public, Gateway search/own"
    (told,) = outside(route={"enabled": True, "parents": [PUBLIC]})
    assert told.startswith("any name; ")


def test_what_is_off_has_no_address() -> None:
    assert outside(ingress={"hosts": [HOST]}, route={"hosts": [HOST], "parents": [PUBLIC]}) == []


def test_a_load_balancer_is_asked_for_its_address() -> None:
    assert outside(service={"type": "LoadBalancer"}) == ["kubectl --namespace search get service r-clipserve"]


@pytest.mark.parametrize(
    ("port", "address"), [(80, "http://r-clipserve.search\n"), (8000, "r-clipserve.search:8000\n")]
)
def test_the_address_inside_has_the_port_of_the_service(port: int, address: str) -> None:
    assert address in notes("--set", f"service.port={port}")


def test_every_scenario_has_notes() -> None:
    for path in SCENARIOS:
        assert "From this machine" in notes(*scenario(path)), path
