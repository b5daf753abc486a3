"""Which way the arrows point: read from the source, never from importing it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = ("clip_core", "handlers", "gateway", "index_service", "scripts", "benchmarks", "tests")
SHARED = ("clip_core.wire", "clip_core.errors", "clip_core.model_spec", "clip_core.logs", "clip_core.heap")
ALLOWED = {
    "clip_core": ("clip_core",),
    "handlers": ("clip_core",),
    "gateway": ("gateway", *SHARED),
    "index_service": ("index_service", *SHARED),
    "scripts": ("scripts", "benchmarks", "clip_core", "gateway", "index_service"),
    "benchmarks": ("benchmarks", "scripts", "clip_core", "gateway", "index_service"),
}
HEAVY = ("torch", "torchvision", "open_clip", "transformers")


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports fail inside a .mar"
            found.add(node.module or "")
    return found


def within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


@pytest.mark.parametrize("package", ALLOWED)
def test_arrows(package: str) -> None:
    paths = list((ROOT / package).rglob("*.py"))
    assert paths
    for path in paths:
        for module in imports(path):
            assert not within(module, OURS) or within(module, ALLOWED[package]), f"{path.name} imports {module}"


@pytest.mark.parametrize("package", ["gateway", "index_service"])
def test_no_model_framework_in_the_services(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        assert not [module for module in imports(path) if within(module, HEAVY)], path


@pytest.mark.parametrize("module", SHARED)
def test_what_the_services_share_is_light(module: str) -> None:
    path = ROOT / (module.replace(".", "/") + ".py")
    assert not [name for name in imports(path) if within(name, HEAVY)]


def test_one_handler_class_a_file() -> None:
    for path in (ROOT / "handlers").glob("*_handler.py"):
        classes = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
        assert len(classes) == 1, f"{path.name}: TorchServe wants exactly one class defined"


def test_only_settings_reads_the_environment() -> None:
    for package in ("clip_core", "handlers", "gateway", "index_service"):
        for path in (ROOT / package).rglob("*.py"):
            if path.name != "settings.py" and path != ROOT / "index_service" / "__init__.py":  # it sets one
                assert "os.environ" not in path.read_text(encoding="utf-8"), path
