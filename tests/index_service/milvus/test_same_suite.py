"""Every test that asks the embedded store over HTTP is asked of Milvus, too, or docs/milvus.md says why not."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parent
PAGE = FOLDER.parents[2] / "docs" / "milvus.md"
OVER_HTTP = {"client", "filled", "served"}  # fixtures
NOT_A_STORES = {  # files of tests in which no store makes a difference, or only one can be meant
    "test_callers": "who may call",
    "test_lanes": "threads",
    "test_milvus_down": "the engine `milvus`",
    "test_protocol": "HTTP",
    "test_shared_store_away": "this store, without a server",
    "test_tracing": "traces",
}


def asked_over_http(path: Path) -> Iterator[str]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            given = {argument.arg for argument in node.args.args}
            named = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
            if given & OVER_HTTP or "serving" in named:
                yield node.name


def asked_of_milvus() -> set[tuple[str, str]]:
    found = set[tuple[str, str]]()
    for path in FOLDER.glob("test_same_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests.index_service.test_"):
                found |= {((node.module or "").rpartition(".")[2], alias.name) for alias in node.names}
    return found


def test_what_is_not_asked_of_milvus_is_named() -> None:
    over_http = {
        (path.stem, name)
        for path in FOLDER.parent.glob("test_*.py")
        if path.stem not in NOT_A_STORES
        for name in asked_over_http(path)
    }
    section = PAGE.read_text(encoding="utf-8").partition("## The embedded store's tests")[2].partition("\n## ")[0]
    excepted = set(re.findall(r"^\| `(test_\w+)\.(test_\w+)` \|", section, re.MULTILINE))
    assert len(over_http) > 90
    assert over_http - asked_of_milvus() == excepted
