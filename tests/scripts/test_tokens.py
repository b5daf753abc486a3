"""Who of the command line, the guard and the scaler brings the token that TorchServe asks for."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from aiohttp.test_utils import make_mocked_request

from clip_core.errors import Forbidden
from clip_core.serving.torchserve_tokens import KEY_FILE
from scaler.actuators.torchserve import TorchServeWorkers, WorkerCount
from scripts.encoder import EncoderSettings, serve
from scripts.models import management
from scripts.models.management import Management
from scripts.processes.java_properties import read_properties
from scripts.processes.preflight import StackStartError
from scripts.stack import torchserve
from scripts.stack.data_folder import DataFolder
from scripts.stack.live_stack import free_ports
from scripts.stack.management_guard import Policy, guarded
from scripts.stack.parts import Parts
from scripts.stack.up_settings import UpSettings
from tests.scripts.test_management_guard import Door, Upstream, thread_of

DESCRIBED = [{"modelName": "clip_text", "modelVersion": "1.0", "minWorkers": 1, "workers": [{"status": "READY"}]}]


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / KEY_FILE
    path.write_text(json.dumps({"management": {"key": "of-management"}, "inference": {"key": "of-inference"}}))
    return path


def test_model_commands_bring_the_token_of_each_api(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    brought: list[tuple[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        brought.append((request.url.host, request.headers["authorization"]))
        return httpx.Response(200, json=DESCRIBED if request.method == "GET" else {})

    transport = httpx.MockTransport(answer)
    monkeypatch.setattr(management, "_client", lambda url, _: httpx.Client(base_url=url, transport=transport))
    server = Management("http://management", "http://inference", key_file=key_file)
    assert server.default_version("clip_text") == "1.0"
    server.predict("clip_text", {})
    assert brought == [("management", "Bearer of-management"), ("inference", "Bearer of-inference")]


def test_the_scaler_brings_it(key_file: Path) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        known = request.headers.get("authorization") == "Bearer of-management"
        return httpx.Response(200, json=DESCRIBED) if known else httpx.Response(400)

    async def run() -> WorkerCount:
        async with TorchServeWorkers("http://torchserve", httpx.MockTransport(answer), key_file) as workers:
            return await workers.count("clip_text")

    assert asyncio.run(run()) == WorkerCount(1, 1)


@pytest.mark.usefixtures("key_file")
def test_the_guard_brings_it_for_readiness_only(tmp_path: Path) -> None:
    """A caller's own token, or none, is passed on as it is."""
    settings = UpSettings.model_validate({"token_authorization": True, "management_port": free_ports(1)[0]})
    guard = guarded(settings, tmp_path)
    with guard as where, Upstream(Path(str(where).removeprefix("unix:"))) as upstream, thread_of(upstream):
        door = Door(settings.management_port)
        door.send("GET", "/readyz")
        door.send("GET", "/models/clip_text", Authorization="Bearer mine")
        door.send("GET", "/models")
        assert upstream.tokens == ["Bearer of-management", "Bearer mine", None]
        assert door.send("GET", "/token?type=inference", Authorization="Bearer api")[0] == 202


def test_a_read_only_guard_makes_no_new_tokens() -> None:
    asked = make_mocked_request("GET", "/token?type=inference", {"Host": "localhost"})
    Policy().check(asked)
    with pytest.raises(Forbidden, match="read-only"):
        Policy(read_only=True).check(asked)


@pytest.mark.parametrize(("given", "disabled"), [(True, "false"), (False, "true")])
def test_torchserve_is_told(given: bool, disabled: str, tmp_path: Path) -> None:
    settings = UpSettings.model_validate({"token_authorization": given})
    found = read_properties(torchserve.properties(settings, tmp_path, tmp_path))
    assert found["disable_token_authorization"] == disabled
    assert ("token_expiration_min" in found) == given


@pytest.mark.parametrize("given", [True, False])
def test_gateway_and_scaler_are_told_where_the_tokens_are(given: bool, tmp_path: Path) -> None:
    settings = UpSettings.model_validate({"token_authorization": given, "data_dir": tmp_path})
    with DataFolder(tmp_path) as folder:
        parts = Parts(settings, folder, None, None)
        told = parts._gateway().get("TORCHSERVE_KEY_FILE"), parts._scaler().get("TORCHSERVE_KEY_FILE")
        assert told == ((str(folder.run / KEY_FILE),) * 2 if given else (None, None))


def test_an_encoder_needs_a_folder_that_others_can_read(tmp_path: Path) -> None:
    (tmp_path / "clip_text.mar").touch()
    settings = EncoderSettings.model_validate({"token_authorization": True, "model_store": tmp_path})
    with pytest.raises(StackStartError, match="CLIPSERVE_TOKEN_DIR"):
        serve(settings, tmp_path)
