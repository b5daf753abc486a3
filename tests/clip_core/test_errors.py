from __future__ import annotations

import pytest

from clip_core import errors
from clip_core.errors import ClipServeError, _tree, from_dict

TREE = [cls for cls in _tree(ClipServeError) if cls.__module__ == errors.__name__]


@pytest.mark.parametrize("cls", TREE, ids=lambda cls: cls.__name__)
def test_every_error_survives_the_wire(cls: type[ClipServeError]) -> None:
    error = cls("message", param="input[3]")
    rebuilt = from_dict(error.to_dict(), 500)
    assert (type(rebuilt), rebuilt.message, rebuilt.param) == (cls, "message", "input[3]")


@pytest.mark.parametrize("cls", TREE, ids=lambda cls: cls.__name__)
def test_the_docstring_shows_the_whole_tree(cls: type[ClipServeError]) -> None:
    lines = [
        line
        for line in (errors.__doc__ or "").splitlines()
        if cls.__name__ in line.split() or f"─ {cls.__name__} " in line
    ]
    assert any(f"{cls.status} {cls.code}" in line for line in lines), f"{cls.__name__} {cls.status} {cls.code}"


def test_codes_are_unique() -> None:
    assert len({cls.code for cls in TREE}) == len(TREE)


@pytest.mark.parametrize("body", [None, "text", {}, {"error": "x"}, {"error": {"code": "unheard_of", "message": "m"}}])
def test_an_unknown_body_keeps_its_status(body: object) -> None:
    assert from_dict(body, 418).status == 418
