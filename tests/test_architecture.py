"""Which way the arrows point: read from the source, never from importing it."""

from __future__ import annotations

import ast
import re
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = (
    *("clip_core", "handlers", "gateway", "index_service", "scaler", "clipserve_client", "scripts", "benchmarks"),
    "tests",
)
SHARED = (
    "clip_core.draining",
    "clip_core.wire",
    "clip_core.errors",
    "clip_core.model_spec",
    "clip_core.logs",
    "clip_core.periodic",
    "clip_core.tracing",
    "clip_core.memory_use",
    "clip_core.self_profile",
    "clip_core.exposition",
    "clip_core.heap",
    "clip_core.slowest",
    "clip_core.old_names",
    "clip_core.setting_checks",
    "clip_core.secret_files",
    "clip_core.serving.torchserve_tokens",
    "clip_core.cores",
    "clip_core.inputs.images",
    "clip_core.inputs.deep_greys",
    "clip_core.inputs.orientation",
)
OF_THE_CLIENT = (  # jobs read the same sources as `clipserve ingest`
    "clipserve_client.sources",
    "clipserve_client.answers.answers",
    "clipserve_client.ingest.results",
    "clipserve_client.inputs.inputs",
)
ALLOWED = {
    "clip_core": ("clip_core",),
    "handlers": ("clip_core",),
    "gateway": ("gateway", *SHARED, *OF_THE_CLIENT),
    "index_service": ("index_service", *SHARED),
    "scaler": ("scaler", *SHARED),
    "clipserve_client": ("clipserve_client",),
    "scripts": ("scripts", "clip_core", "gateway", "index_service", "scaler", "clipserve_client"),
    "benchmarks": ("benchmarks", "scripts", "clip_core", "gateway", "index_service", "scaler", "clipserve_client"),
}
ROOMS = {  # from the ground up: a room, or a file beside the rooms, imports only from what stands before it
    "clip_core": (
        *(
            "draining",
            "errors",
            "memory_use",
            "self_profile",
            "exposition",
            "heap",
            "slowest",
            "tracing",
            "logs",
            "periodic",
            "cores",
            "old_names",
            "settings",
            "endpoint_config",
            "data_urls",
            "setting_checks",
            "secret_files",
            "model_spec",
            "wire",
        ),
        *("networks", "index", "inputs", "towers", "caption_caches", "speculation", "captions", "encode", "serving"),
    ),
    "index_service": (
        *("idle_threads", "errors", "settings", "engines", "engines.exact", "engines.approximate", "engines.faiss"),
        *(
            "record",
            "metadata",
            "segments",
            "building",
            "answers",
            "collection",
            "copies",
            "milvus",
            "milvus.catalogue",
            "snapshots",
            "search",
            "metrics",
            "http",
            "__main__",
        ),
    ),
    "gateway": (
        *(
            "counts",
            "away",
            "fair_queue",
            "key_masking",
            "errors",
            "database",
            "trace",
            "request_totals",
            "metrics",
            "demand",
            "connections",
            "inputs",
            "schemas",
            "fetch",
            "keys",
            "expiries",
        ),
        *(
            "admission",
            "upstream",
            "pictures",
            "middleware",
            "setting_groups",
            "settings",
            "encode",
            "models",
            "captions",
            "endpoint_loads",
            "stats",
            "history",
            "readiness",
            "search",
            "assistant",
            "reranking",
            "ingest",
        ),
        *("jobs", "services", "routes", "kserve", "app", "__main__"),
    ),
    "scaler": (
        *("forecast", "series", "sizing", "settings", "endpoint", "watch", "actuators", "past", "scaler", "metrics"),
        *("app", "__main__"),
    ),
    "clipserve_client": (
        *("errors", "settings", "retries", "inputs", "answers", "calls", "sending", "ingest", "sources"),
        *("client", "async_client", "folder"),
    ),
    "scripts": (
        *("public_api", "locking", "progress", "item_progress", "costs"),
        *("launch", "page", "processes", "collections", "sync", "demo"),
        *("local_llm", "hub"),
        "archive",
        "bulk",
        *(
            "models",
            "monitoring",
            "stack",
            "encoder",
            "config",
            "settings_table",
            "profiling",
            "tune",
            "commands",
            "cli",
        ),
        "__main__",
    ),
    "benchmarks": (
        *(
            "lib",
            "stack",
            "drawings",
            "attacks",
            "assistant",
            "gateway",
            "index",
            "milvus",
            "encoders",
            "captions",
            "kv",
            "speculation",
            "pictures",
            "models",
            "faults",
            "scaler",
            "observe",
            "ship",
            "bulk",
            "rerank",
            "bar_tables",
        ),
    ),
}
HEAVY = ("torch", "torchvision", "open_clip", "transformers")


def is_module(package: str | None, name: str) -> bool:
    return (ROOT / (package or "").replace(".", "/") / f"{name}.py").is_file()


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports fail inside a .mar"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names if is_module(node.module, alias.name)}
    return found


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


