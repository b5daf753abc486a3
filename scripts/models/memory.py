"""What a model takes in memory, before it is loaded: from its weights, and from what the running workers take."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from clip_core.errors import BadModel
from clip_core.model_spec import CAPTION, CONFIG_FILE, SPEC_FILE, WEIGHTS_FILE
from clip_core.old_names.table import OLD_ENDPOINT_KEYS
from clip_core.old_names.taking import with_new_names
from scripts.costs import gigabytes

_MB = 1_000_000
_USUAL_BASE = 300 * _MB  # of a worker without its weights: Python, torch and its caches
_LEAST_BASE = 100 * _MB
_WEIGHTS = (".safetensors", ".pt2", ".so")
_SPARE = 200 * _MB  # left for what else grows
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class RunningWorker:
    """`bytes`: its proportional set size; `weights`: of its archive, in bytes."""

    bytes: int
    weights: int


def estimate(archives: Sequence[Path], running: Iterable[RunningWorker] = ()) -> int:
    """Bytes of all workers of the archives. What a worker takes beside its weights is seen on the leanest that runs."""
    base = max(min((each.bytes - each.weights for each in running), default=_USUAL_BASE), _LEAST_BASE)
    return sum(worker_count(mar) * (base + weights(mar) + captions_bytes(mar)) for mar in archives)


def check_room(name: str, needed: int, available: int) -> None:
    """Raises BadModel."""
    if needed + _SPARE > available:
        raise BadModel(
            f"{name} takes about {gigabytes(needed)} of memory, and {gigabytes(available)} are available: "
            "remove another model, or load it all the same with --force"
        )


def available(cgroup: Path = _CGROUP) -> int:
    """What this machine, or the container, can still give without swapping, in bytes."""
    free = int(psutil.virtual_memory().available)
    try:
        limit, used = ((cgroup / name).read_text(encoding="ascii").strip() for name in ("memory.max", "memory.current"))
        return min(free, int(limit) - int(used) + _cached_files(cgroup / "memory.stat"))
    except (OSError, ValueError):  # no cgroup v2, or the limit is "max"
        return free


def _cached_files(stat: Path) -> int:
    """Bytes of the page cache, which counts as used, and which the kernel gives up for whoever asks for memory."""
    try:
        counts = dict(line.split() for line in stat.read_text(encoding="ascii").splitlines())
    except OSError:
        return 0
    return int(counts.get("active_file", 0)) + int(counts.get("inactive_file", 0))


def resident(pid: int) -> int | None:
    """The proportional set size of a worker in bytes, None where it can't be seen from here."""
    try:
        full = psutil.Process(pid).memory_full_info()
    except psutil.Error:
        return None
    return int(getattr(full, "pss", 0) or full.rss)


def weights(mar: Path) -> int:
    """Bytes of the weights and compiled packages in an archive. Raises BadModel."""
    with _opened(mar) as archive:
        return sum(entry.file_size for entry in archive.infolist() if entry.filename.endswith(_WEIGHTS))


def captions_bytes(mar: Path) -> int:
    """Of a captioner's archive: its caches when full, and what its weights take more than in the file."""
    with _opened(mar) as archive:
        try:
            spec = json.loads(archive.read(SPEC_FILE))
            if spec["kind"] != CAPTION:
                return 0
            model = json.loads(archive.read(CONFIG_FILE))["model_cfg"]
            config = yaml.safe_load(archive.read("model-config.yaml"))
            rows = with_new_names(config, OLD_ENDPOINT_KEYS)["caption_max_sequences"]
            halves = _halves(archive)
        except (KeyError, ValueError, TypeError, yaml.YAMLError):
            return 0
    return _cache_bytes(model, rows) + halves


def _cache_bytes(model: Mapping[str, Any], rows: int) -> int:
    """Keys and values in float32 of so many texts, each with a picture of its own."""
    text, decoder = model["text_cfg"], model["multimodal_cfg"]
    layers, width = decoder.get("layers", 12), decoder.get("width", 512)
    tokens = text.get("context_length", 77) * (layers + text.get("layers", 12))
    a_text: int = 2 * 4 * width * (tokens + layers * model["vision_cfg"].get("attn_pooler_queries", 256))
    return rows * a_text


def _halves(archive: zipfile.ZipFile) -> int:
    """Bytes of weights that are kept in half precision, and are loaded into twice that."""
    with archive.open(WEIGHTS_FILE) as file:
        described = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    kept = [each for each in described.values() if each.get("dtype") in ("F16", "BF16")]
    return sum(last - first for first, last in (each["data_offsets"] for each in kept))


def worker_count(mar: Path) -> int:
    """How many workers its settings ask for. Raises BadModel."""
    with _opened(mar) as archive:
        try:
            config = yaml.safe_load(archive.read("model-config.yaml"))
        except (KeyError, yaml.YAMLError):
            return 1
    found = config.get("minWorkers", 1) if isinstance(config, dict) else 1
    return found if type(found) is int and found > 0 else 1


def _opened(mar: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(mar)
    except (OSError, zipfile.BadZipFile) as error:
        raise BadModel(f"{mar} is not a whole archive ({error})") from error
