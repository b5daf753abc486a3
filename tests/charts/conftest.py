"""All tests here need helm; `make test-charts` installs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.ship.helm import TOOLS

_HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = not (TOOLS / "helm").exists()
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.charts)
            if missing:
                item.add_marker(pytest.mark.skip(reason="helm is not installed: make setup-charts"))
