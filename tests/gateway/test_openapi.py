"""/openapi.json: an example for every call, which the schemas allow and the gateway accepts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from PIL import Image

from tests.waiting import until

METHODS = ("get", "put", "post", "delete", "patch")
Operation = tuple[str, str, dict[str, Any]]


@pytest.fixture
def document(stack):
    return stack.client.get("/openapi.json").json()


def operations(document) -> Iterator[Operation]:
    for path, item in document["paths"].items():
        yield from ((method, path, item[method]) for method in METHODS if method in item)


def resolved(document, schema):
    ref = schema.get("$ref", "")
    return document["components"]["schemas"][ref.rpartition("/")[2]] if ref else schema


def example_of(document, media) -> Any:
    return media["example"] if "example" in media else resolved(document, media["schema"])["examples"][0]


def errors(document, schema, value) -> list[str]:
    whole = {**schema, "components": document["components"]}
    return [error.message for error in jsonschema_rs.validator_for(whole).iter_errors(value)]


def bodies(document) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every documented JSON or text body, of requests and of answers."""
    for method, path, operation in operations(document):
        contents = {"request": operation.get("requestBody", {}).get("content", {})}
        contents |= {status: answer.get("content", {}) for status, answer in operation["responses"].items()}
        for where, content in contents.items():
            for kind, media in content.items():
                if kind not in ("multipart/form-data", "image/*"):
                    yield f"{method} {path} {where} {kind}", media


def test_every_body_has_an_example_that_its_schema_allows(document):
    assert "HTTPValidationError" not in str(document)
    names = []
    for name, media in bodies(document):
        assert errors(document, media["schema"], example_of(document, media)) == [], name
        names.append(name)
    assert "post /v2/embed request application/json" in names


def test_every_call_documents_its_success_and_its_failures(document):
    for method, path, operation in operations(document):
        statuses = set(operation["responses"])
        assert any(status.startswith("2") for status in statuses), (method, path)
        assert {"400", "401", "403", "413", "429", "500", "503"} <= statuses, (method, path)
        assert not {"4XX", "5XX", "default"} & statuses
        assert operation["summary"], (method, path)


def test_every_parameter_has_an_example_that_its_schema_allows(document):
    for method, path, operation in operations(document):
        for parameter in operation.get("parameters", []):
            (example, *_) = parameter["schema"]["examples"]
            assert errors(document, parameter["schema"], example) == [], (method, path, parameter["name"])


def filled_in(path, operation, **known) -> str:
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "path":
            name = parameter["name"]
            path = path.replace("{" + name + "}", known.get(name, parameter["schema"]["examples"][0]))
    return path


def test_every_example_is_accepted(stack_of, document, pictures):
    """With what deletes at the end. A job of the example's kind has ended by then: 409 to cancelling and retrying."""
    (pictures / "2024").mkdir()
    Image.new("RGB", (4, 3)).save(pictures / "scene-1.png")
    stack = stack_of(ingest_roots=f"photos={pictures}", image_roots={"demo": pictures})
    stack.fill("scene-1", "scene-2")
    stack.index.collections["demo"]["items"]["scene-1"]["metadata"]["file"] = "scene-1.png"
    assert stack.client.put("/v1/aliases/shapes", json={"collection": "demo"}).status_code == 200
    example = document["components"]["schemas"]["JobRequest"]["examples"][0]
    job = stack.post("/v1/jobs", example).json()["id"]
    until(lambda: stack.client.get(f"/v1/jobs/{job}").json()["state"] == "completed")
    last = "/v1/collections/{name}"  # which no alias may lead to
    ordered = sorted(operations(document), key=lambda each: (each[0] == "delete", each[1] == last, -len(each[1])))
    for method, path, operation in ordered:
        media = operation.get("requestBody", {}).get("content", {}).get("application/json")
        body = example_of(document, media) if media else None
        if path.endswith("/folders") and body:
            token_file = stack.client.get("/v1/collections/demo/folders").json()["token_file"]
            body = {"folder": str(pictures), "token": Path(token_file).read_text()}
        lines = operation.get("requestBody", {}).get("content", {}).get("application/x-ndjson", {}).get("example")
        answer = stack.client.request(method, filled_in(path, operation, job_id=job), json=body, content=lines)
        ended = answer.status_code == 409 and path.startswith("/v1/jobs/")
        alone = path in ("/v1/captions/llm", "/v1/captions/cost")  # there is no language model here
        if alone and answer.json()["error"]["code"] == "no_captioner":
            continue
        assert answer.is_success or ended, (method, path, answer.text)
        said = operation["responses"][str(answer.status_code)]["content"]
        if "image/*" in said:
            assert answer.headers["content-type"].startswith("image/")
        if "application/json" in said:
            assert errors(document, said["application/json"]["schema"], answer.json()) == [], (method, path)


def test_item_results_of_an_example_are_good(stack, document):
    stack.fill("scene-2")
    content = document["paths"]["/v1/collections/{name}/items"]["post"]["requestBody"]["content"]
    body = example_of(document, content["application/json"])
    results = stack.post("/v1/collections/demo/items", body).json()["results"]
    assert [result["status"] for result in results] == [200]
