"""The recipes of docs/clients.md, run against a gateway."""

from __future__ import annotations

import re
import runpy
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

from tests.gateway.fakes import picture_uri

PAGE = Path(__file__).resolve().parents[2] / "docs" / "clients.md"
BLOCKS = {
    re.match(r"(\w+)", section).group(1): re.findall(r"```(\w+)\n(.*?)```", section, re.S)
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]
}


def recipe(name: str) -> str:
    (_, code), *rest = BLOCKS[name]
    assert not rest
    return code


@pytest.fixture
def environment(stack_of, monkeypatch):
    stack = stack_of(api_keys="secret")
    stack.client.headers["X-API-Key"] = "secret"
    stack.fill("a red circle", "a blue star", "striped", "a dot", "a cross")
    monkeypatch.setenv("CLIPSERVE_URL", stack.url)
    monkeypatch.setenv("CLIPSERVE_API_KEY", "secret")
    monkeypatch.setenv("PICTURE", picture_uri("cat"))
    return stack


@pytest.mark.parametrize("name", ["openai", "httpx"])
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_python_recipes(environment, tmp_path, name):
    script = tmp_path / "recipe.py"
    script.write_text(recipe(name))
    left = runpy.run_path(str(script))
    if name == "httpx":
        assert sorted(left["found"]) == ["a blue star", "a cross", "a dot", "a red circle", "striped"]
    else:
        assert {endpoint for endpoint, _ in environment.torchserve.calls} == {"clip_text", "clip_image"}


def test_what_langchain_sends_is_answered(environment):
    """Its package is not installed here; its requests are those of the openai package, with these fields."""
    assert "check_embedding_ctx_length=False" in recipe("LangChain")
    answer = environment.post(
        "/v1/embeddings", {"input": ["a red circle"], "model": "demo", "encoding_format": "base64"}
    )
    assert answer.status_code == 200
    ids = environment.post("/v1/embeddings", {"input": [[264, 2579]], "model": "demo"})
    assert "check_embedding_ctx_length" in ids.json()["error"]["message"]


def test_curl_recipes_name_calls_that_exist(environment):
    paths = environment.client.get("/openapi.json").json()["paths"]
    for command in recipe("curl").replace("\\\n", "").strip().splitlines():
        words = shlex.split(command)
        assert words[2].removeprefix("http://127.0.0.1:8000") in paths


def test_the_alias_recipe_is_what_works(environment):
    put, search = (shlex.split(line) for line in recipe("Aliases").strip().splitlines())
    url, body = put[put.index("PUT") + 1], put[put.index("-d") + 1]
    made = environment.client.put(url.removeprefix("http://127.0.0.1:8000"), content=body)
    assert made.status_code == 200, made.text
    form = dict(part.split("=", 1) for flag, part in pairwise(search) if flag == "-F")
    found = environment.client.post("/v1/search", json=form)
    assert (found.status_code, found.json()["collection"]) == (200, made.json()["name"])
