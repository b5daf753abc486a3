"""What a repository of the hub holds at one commit, as the hub says, or as the local cache has it."""

from __future__ import annotations

import os
import re
from concurrent.futures import TimeoutError as NoAnswer
from dataclasses import dataclass
from pathlib import Path

from clip_core.errors import BadModel
from scripts.hub.refusals import refused, unreachable
from scripts.processes.background import in_background
from scripts.progress import WorkProgress

PREFIX = "hf-hub:"
MAIN = "main"
_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_ANSWER_S = 5.0  # of everything, with the name look-up, which no timeout of HTTP bounds
_PHASE_S = 4.0


@dataclass(frozen=True)
class HubName:
    """`ORG/NAME` and the revision asked for: a branch, a tag or a commit."""

    repository: str
    revision: str = MAIN

    @classmethod
    def parse(cls, text: str) -> HubName:
        """`hf-hub:ORG/NAME`, `hf-hub:ORG/NAME@REVISION`, or the same without `hf-hub:`. Raises BadModel."""
        repository, _, revision = text.removeprefix(PREFIX).partition("@")
        if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", repository) or (
            revision and not re.fullmatch(r"[\w./-]+", revision)
        ):
            raise BadModel(f"{text} names no model of the hub: write hf-hub:ORG/NAME or hf-hub:ORG/NAME@REVISION")
        return cls(repository, revision or MAIN)

    def __str__(self) -> str:
        return f"{PREFIX}{self.repository}"


@dataclass(frozen=True)
class HubFile:
    """`digest` as the hub gives it, SHA-256 or git's; None where nothing says it. `size` in bytes."""

    name: str
    size: int
    digest: str | None


@dataclass(frozen=True)
class Snapshot:
    """`commit`: 40 hex digits; `cached`: the hub could not be asked, and nothing can be downloaded."""

    name: HubName
    commit: str
    files: dict[str, HubFile]
    cached: bool = False


def snapshot(name: HubName, progress: WorkProgress) -> Snapshot:
    """Asked of the hub, within ten seconds; of the local cache where the hub is away. Raises BadModel."""
    from huggingface_hub import constants

    try:
        return _asked(name)
    except BadModel:
        raise
    except Exception as error:  # huggingface_hub and its HTTP client raise many kinds
        if not unreachable(error):
            raise refused(error, name.repository, name.revision) from error
        kept = _cached(name)
        if kept is None:
            raise refused(error, name.repository, name.revision) from error
        if not constants.is_offline_mode():
            progress.say(f"notice {constants.ENDPOINT} does not answer: using {name} from the local cache")
        return kept


def _asked(name: HubName) -> Snapshot:
    from huggingface_hub import HfApi, constants

    api = HfApi(endpoint=constants.ENDPOINT)
    asked = in_background(
        lambda: api.model_info(name.repository, revision=name.revision, files_metadata=True, timeout=_PHASE_S)
    )
    try:
        info = asked.result(_ANSWER_S)
    except NoAnswer as error:
        raise TimeoutError(f"no answer within {_ANSWER_S:.0f} s") from error
    files = [
        HubFile(each.rfilename, each.size or 0, each.lfs.sha256 if each.lfs else each.blob_id)
        for each in info.siblings or ()
    ]
    commit = info.sha or ""
    if not _COMMIT.fullmatch(commit):
        raise BadModel(f"{constants.ENDPOINT} names no commit of {name.repository}: it does not answer as a hub does")
    return Snapshot(name, commit, {file.name: file for file in files})


def _cached(name: HubName) -> Snapshot | None:
    """A symbolic link of the cache leads to a file that is named by its digest."""
    folder = cache_folder(name)
    commit = known_commit(name)
    root = folder / "snapshots" / (commit or "none")
    if commit is None or not root.is_dir():
        return None
    files = [path for path in root.rglob("*") if path.is_file()]
    found = [HubFile(path.relative_to(root).as_posix(), path.stat().st_size, _linked_digest(path)) for path in files]
    return Snapshot(name, commit, {file.name: file for file in found}, cached=True)


def _linked_digest(path: Path) -> str | None:
    target = Path(os.readlink(path)).name if path.is_symlink() else ""
    return target if _DIGEST.fullmatch(target) else None


def cache_folder(name: HubName) -> Path:
    """Where huggingface_hub keeps this repository: `blobs/`, `refs/`, `snapshots/`."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name.repository, repo_type="model")


def known_commit(name: HubName) -> str | None:
    """The commit that the revision was when it was last asked for."""
    if _COMMIT.fullmatch(name.revision):
        return name.revision
    try:
        return (cache_folder(name) / "refs" / name.revision).read_text(encoding="utf-8").strip()
    except OSError:
        return None


def remember_commit(given: Snapshot) -> None:
    """So that the same revision is found without the hub."""
    if given.cached or given.commit == given.name.revision:
        return
    path = cache_folder(given.name) / "refs" / given.name.revision
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(given.commit, encoding="utf-8")
    os.replace(part, path)
