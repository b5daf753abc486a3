"""Every way in × malformed, oversized, of the wrong type or modality, and good mixed with bad."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.fakes import picture_uri

GOOD = picture_uri("cat")
NOT_AN_IMAGE = "data:image/png;base64,bm90IGFuIGltYWdl"
LARGE = "data:image/png;base64," + "A" * 4000

# how each dialect says "these images" in the list at the end, and how it names the one at `place`
DIALECTS: dict[str, Any] = {
    "openai": (lambda images: {"input": [{"image": image} for image in images]}, "input[{}]"),
    "infinity": (lambda images: {"input": images, "modality": "image"}, "input[{}]"),
    "jina": (lambda images: {"input": [{"text": "a"}] + [{"image": image} for image in images]}, "input[{}]"),
}
WRONG: list[tuple[object, int, str]] = [
    (NOT_AN_IMAGE, 400, "invalid_image"),
    ("data:image/png;base64,!!!", 400, "invalid_image"),
    ("data:image/png,raw", 400, "invalid_image"),
    ("file:///etc/passwd", 400, "invalid_image"),
    ("http://127.0.0.1/a.png", 400, "fetch_refused"),
    ("", 400, "invalid_image"),
    (LARGE, 413, "image_too_large"),
    ("a red circle", 400, "invalid_image"),
]


@pytest.fixture
def stack(stack_of):
    return stack_of(max_image_bytes=2000, max_body_bytes=20_000, max_inputs=8, max_embedding_inputs=8, max_items=8)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(("wrong", "status", "code"), WRONG)
def test_one_bad_image_among_good_ones_is_named(stack, dialect, wrong, status, code):
    body, name = DIALECTS[dialect]
    answer = stack.post("/v1/embeddings", body([GOOD, wrong, GOOD]))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert error["param"].startswith(name.format(2 if dialect == "jina" else 1))


@pytest.mark.parametrize(
    "given",
    [
        None,
        1,
        True,
        {},
        {"image": 1},
        {"text": None},
        {"text": "a", "image": GOOD},
        [],
        [[]],
        [1, 2],
        [[1, 2]],
        [None],
        "",
    ],
)
@pytest.mark.parametrize("modality", ["text", "image"])
def test_inputs_of_the_wrong_type(stack, given, modality):
    answer = stack.post("/v1/embeddings", {"input": given, "modality": modality})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"].startswith("input")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"input": ["a"] * 9}),
        ("/v1/search/batch", {"searches": [{"collection": "demo", "text": "a"}] * 9}),
        ("/v1/collections/demo/items", {"items": [{"id": "a", "text": "a"}] * 9}),
        ("/v1/classify", {"image": GOOD, "labels": ["a"] * 9}),
        ("/v1/embeddings", {"input": "a" * 21_000}),
        ("/v1/search", {"collection": "demo", "image": LARGE}),
        ("/v1/classify", {"image": LARGE, "labels": ["a"]}),
    ],
)
def test_too_much(stack, path, body):
    stack.fill("a")
    answer = stack.post(path, body)
    assert answer.status_code == 413, answer.text
    assert not stack.torchserve.calls


@pytest.mark.parametrize("images", [["abc"], [{}], [{"id": 5}], [None]])
def test_a_forms_images_in_json(stack, images):
    stack.fill("a")
    answer = stack.post("/v1/collections/demo/items", {"images": images})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "images")
