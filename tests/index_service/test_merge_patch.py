"""JSON merge patches: RFC 7386's own cases, and what holds for any documents."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_core.errors import BadInput, TooLarge
from index_service.collection.patches import merge_patch, patched

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # appendix A of the RFC
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_the_cases_of_the_rfc(target: Any, patch: Any, result: Any) -> None:
    assert merge_patch(target, patch) == result


@pytest.mark.parametrize(
    ("document", "patch", "result"),
    [
        ({"a": 1, "b": 2}, None, {"a": 1}),
        ({"b": 2}, None, {}),
        ({"a": 1}, {"a": 1, "b": 3}, {"a": 1, "b": 3}),
        ({"a": 1}, {"b": None}, {"a": 1}),
        ({}, {"a": None, "b": 3}, {"b": 3}),
    ],
)
def test_a_fixed_field_stays(document: Any, patch: Any, result: Any) -> None:
    assert json.loads(patched(document, patch, 999, ["a"])) == result


@pytest.mark.parametrize(
    ("document", "patch"), [({"a": 1}, {"a": None}), ({"a": 1}, {"a": 2}), ({}, {"a": 1}), ({"a": {}}, {"a": {"b": 1}})]
)
def test_a_fixed_field_is_not_changed(document: Any, patch: Any) -> None:
    with pytest.raises(BadInput, match="`a` is not changed by patches"):
        patched(document, patch, 999, ["a"])


def without_nulls(value: Any) -> Any:
    """What is left of a document whose fields that are null were removed."""
    if not isinstance(value, dict):
        return value
    return {name: without_nulls(inner) for name, inner in value.items() if inner is not None}


@given(VALUES, VALUES)
def test_a_patch_changes_neither_document_and_is_idempotent(target: Any, patch: Any) -> None:
    before = json.dumps([target, patch])
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once
    assert json.dumps([target, patch]) == before


@given(OBJECTS, OBJECTS)
def test_each_field_is_the_patchs_or_as_it_was(target: dict[str, Any], patch: dict[str, Any]) -> None:
    merged = merge_patch(target, patch)
    for name in {*target, *patch}:
        if name not in patch:
            assert merged[name] == target[name]
        elif patch[name] is None:
            assert name not in merged
        else:
            assert merged[name] == merge_patch(target.get(name), patch[name])
    assert merge_patch({}, patch) == without_nulls(patch)


@given(OBJECTS, OBJECTS)
def test_what_is_stored_is_read_as_it_was_merged(target: dict[str, Any], patch: dict[str, Any]) -> None:
    assert json.loads(patched(target, patch, 1 << 20)) == merge_patch(target, patch)


def test_the_merged_document_has_the_limit_of_any_metadata() -> None:
    with pytest.raises(TooLarge):
        patched({"a": "x" * 50}, {"b": "y" * 50}, 100)
    assert patched({"a": "x" * 50}, {"a": None}, 100) == b"{}"
    assert patched({"a": 1}, None, 100) == b"{}"
