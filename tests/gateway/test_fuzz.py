"""Schemathesis: generated requests, right and wrong, never meet a 5xx, nor a status or body that isn't documented."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

PARTS = 4  # of the operations, so that several processes can share the work
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))  # of an operation; `make test-full` sends 300
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@schemathesis.serializer("application/x-ndjson")
def as_lines(_: Any, value: Any) -> bytes:
    """With json, for it also writes integers of any length."""
    return value.encode("utf-8", "replace") if isinstance(value, str) else json.dumps(value).encode() + b"\n"


@pytest.fixture
def operations(stack: Any) -> list[Any]:
    stack.fill("scene-1")
    schema = schemathesis.openapi.from_url(f"{stack.url}/openapi.json")
    return [result.ok() for result in schema.get_all_operations()]


def fuzz(operation: Any, mode: GenerationMode, examples: int) -> int:
    """How many requests were sent; a call without anything to get wrong has no wrong ones."""
    sent = 0

    @seed(20)
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: Any) -> None:
        nonlocal sent
        sent += 1
        case.call_and_validate(checks=CHECKS)

    try:
        run()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE, operation.label
    return sent


def test_right_requests(operations: list[Any]) -> None:
    assert min(fuzz(operation, GenerationMode.POSITIVE, 4) for operation in operations) >= 1


def test_wrong_requests(operations: list[Any]) -> None:
    assert sum(fuzz(operation, GenerationMode.NEGATIVE, 6) for operation in operations) > 2 * len(operations)


@pytest.mark.slow
@pytest.mark.parametrize(
    "part", [pytest.param(part, marks=pytest.mark.xdist_group(f"part {part}")) for part in range(PARTS)]
)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_many_requests(operations: list[Any], mode: GenerationMode, part: int) -> None:
    own = operations[part::PARTS]
    assert sum(fuzz(operation, mode, EXAMPLES) for operation in own) > EXAMPLES / 3 * len(own) / 2