@pytest.mark.parametrize("package", ALLOWED)
def test_arrows(package: str) -> None:
    paths = list((ROOT / package).rglob("*.py"))
    assert paths
    for path in paths:
        for module in imports(path):
            assert not within(module, OURS) or within(module, ALLOWED[package]), f"{path.name} imports {module}"


def room(module: str, package: str) -> str | None:
    """The longest of the package's rooms that holds `module`; None for the package itself."""
    rooms = [each for each in ROOMS[package] if within(module, (f"{package}.{each}",))]
    return max(rooms, key=len, default=None)


@pytest.mark.parametrize("package", ROOMS)
def test_arrows_between_rooms(package: str) -> None:
    """They point down, so there is no circle of rooms, and none of files in different rooms."""
    order = {name: place for place, name in enumerate(ROOMS[package])}
    for path in (ROOT / package).rglob("*.py"):
        module = module_of(path)
        if module == package:
            continue
        here = room(module, package)
        assert here is not None, f"{module} is in no room of tests/test_architecture.py"
        for imported in imports(path):
            there = room(imported, package)
            assert there is None or order[there] <= order[here], f"{module} ({here}) imports {imported} ({there})"


def written(package: str) -> list[str]:
    """The package's rooms as ARCHITECTURE.md names them: folders end in a slash."""
    paths = [ROOT / package / each.replace(".", "/") for each in ROOMS[package]]
    return [path.relative_to(ROOT).as_posix() + ("/" if path.is_dir() else ".py") for path in paths]


@pytest.mark.parametrize("package", ROOMS)
def test_every_room_has_its_line(package: str) -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    lines = re.findall(rf"^\| `({package}/[^`]+)` \|", text, re.MULTILINE)
    assert lines == written(package), "the code map has one line a room, in the order of ROOMS"


@pytest.mark.parametrize("package", [*ROOMS, "handlers"])
def test_no_circles_of_files(package: str) -> None:
    graph = {module_of(path): imports(path) for path in (ROOT / package).rglob("*.py")}
    list(TopologicalSorter({module: found - {module} for module, found in graph.items()}).static_order())


@pytest.mark.parametrize("package", [*ROOMS, "handlers"])
def test_rooms_are_small(package: str) -> None:
    for folder in {path.parent for path in (ROOT / package).rglob("*.py")}:
        assert len(list(folder.glob("*.py"))) <= 18, folder


def test_the_client_needs_httpx_only() -> None:
    """And Pillow, pillow-heif and pyarrow, where a function asks for them."""
    for path in (ROOT / "clipserve_client").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        lazy = {module.partition(".")[0] for module in imports(path)}
        assert lazy <= {
            *sys.stdlib_module_names,
            "clipserve_client",
            "httpx",
            "PIL",
            "pillow_heif",
            "pyarrow",
            "typing_extensions",
        }
        at_once = {name for node in tree.body for name in imported_by(node)}
        assert not at_once & {"PIL", "pillow_heif", "pyarrow", "typing_extensions"}, path


def imported_by(node: ast.stmt) -> set[str]:
    """The packages that a statement at the top of a file imports."""
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    return {(node.module or "").partition(".")[0]} if isinstance(node, ast.ImportFrom) else set()


@pytest.mark.parametrize("package", ["gateway", "index_service", "scaler"])
def test_no_model_framework_in_the_services(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        assert not [module for module in imports(path) if within(module, HEAVY)], path


@pytest.mark.parametrize("module", SHARED)
def test_what_the_services_share_is_light(module: str) -> None:
    path = ROOT / module.replace(".", "/")
    for file in path.rglob("*.py") if path.is_dir() else [path.with_suffix(".py")]:
        assert not [name for name in imports(file) if within(name, HEAVY)], file


def test_one_handler_class_a_file() -> None:
    for path in (ROOT / "handlers").glob("*_handler.py"):
        classes = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
        assert len(classes) == 1, f"{path.name}: TorchServe wants exactly one class defined"


def test_only_settings_reads_the_environment() -> None:
    for package in ("clip_core", "handlers", "gateway", "index_service", "scaler", "clipserve_client"):
        for path in (ROOT / package).rglob("*.py"):
            if path.name != "settings.py" and path != ROOT / "index_service" / "idle_threads.py":  # it sets one
                assert "os.environ" not in path.read_text(encoding="utf-8"), path


def test_no_public_class_name_twice() -> None:
    homes: dict[str, list[str]] = {}
    for package in ("clip_core", "handlers", "gateway", "index_service", "scaler", "scripts", "benchmarks"):
        for path in (ROOT / package).rglob("*.py"):
            classes = [
                node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.ClassDef)
            ]
            for name in (node.name for node in classes if not node.name.startswith("_")):
                homes.setdefault(name, []).append(str(path.relative_to(ROOT)))
    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == {}
