"""`clipserve local-llm`: how it is started, what it says where nothing is installed, and the model itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI
from typer.testing import CliRunner

from clip_core.errors import NotFound
from scripts.cli import app
from scripts.local_llm import command_line
from scripts.local_llm.command_line import installed, server_command
from scripts.stack.live_stack import free_ports
from tests.gateway.conftest import stack_of, upstreams
from tests.waiting import until

__all__ = ["stack_of", "upstreams"]


def test_what_is_started() -> None:
    command = server_command(Path("/env/bin/python"), Path("/env/model.gguf"), 8095, 2, 2048)
    assert command[:2] == ["/env/bin/python", "-P"]
    assert Path(command[2]).read_text(encoding="utf-8").count("llama_cpp")
    assert command[command.index("--name") + 1] == "smollm2"


def test_what_is_missing_is_said(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(command_line, "ENVIRONMENT", tmp_path)
    with pytest.raises(NotFound, match="make setup-local-llm"):
        installed()
    run = CliRunner().invoke(app, ["local-llm", "--port", "0"])
    assert run.exit_code == 2


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    try:
        python, model = installed()
    except NotFound as missing:
        pytest.skip(missing.message)
    (port,) = free_ports(1)
    with subprocess.Popen(server_command(python, model, port, 1, 1024), stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}/v1"
            _wait(url, process)
            yield url
        finally:
            process.terminate()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    def is_there() -> bool:
        assert process.poll() is None, "the server ended"
        with suppress(httpx.HTTPError):
            return httpx.get(f"{url}/models").is_success
        return False

    until(is_there, 60)


@pytest.mark.full
@pytest.mark.skipif(sys.platform == "win32", reason="no execv as we use it")
def test_it_chats_through_the_gateway(server: str, stack_of: Any) -> None:
    stack = stack_of(chat_model_url=server)
    asked: Any = [{"role": "user", "content": "What is the capital of France? One word."}]
    with OpenAI(base_url=f"{stack.url}/v1", api_key="none", max_retries=0) as sdk:
        said = sdk.chat.completions.create(model="smollm2", messages=asked, max_tokens=40)
        assert "Paris" in (said.choices[0].message.content or "")
        chunks = list(sdk.chat.completions.create(model="smollm2", messages=asked, max_tokens=40, stream=True))
        assert "".join(each.choices[0].delta.content or "" for each in chunks)
        schema: Any = {"type": "object", "properties": {"color": {"enum": ["red", "blue"]}}, "required": ["color"]}
        form: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
        sky: Any = [{"role": "user", "content": "The sky is blue. Which colour is it?"}]
        told = sdk.chat.completions.create(model="smollm2", messages=sky, response_format=form)
        assert json.loads(told.choices[0].message.content or "")["color"] in ("red", "blue")
        assert sdk.responses.create(model="smollm2", input="Say hello.", max_output_tokens=20).output_text
