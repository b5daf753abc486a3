"""The locked groups: what serves, what tests, what benchmarks; and other vendors' clients, which live apart."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from scripts import cli
from scripts.page import screenshots

ROOT = Path(__file__).resolve().parent.parent
OURS = {path.parent.name for path in ROOT.glob("*/__init__.py")}
LOCKS = ("serve", "test", "bench")
IMAGES = ("gateway", "index")  # of images without torch (docker/Dockerfile)
NEEDS = {
    "serve": sorted(OURS - {"tests", "benchmarks"}),
    "test": ["tests"],
    "bench": ["benchmarks"],
}
OTHERWISE = {
    "playwright": "scripts/page/",
    "ray": "scripts/bulk/",
    "llama_cpp": "scripts/local_llm/",
}  # they say what to install where it is missing


def lock_of(group: str) -> str:
    return (ROOT / "requirements" / f"{group}.lock").read_text(encoding="utf-8")


def pinned(group: str) -> set[tuple[str, str]]:
    return set(re.findall(r"^([a-z0-9-]+)==(\S+)", lock_of(group), re.MULTILINE))


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


def outside(package: str) -> dict[str, Path]:
    """Imported name that is neither ours nor Python's → a file that imports it."""
    files = (ROOT / package).rglob("*.py")
    found = {name: path for path in files for name in imported(path)}
    return {name: path for name, path in found.items() if name not in OURS | sys.stdlib_module_names}


@pytest.mark.parametrize("group", LOCKS)
def test_what_is_imported_is_locked(group: str) -> None:
    locked = {name for name, _ in pinned(group) | pinned("serve")}
    distributions = packages_distributions()
    for package in NEEDS[group]:
        for name, path in outside(package).items():
            if str(path.relative_to(ROOT)).startswith(OTHERWISE.get(name, "none")):
                continue
            brings = {one.lower().replace("_", "-").replace(".", "-") for one in distributions.get(name, [])}
            assert not brings or brings & locked, f"{path} imports {name}, which {group}.lock does not bring"


@pytest.mark.parametrize(
    "group", [*LOCKS, *IMAGES, "bulk", "index-milvus", "index-cuda", "clients", "charts", "local-llm"]
)
def test_locks_have_hashes_and_no_addresses(group: str) -> None:
    text = lock_of(group)
    assert "://" not in text
    assert "--index" not in text
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(entries) == len(re.findall("^[a-z0-9].*==", text, re.MULTILINE)) > 10
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


def test_bulk_agrees_with_what_serves_and_tests() -> None:
    """It is installed into the same environment."""
    assert pinned("serve") <= pinned("bulk")
    tested = dict(pinned("test"))
    assert {(name, version) for name, version in pinned("bulk") if name in tested} <= pinned("test") | pinned("serve")


def test_groups_agree_on_versions() -> None:
    """One environment can hold all three."""
    for group in ("test", "bench"):
        for other in ("serve", "test"):
            names = {name for name, _ in pinned(group)} & {name for name, _ in pinned(other)}
            mine = {entry for entry in pinned(group) if entry[0] in names}
            assert mine <= pinned(other), f"{group}.lock and {other}.lock differ"


@pytest.mark.parametrize("group", IMAGES)
def test_an_image_has_the_versions_of_what_serves(group: str) -> None:
    """Or of what is tested, where nothing else needs it: S3's client."""
    served = {name for name, _ in pinned("serve")}
    assert {(name, version) for name, version in pinned(group) if name in served} <= pinned("serve")
    assert pinned(group) <= pinned("serve") | pinned("test")
    assert {"torch", "torchvision", "transformers"}.isdisjoint(name for name, _ in pinned(group))


def test_the_index_on_a_gpu_differs_by_faiss_alone() -> None:
    more = {name for name, _ in pinned("index-cuda") - pinned("index")}
    assert "faiss-gpu" in more
    assert [name for name in more if not name.startswith(("faiss-gpu", "nvidia-"))] == []
    assert {name for name, _ in pinned("index") - pinned("index-cuda")} == {"faiss-cpu"}


def test_the_index_with_milvus_has_the_versions_that_are_tested() -> None:
    assert pinned("index") <= pinned("index-milvus") <= pinned("serve") | pinned("test")
    assert "torch" not in dict(pinned("index-milvus"))


def test_a_command_without_its_package_names_make(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)

    def app() -> None:
        import open_clip  # noqa: F401

    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 1
    shown = " ".join(capsys.readouterr().err.split())
    assert shown.startswith("error open_clip is not installed: `make setup`")


def test_a_file_that_can_not_be_written_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(cli, "app", lambda: (tmp_path / "none" / "c.parquet").write_text(""))
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 1
    assert capsys.readouterr().err.split() == f"error {tmp_path}/none/c.parquet: No such file or directory".split()


def test_a_missing_module_of_ours_is_no_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    def app() -> None:
        import scripts.nowhere  # noqa: F401

    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(ModuleNotFoundError):
        cli.main()


def test_pictures_without_playwright(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "playwright.sync_api", None)
    monkeypatch.setattr("scripts.page.browser.find_chromium", lambda: "chromium")
    monkeypatch.setattr(sys, "argv", ["screenshots"])
    with pytest.raises(SystemExit, match="make setup-test"):
        screenshots.main()
