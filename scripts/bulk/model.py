"""The archive that a run encodes with: found in the model store, loaded, its canaries checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from clip_core.errors import BadModel
from clip_core.model_spec import ModelSpec
from scripts.archive.contents import CONFIG
from scripts.archive.mar_files import read_spec, unpacked
from scripts.bulk.shards.errors import BulkRefused

_KINDS = {"image": ("image", "multimodal"), "text": ("text", "multimodal"), "both": ("multimodal",)}


@dataclass(frozen=True)
class FoundArchive:
    path: Path
    spec: ModelSpec


def find_archive(model: str, embed: str, store: Path) -> FoundArchive:
    """`model`: a .mar, the name of a model, or the first part of archives' names. Raises BulkRefused."""
    given = Path(model)
    paths = [given] if given.suffix == ".mar" else sorted(store.glob("*.mar"))
    specs = {path: spec for path in paths if (spec := read_spec(path)) is not None}
    fitting = {
        path: spec
        for path, spec in specs.items()
        if given.suffix == ".mar" or model in (spec.name, path.stem.rpartition("_")[0])
    }
    for kind in _KINDS[embed]:
        found = [FoundArchive(path.resolve(), spec) for path, spec in fitting.items() if spec.kind == kind]
        if found:
            return found[0]
    if fitting:
        there = ", ".join(path.name for path in fitting)
        raise BulkRefused(f"{model} has no archive with what encodes {embed}: it has {there}")
    names = sorted({spec.name for spec in specs.values()})
    raise BulkRefused(
        f"there is no archive of {model!r} in {store}: "
        + (f"it has {', '.join(names)}" if names else "build one with `clipserve archive build`")
    )


class Loaded:
    """An archive's towers in this process."""

    def __init__(self, archive: Path, threads: int, batch: int) -> None:
        """Raises BadModel, also where a canary is below its floor."""
        import torch

        from clip_core.encode.canaries import check
        from clip_core.encode.encoders import Encoders
        from clip_core.endpoint_config import EndpointConfig

        with unpacked(archive) as folder:  # all of it is read at once, so a process that is killed leaves nothing
            try:
                config = EndpointConfig.parse(yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8")))
            except (OSError, ValueError, yaml.YAMLError) as error:
                raise BadModel(f"{archive.name}: {CONFIG} can't be read: {error}") from error
            config = replace(config, threads=threads, decode_threads=threads, max_batch=batch, cache_bytes=0)
            self.encoders = Encoders.load(folder, config, 0 if torch.cuda.is_available() else None)
            self.cosines = check(self.encoders, folder)
