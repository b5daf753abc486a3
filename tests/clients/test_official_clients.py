"""The clients of other vendors, as their packages are: each script of `calls/`, against a gateway with keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.kserve.rpc import messages

pytestmark = pytest.mark.clients
CALLS = Path(__file__).with_name("calls")
PROTO_FOLDER = Path(messages.__file__).parent
SCRIPTS = sorted(path for path in CALLS.glob("*.py") if path.name != "reference.py")


def test_there_are_clients():
    assert len(SCRIPTS) >= 9


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_calls(run_client, environment, script):
    run_client(script, **environment, PROTO_FOLDER=str(PROTO_FOLDER))
