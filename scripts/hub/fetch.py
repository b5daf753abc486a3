"""What the hub has of a model → files of the local cache, every one of them checked."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from clip_core.errors import BadModel
from scripts.hub.digests import sha256_of
from scripts.hub.download import check_room, checked_file
from scripts.hub.provenance import Provenance, licence_of
from scripts.hub.snapshots import HubFile, HubName, Snapshot, cache_folder, remember_commit, snapshot
from scripts.progress import SILENT, WorkProgress

CARD = "README.md"
INDEX = ".index.json"  # names the parts of weights in several files
WEIGHTS = (  # the first that is there: open_clip's own order, then transformers'
    *("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin"),
    *("open_clip_pytorch_model.pth", "model.safetensors", f"model.safetensors{INDEX}", "pytorch_model.bin"),
    *(f"pytorch_model.bin{INDEX}", "pytorch_model.pth", "model.pth"),
)
_SMALL = (".json", ".txt", ".model")  # configuration, and the files of tokenizers
_ADDRESS_S = 5.0


def fetch_repository(name: HubName, progress: WorkProgress) -> tuple[Path, Provenance]:
    """Configuration, tokenizer, and the first of `WEIGHTS` that it has → their folder.

    Raises BadModel, DownloadStopped.
    """
    given = snapshot(name, progress)
    return _folder(given), _fetch(given, _weights(given, WEIGHTS), progress)


def fetch_tag(known: Mapping[str, Any], tag: str, progress: WorkProgress) -> tuple[Path, Provenance]:
    """`known`: what open_clip's table says of a tag → its file of weights. Raises BadModel."""
    repository, _, file = str(known.get("hf_hub", "")).rpartition("/")
    if not repository:
        return _by_address(str(known["url"]), tag, progress)
    given = snapshot(HubName(repository), progress)
    wanted = (str(PurePosixPath(file).with_suffix(".safetensors")), file) if file else WEIGHTS[:3]
    weights = _weights(given, wanted)  # as open_clip does, safetensors rather than what is pickled
    return _folder(given) / weights.name, _fetch(given, weights, progress)


def fetch_small(name: HubName, wanted: Iterable[str]) -> Path:
    """Those of the `wanted` files that the repository has → their folder. Raises BadModel."""
    given = snapshot(name, SILENT)
    _all(given, [given.files[file] for file in wanted if file in given.files], SILENT)
    return _folder(given)


def _folder(given: Snapshot) -> Path:
    return cache_folder(given.name) / "snapshots" / given.commit


def _fetch(given: Snapshot, weights: HubFile, progress: WorkProgress) -> Provenance:
    _all(given, [*_small(given), *_parts(given, weights), weights], progress)
    folder = _folder(given)
    digest = weights.digest if len(weights.digest or "") == 64 else sha256_of(folder / weights.name)
    return Provenance(str(given.name), given.commit, licence_of(folder / CARD), digest)


def _all(given: Snapshot, files: Sequence[HubFile], progress: WorkProgress) -> None:
    check_room(given, files)
    remember_commit(given)
    for file in files:
        checked_file(given, file, progress)


def _weights(given: Snapshot, wanted: Sequence[str]) -> HubFile:
    for name in wanted:
        if name in given.files:
            return given.files[name]
    raise BadModel(f"{given.name} has no file of weights that is known here: {', '.join(wanted)}")


def _parts(given: Snapshot, weights: HubFile) -> list[HubFile]:
    """Of weights in several files, which the index names after itself: model-00001-of-00002.safetensors."""
    if not weights.name.endswith(INDEX):
        return []
    stem, suffix = (
        PurePosixPath(weights.name.removesuffix(INDEX)).stem,
        PurePosixPath(weights.name[: -len(INDEX)]).suffix,
    )
    part = re.compile(rf"{re.escape(stem)}-\d+-of-\d+{re.escape(suffix)}")
    return [file for file in given.files.values() if part.fullmatch(file.name)]


def _small(given: Snapshot) -> list[HubFile]:
    """At the top of the repository; folders hold other formats."""
    return [file for file in given.files.values() if file.name == CARD or _is_small(file)]


def _is_small(file: HubFile) -> bool:
    return "/" not in file.name and file.name.endswith(_SMALL) and not file.name.endswith(INDEX)


def _by_address(url: str, tag: str, progress: WorkProgress) -> tuple[Path, Provenance]:
    """By open_clip's own download, which checks the digest that some addresses carry."""
    from open_clip.pretrained import download_pretrained_from_url

    with progress.step(f"downloading the weights of {tag}"), _patience(_ADDRESS_S):
        try:
            path = Path(download_pretrained_from_url(url))
        except (OSError, RuntimeError, TypeError) as error:
            raise BadModel(f"the weights of {tag} can't be had from {url} ({error}): try again later") from error
    return path, Provenance(f"open_clip:{tag}", weights_sha256=sha256_of(path))


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """For connections of code that sets no timeout."""
    usual = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(usual)
