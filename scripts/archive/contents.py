"""What a .mar must hold: safe names, a manifest, its handler, and every module of ours that its code imports."""

from __future__ import annotations

import ast
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import yaml

import clip_core
from clip_core.errors import BadModel
from clipserve_client.answers.reading import oddity

SOURCE = Path(clip_core.__file__).parent
MANIFEST = "MAR-INF/MANIFEST.json"
CONFIG = "model-config.yaml"
_UNREADABLE = (OSError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, ValueError)


def unpack(mar: Path, directory: Path) -> None:
    """Raises BadModel when the archive is not whole, or one of its names leads outside `directory`."""
    try:
        with zipfile.ZipFile(mar) as archive:
            for name in archive.namelist():
                _check_name(mar, name)
            archive.extractall(directory)
    except _UNREADABLE as error:
        raise BadModel(f"{mar} is not a whole archive ({error}); run `clipserve archive build`") from error


def config_with(config: str | bytes, keys: Mapping[str, Any]) -> str:
    """An archive's `model-config.yaml` with `keys` over its own."""
    made = yaml.safe_load(config) | dict(keys)
    made["maxWorkers"] = max(made.get("maxWorkers", 1), made.get("minWorkers", 1))
    return yaml.safe_dump(made, sort_keys=False)


def check_contents(directory: Path) -> None:
    """Raises BadModel that names what is missing or damaged."""
    manifest = _manifest(directory / MANIFEST)
    handler = str(manifest.get("handler")).partition(":")[0]
    if not (directory / handler).is_file():
        raise BadModel(f"the handler that {MANIFEST} names is missing: {handler}")
    _check_config(directory / CONFIG)
    for path in sorted({directory / handler, *(directory / "clip_core").rglob("*.py")}):
        for module in _imports(path, directory):
            if not _holds(directory, module):
                raise BadModel(f"{path.relative_to(directory)} imports {module}, which is missing")
    _check_same_version(directory / "clip_core")


def _check_same_version(packed: Path) -> None:
    """An archive whose files all are as in this source tree has all of them."""
    source = {path.relative_to(SOURCE).as_posix(): path.read_bytes() for path in SOURCE.rglob("*.py")}
    if all(source.get(path.relative_to(packed).as_posix()) == path.read_bytes() for path in packed.rglob("*.py")):
        missing = sorted(name for name in source if not (packed / name).is_file())
        if missing:
            raise BadModel(f"of clip_core these files are missing: {', '.join(missing)}")


def _check_name(mar: Path, name: str) -> None:
    outside = ".." in PureWindowsPath(name).parts or PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor
    if outside:
        raise BadModel(f"{mar} holds a file that would be written outside its folder: {name!r}; do not use it")


def _manifest(path: Path) -> dict[str, Any]:
    try:
        model = json.loads(path.read_text(encoding="utf-8"))["model"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadModel(f"{MANIFEST} is missing or damaged: {oddity(error)}") from error
    if not isinstance(model, dict) or not isinstance(model.get("modelName"), str) or not model.get("handler"):
        raise BadModel(f"{MANIFEST} names no model or no handler")
    return model


def _check_config(path: Path) -> None:
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BadModel(f"{CONFIG} is missing or damaged: {error}") from error
    if not isinstance(config, dict):
        raise BadModel(f"{CONFIG} is not an object of settings")


def _imports(path: Path, directory: Path) -> Iterator[str]:
    """The modules of clip_core that a file imports, also within functions, and clip_core itself.

    A package of ours holds modules and nothing else, so what is imported from one is a module.
    """
    yield "clip_core"
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise BadModel(f"{path.name} is not Python: {error}") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and _is_package(directory, node.module):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from (name for name in names if name.startswith("clip_core."))


def _is_package(directory: Path, module: str) -> bool:
    return module.partition(".")[0] == "clip_core" and directory.joinpath(*module.split(".")).is_dir()


def _holds(directory: Path, module: str) -> bool:
    path = directory.joinpath(*module.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()
