"""A second model on the same TorchServe: added, searched and removed, while not one request of the first fails."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from clip_core.errors import Conflict
from scripts.archive.build import build
from scripts.archive.places import MODEL_STORE
from scripts.cli import app
from scripts.models.management import Management
from scripts.models.model_list import table
from scripts.models.row_store import FILE, RowStore
from scripts.stack.live_stack import LiveStack, live_stack
from tests.e2e.conftest import send
from tests.e2e.steady_clients import steady_clients
from tests.e2e.test_gateway import png
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]  # workers start beside steady clients
CLIENTS, PATIENCE_S = 4, 120.0


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    """A stack with a model store of its own, whose models come and go."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "store").mkdir()
    for mar in build("demo", model_store=MODEL_STORE):
        shutil.copy(mar, folder / "store")
    with live_stack(folder, "--no-demo", "--model-store", str(folder / "store")) as stack:
        stack.wait_ready()
        yield stack


def model(stack: LiveStack, command: str, *arguments: str) -> Result:
    """`clipserve model …` for this stack."""
    urls = ["--management-url", f"http://127.0.0.1:{stack.ports['management_port']}"]
    urls += ["--inference-url", stack.inference, "--data-dir", str(stack.data_dir)]
    urls += ["--index-url", stack.index] if command == "remove" else []
    return CliRunner().invoke(app, ["model", command, *arguments, *urls])


def requests_of_the_first() -> list[tuple[str, Any]]:
    """To the default model."""
    return [
        ("/v1/embeddings", {"input": ["a red circle", {"image": png()}]}),
        ("/v1/search", {"collection": "first", "text": "a star", "k": 3}),
    ]


def listed(stack: LiveStack) -> list[str]:
    return [each["id"] for each in send("GET", f"{stack.gateway}/v1/models").json["data"] if each["status"] == "ready"]


def fill(stack: LiveStack, collection: str, **spec: str) -> None:
    assert send("PUT", f"{stack.gateway}/v1/collections/{collection}", spec).status in (200, 201)
    items = {"items": [{"id": "a", "text": "a star"}, {"id": "b", "text": "a red circle"}]}
    results = send("POST", f"{stack.gateway}/v1/collections/{collection}/items", items).json["results"]
    assert [result["status"] for result in results] == [200, 200]


def search(stack: LiveStack, collection: str) -> Any:
    return send("POST", f"{stack.gateway}/v1/search", {"collection": collection, "text": "a star", "k": 1})


def test_a_second_model_comes_and_goes(own: LiveStack, archives: list[Path]) -> None:
    fill(own, "first")
    store = own.data_dir.parent / "store"
    with steady_clients(own, requests_of_the_first(), CLIENTS) as answers:
        added = model(
            own, "add", "demo", "--name", "tiny", "--archives", str(archives[0].parent), "--model-store", str(store)
        )
        assert added.exit_code == 0, added.output
        assert "of memory in 3 workers" in added.output
        until(lambda: listed(own) == ["demo", "tiny"], PATIENCE_S)
        fill(own, "second", model="tiny")
        found = search(own, "second").json
        assert (found["model"], found["hits"][0]["id"]) == ("tiny", "a")
        assert search(own, "first").json["model"] == "demo"
        wrong = send("POST", f"{own.gateway}/v1/search", {"collection": "second", "text": "a", "model": "demo"})
        assert (wrong.status, wrong.json["error"]["code"]) == (409, "fingerprint_mismatch")
        assert "'demo'" in wrong.json["error"]["message"]
        assert "'tiny'" in wrong.json["error"]["message"]
        assert send("GET", f"{own.gateway}/v1/models/tiny").json["context_length"] == 77
        _check_list(own)
        needed = model(own, "remove", "tiny")
        assert "second (2 items)" in str(needed.exception)
        assert listed(own) == ["demo", "tiny"]
        removed = model(own, "remove", "tiny", "--force")
        assert removed.exit_code == 0, removed.output
        until(lambda: listed(own) == ["demo"], PATIENCE_S)
        assert search(own, "first").status == 200
    assert len(answers) > 50
    assert set(answers) == {(200, b"")}


def _check_list(stack: LiveStack) -> None:
    console = Console(width=400, record=True)
    torchserve = Management(f"http://127.0.0.1:{stack.ports['management_port']}", stack.inference)
    console.print(table(torchserve, RowStore(stack.data_dir / FILE).read()))
    assert "demo (default)" in console.export_text()


@pytest.mark.full
def test_an_added_model_survives_torchserves_restart(own: LiveStack, archives: list[Path]) -> None:
    store = own.data_dir.parent / "store"
    added = model(
        own, "add", "demo", "--name", "kept", "--archives", str(archives[0].parent), "--model-store", str(store)
    )
    assert added.exit_code == 0, added.output
    until(lambda: listed(own) == ["demo", "kept"], PATIENCE_S)
    (java,) = own.find("org.pytorch.serve.ModelServer")
    java.kill()
    java.wait()
    until(lambda: listed(own) == ["demo", "kept"], PATIENCE_S)


def test_torchserve_says_what_it_does_not_take(own: LiveStack, archives: list[Path], tmp_path: Path) -> None:
    for mar in archives:
        shutil.copy(mar, tmp_path)
    added = model(own, "add", "demo", "--name", "lost", "--archives", str(tmp_path), "--model-store", str(tmp_path))
    assert "is not this stack's model store (TorchServe finds no lost_text.mar" in str(added.exception)
    assert sorted(tmp_path.iterdir()) == sorted(tmp_path / mar.name for mar in archives)
    torchserve = Management(f"http://127.0.0.1:{own.ports['management_port']}", own.inference)
    with pytest.raises(Conflict, match="already registered"):
        torchserve.register("clip_text", "clip_text.mar", 1)
