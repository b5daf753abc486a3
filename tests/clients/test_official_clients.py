"""The clients of other vendors, as their packages are: each script of `calls/`, and each block of docs/clients.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.kserve.rpc import messages
from tests.gateway.test_clients import BLOCKS

pytestmark = pytest.mark.clients
CALLS = Path(__file__).with_name("calls")
PROTO_FOLDER = Path(messages.__file__).parent
SCRIPTS = sorted(path for path in CALLS.glob("*.py") if path.name != "reference.py")
DOCUMENTED = [name for name, blocks in BLOCKS.items() if blocks and blocks[0][0] == "python" and name != "httpx"]
REAL_ONLY = "TorchServe's own gRPC"  # the fake TorchServe speaks HTTP


def test_there_are_clients_and_blocks():
    assert len(SCRIPTS) >= 9
    assert len(DOCUMENTED) >= 9


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_calls(run_client, environment, script):
    run_client(script, **environment, PROTO_FOLDER=str(PROTO_FOLDER))


@pytest.mark.parametrize("name", [name for name in DOCUMENTED if name != REAL_ONLY])
def test_blocks_of_the_docs(run_client, environment, tmp_path, name):
    run_client(written(name, tmp_path), **environment)


def written(name: str, folder: Path) -> Path:
    """The only block of a section of docs/clients.md, as a script."""
    (_, code), *rest = BLOCKS[name]
    assert not rest
    script = folder / "block.py"
    script.write_text(code, encoding="utf-8")
    return script
