"""The recipes of docs/clients.md, run against a gateway."""

from __future__ import annotations

import re
import runpy
import shlex
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from openai import APIStatusError, NotFoundError, OpenAI

from clip_core.wire import encode_vector
from gateway.schemas.search import SearchRequest
from tests.gateway.fakes import DIM, embed
from tests.waiting import until

PAGE = Path(__file__).resolve().parents[2] / "docs" / "clients.md"
BLOCKS = {
    section.partition("\n")[0]: re.findall(r"```(\w+)\n(.*?)```", section, re.S)
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]
}


def recipe(name: str) -> str:
    (_, code), *rest = BLOCKS[name]
    assert not rest
    return code


def test_the_fields_of_a_search_are_on_the_page():
    section = PAGE.read_text(encoding="utf-8").split("\n## Search\n")[1].split("\n## ")[0]
    cells = " ".join(re.findall(r"^\| (.*?) \|", section, re.M))
    named = {*re.findall(r"`(\w+)`", cells), "collections"}  # which is told beside `collection`
    assert named == set(SearchRequest.model_fields)


@pytest.mark.parametrize(
    ("like", "left_out"), [("a blue star", "a blue star"), ('"a blue star"', "a blue star"), ("12", "12")]
)
def test_a_search_as_a_form_as_the_page_has_it(stack, like, left_out):
    names = ["a red circle", "a blue star", "12"]
    stack.fill(*names)
    form = {"collection": (None, "demo"), "like": (None, like), "k": (None, "3")}
    answer = stack.client.post("/v1/search", files=form)
    assert {hit["id"] for hit in answer.json()["hits"]} == {*names} - {left_out}


@pytest.mark.parametrize(
    ("like", "status", "said"), [('"a', 400, "is not JSON"), ('"none"', 404, "'none'"), ("none", 404, "'none'")]
)
def test_a_form_whose_like_is_no_item(stack, like, status, said):
    stack.fill("a")
    answer = stack.client.post("/v1/search", files={"collection": (None, "demo"), "like": (None, like)})
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, "like")
    assert said in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("field", "value", "status", "said"),
    [
        ("cursor", "nonsense", 400, "cursor"),
        ("consistency", "strong", 200, "hits"),
        ("exact", "true", 200, "hits"),
        ("exact", "perhaps", 400, "exact"),
        ("vector", "AAAA", 400, "vector"),
        ("filter", "n=1", 400, "is not JSON: "),
        ("filter", "n=1", 400, 'objects as {\\"n\\": 1}'),
        ("vector", "[1", 400, "is not JSON"),
    ],
)
def test_texts_of_forms_need_no_quotation_marks(stack, field, value, status, said):
    stack.fill("cat")
    text = {} if field == "vector" else {"text": (None, "cat")}
    form = {"collection": (None, "demo"), **text, field: (None, value)}
    answer = stack.client.post("/v1/search", files=form)
    assert (answer.status_code, said in answer.text) == (status, True), answer.text
    assert ("is not JSON" in answer.text) == ("JSON" in said or "{" in said)


@pytest.fixture
def environment(stack_of, monkeypatch):
    stack = stack_of(api_keys="secret")
    stack.client.headers["X-API-Key"] = "secret"
    stack.fill("a red circle", "a blue star", "striped", "a dot", "a cross")
    monkeypatch.setenv("CLIPSERVE_URL", stack.url)
    monkeypatch.setenv("CLIPSERVE_API_KEY", "secret")
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


@pytest.fixture
def openai_client(environment):
    with OpenAI(base_url=f"{environment.url}/v1", api_key="secret", max_retries=0) as client:
        yield client


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_openai_takes_2048_inputs(openai_client, encoding):
    texts = [f"text {n}" for n in range(2048)]
    answer = openai_client.embeddings.create(model="demo", input=texts, encoding_format=encoding)
    assert [entry.index for entry in answer.data] == list(range(2048))
    wanted = encode_vector(embed("text 2047")) if encoding == "base64" else pytest.approx(embed("text 2047"))
    assert answer.data[-1].embedding == wanted
    with pytest.raises(APIStatusError, match="2049 inputs in one call; at most 2048"):
        openai_client.embeddings.create(model="demo", input=[*texts, "one more"])


def test_openai_retrieves_a_model(openai_client):
    model = openai_client.models.retrieve("demo")
    assert (model.id, model.object, model.dimensions) == ("demo", "model", DIM)
    with pytest.raises(NotFoundError, match="'another/model' is not served"):
        openai_client.models.retrieve("another/model")


@pytest.mark.parametrize("caller", ["a", "b"])
def test_2048_texts_hold_up_no_single_text(stack_of, caller):
    """Neither another caller's nor one of the same: what is under way ends first, and no more than that."""
    stack = stack_of(api_keys="a,b", metrics_open=True, admission_timeout_s=60)
    stack.torchserve.lets_pass = 0
    texts = {"input": [f"text {n}" for n in range(2048)]}
    with ThreadPoolExecutor(2) as pool:
        many = pool.submit(stack.post, "/v1/embeddings", texts, headers={"X-API-Key": "a"}, timeout=60)
        until(lambda: stack.torchserve.busy == 2)
        one = pool.submit(stack.post, "/v1/embeddings", {"input": "one"}, headers={"X-API-Key": caller}, timeout=60)
        until(lambda: in_flight(stack) == 3)  # the third one asks
        stack.torchserve.lets_pass = 2
        until(lambda: any(body["input"] == [{"text": "one"}] for _, body in stack.torchserve.calls))
        assert len(stack.torchserve.calls) <= 4
        stack.torchserve.lets_pass = None
        assert one.result().status_code == 200
        assert len(many.result().json()["data"]) == 2048
    assert len(stack.torchserve.calls) == 65


def test_a_key_pays_for_every_text_of_a_list(stack_of):
    stack = stack_of(api_keys="secret", items_per_minute=2048)
    headers = {"X-API-Key": "secret"}
    texts = {"input": ["a"] * 2048}
    assert stack.post("/v1/embeddings", texts, headers=headers, timeout=60).status_code == 200
    assert stack.post("/v1/embeddings", texts, headers=headers, timeout=60).status_code == 429


def in_flight(stack) -> int:
    shown = stack.client.get("/metrics").text
    return int(float(re.search(r"^clipserve_gateway_requests_in_flight (\S+)$", shown, re.M).group(1)))


def test_what_langchain_sends_is_answered(environment):
    """Its package has an environment of its own (tests/clients/); its requests are those of the openai package."""
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
