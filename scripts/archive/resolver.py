"""What a user calls a model → its ModelSource: a given name, `ARCH/TAG`, `hf-hub:ORG/NAME`, a file or a folder."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clip_core.errors import BadModel
from scripts.archive.forms.architecture import architectures, cleaned
from scripts.archive.model_source import ModelSource
from scripts.archive.places import ARCHIVE_DIR, models

HUB = "hf-hub:"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")


@dataclass(frozen=True)
class Resolved:
    """`directory`: where settings of the model's endpoints may lie; None without a folder under archive/."""

    source: ModelSource
    directory: Path | None = None


def resolve(text: str, checkpoint: Path | None = None, **given: Any) -> Resolved:
    """`checkpoint` and `given` (name, precision, compile, device, architecture, tokenizer) override the model's own.

    Imports no torch, downloads nothing. Raises BadModel in one line.
    """
    _check_name(given.get("name"))
    given = {**given, **_absolute(given)}
    if text.startswith(HUB):
        return _without_file(text, checkpoint, given, {"hub": _repository(text)})
    if (directory := _given(text)) is not None:
        return Resolved(ModelSource.read(directory, checkpoint, **given), directory)
    if _exists(text):
        return _without_file(text, checkpoint, given, {"checkpoint": str(Path(text).resolve())})
    architecture, _, tag = text.rpartition("/")
    if tag and cleaned(architecture) in architectures():
        return _without_file(text, checkpoint, given, {"architecture": cleaned(architecture), "pretrained": tag})
    raise BadModel(_unknown(text))


def _given(text: str) -> Path | None:
    """The folder of a model.yaml: of a given model, or of one's own."""
    return next((path for path in (ARCHIVE_DIR / text, Path(text)) if (path / "model.yaml").is_file()), None)


def _exists(text: str) -> bool:
    try:
        return bool(text) and Path(text).exists()
    except (OSError, ValueError):  # too long for a name, or with a zero byte
        return False


def _without_file(text: str, checkpoint: Path | None, given: dict[str, Any], where: dict[str, str]) -> Resolved:
    """Other weights in place of what `text` names leave its architecture."""
    if checkpoint is not None:
        where = {key: value for key, value in where.items() if key == "architecture"}
        where["checkpoint"] = str(checkpoint.resolve())
    return Resolved(ModelSource.without_file(name_of(text), given, **where))


def _absolute(given: dict[str, Any]) -> dict[str, str]:
    """Paths of a command are seen from where it runs, those in a model.yaml from its folder."""
    paths = {key: Path(given[key]) for key in ("architecture", "tokenizer") if given.get(key)}
    return {key: str(path.resolve()) for key, path in paths.items() if path.exists() or key == "tokenizer"}


def name_of(text: str) -> str:
    """What a model without a model.yaml is called: the last part of a path or of a repository, ARCH-TAG of a tag."""
    is_path = _exists(text)
    last = Path(text).resolve().name if is_path else text.removeprefix(HUB).partition("@")[0]
    if is_path and Path(text).is_file():
        last = Path(last).stem
    elif text.startswith(HUB):
        last = last.rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", last).strip("-._")[:80] or "model"


def _check_name(name: str | None) -> None:
    if name is not None and not _NAME.fullmatch(name):
        raise BadModel(f"a model's name is up to 80 letters, digits, `_`, `.` and `-`: {name!r}")


def _repository(text: str) -> str:
    name = text.removeprefix(HUB)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", name):
        raise BadModel(f"{text} names no repository: write hf-hub:ORG/NAME or hf-hub:ORG/NAME@REVISION")
    return name


def _unknown(text: str) -> str:
    if cleaned(text) in architectures():
        return f"{text} is an architecture: name its weights too, such as {text}/openai, or give a file of them"
    near = difflib.get_close_matches(text, [*models(), *architectures()], n=3, cutoff=0.5)
    hint = f" (near it: {', '.join(near)})" if near else ""
    hub = f"; {HUB}{text} is looked for on the hub" if re.fullmatch(r"[\w.-]+/[\w.-]+", text) else ""
    return (
        f"{text} is no model under archive/ ({', '.join(models())}), no ARCH/TAG of open_clip, "
        f"and no file or folder{hint}{hub}"
    )
