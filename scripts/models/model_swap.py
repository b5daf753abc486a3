"""`clipserve model swap`: a new version beside the old one, warmed, made the default, the old one drained and removed.

TorchServe keeps several versions of a model under one name, and requests without a version go to the default. No
request fails: the old version leaves only when nothing waits for it any more.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clip_core.errors import BadModel, FingerprintMismatch
from clip_core.model_spec import ModelSpec
from scripts.archive.contents import CONFIG, config_with
from scripts.models.archives import of_one_model, read
from scripts.models.canary import canary
from scripts.models.management import Management
from scripts.models.retiring import retire, workers
from scripts.public_api import PublicApi

MANIFEST = "MAR-INF/MANIFEST.json"
_LONGEST_NAME = 64  # of a collection
_WARM_UP = 8
_CHUNK = 1 << 20
Report = Callable[[str], None]


@dataclass(frozen=True)
class Swap:
    """`archives`: endpoint → its new .mar, anywhere; `model_store` is the folder that TorchServe reads.

    `rename` is told the name of the model that serves from now on. `settings`: endpoint → keys that are served over
    those of its archive, which is kept without them.
    """

    torchserve: Management
    index: PublicApi
    archives: Mapping[str, Path]
    model_store: Path
    accept_new_fingerprint: bool = False
    drain_s: float = 2.0
    report: Report = lambda _: None
    rename: Callable[[str], object] = lambda _: None
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def run(self) -> dict[str, str]:
        """Endpoint → its new version. Raises FingerprintMismatch before anything is changed.

        A start that fails or is stopped is undone. A restart of TorchServe begins with what serves, from then on that
        it does.
        """
        specs = of_one_model(self.archives)
        self._check_fingerprint(specs)
        old = {endpoint: self.torchserve.default_version(endpoint) for endpoint in self.archives}
        new = {endpoint: self._next_version(endpoint) for endpoint in self.archives}
        staged = {endpoint: self._staged(endpoint, version) for endpoint, version in new.items()}
        with self._undone_on_failure(new, staged):
            for endpoint, version in new.items():
                with_version(self.archives[endpoint], staged[endpoint], version, self.settings.get(endpoint))
            self._start(new, staged, old)
        for endpoint, version in new.items():
            self.torchserve.make_default(endpoint, version)
        for endpoint, path in staged.items():
            self._keep(endpoint, path, new[endpoint])
        self.rename(next(iter(specs.values())).name)
        self.report("the new versions serve; draining the old ones")
        items = {endpoint: canary(spec.kind) for endpoint, spec in specs.items()}
        retire(self.torchserve, old, items, self.drain_s, self.report)
        return new

    def _check_fingerprint(self, specs: Mapping[str, ModelSpec]) -> None:
        endpoint, spec = next(iter(specs.items()))
        served = self.torchserve.predict(endpoint, canary(spec.kind))["fingerprint"]
        new = spec.fingerprint
        if new != served and not self.accept_new_fingerprint:
            raise FingerprintMismatch(advice(new, self._collections_of(served)))

    def _collections_of(self, fingerprint: str) -> list[tuple[str, int]]:
        listed = self.index.call("GET", "/collections")["collections"]
        return [(each["name"], each["count"]) for each in listed if each["fingerprint"] == fingerprint]

    def _next_version(self, endpoint: str) -> str:
        taken = [int(float(each["modelVersion"])) for each in self.torchserve.versions(endpoint)]
        return f"{max(taken) + 1}.0"

    def _staged(self, endpoint: str, version: str) -> Path:
        """Of a copy in the model store, under a name of its own, that says which version it is."""
        return self.model_store / f"{endpoint}-{version}.mar"

    @contextlib.contextmanager
    def _undone_on_failure(self, new: Mapping[str, str], staged: Mapping[str, Path]) -> Iterator[None]:
        """Whatever ends it, Ctrl-C too. Raises BadModel where the store can't be written."""
        try:
            yield
        except BaseException as error:
            try:
                self._undo(new)
            finally:
                for path in staged.values():
                    path.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise BadModel(f"the archives can't be copied to {self.model_store}: {error.strerror}") from error
            raise

    def _keep(self, endpoint: str, staged: Path, version: str) -> None:
        """Raises BadModel where the store can't be written."""
        try:
            if self.settings.get(endpoint):
                with_version(self.archives[endpoint], staged, version)
            os.replace(staged, self.model_store / f"{endpoint}.mar")
        except OSError as error:
            raise BadModel(
                f"{endpoint} {version} serves, and {self.model_store} still has the old archive ({error.strerror}): "
                "make room and swap again, or the next start serves the old one"
            ) from error

    def _start(self, new: Mapping[str, str], staged: Mapping[str, Path], old: Mapping[str, str]) -> None:
        for endpoint, version in new.items():
            self.report(f"starting {endpoint} {version} beside {old[endpoint]}")
            self.torchserve.register(endpoint, staged[endpoint].name, workers(self.torchserve, endpoint, old[endpoint]))
            self.torchserve.wait_ready(endpoint, version)
            item = canary(read(staged[endpoint]).kind)
            for _ in range(_WARM_UP):
                self.torchserve.predict(endpoint, item, version)

    def _undo(self, new: Mapping[str, str]) -> None:
        for endpoint, version in new.items():
            if version in [str(each["modelVersion"]) for each in self.torchserve.versions(endpoint)]:
                self.torchserve.unregister(endpoint, version)


def with_version(source: Path, target: Path, version: str, settings: Mapping[str, Any] | None = None) -> None:
    """Copy a .mar with another `modelVersion` in its manifest, and `settings` over those of its endpoint.

    The target appears whole or not at all.
    """
    part = target.with_suffix(".part")
    try:
        with zipfile.ZipFile(source) as old, zipfile.ZipFile(part, "w") as new:
            for entry in old.infolist():
                if entry.filename == MANIFEST:
                    manifest = json.loads(old.read(entry))
                    manifest["model"]["modelVersion"] = version
                    new.writestr(entry, json.dumps(manifest, indent=2))
                elif entry.filename == CONFIG and settings:
                    new.writestr(entry, config_with(old.read(entry), settings))
                else:  # weights are larger than what a process should hold
                    with old.open(entry) as content, new.open(copy.copy(entry), "w") as copied:
                        shutil.copyfileobj(content, copied, _CHUNK)
        shutil.copymode(source, part)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def advice(fingerprint: str, collections: Sequence[tuple[str, int]]) -> str:
    """What to do when vectors of the old and the new model can't be compared."""
    lines = [f"the new model's vectors ({fingerprint}) can't be compared with the old one's; nothing was changed."]
    if collections:
        names = ", ".join(f"{name} ({count} items)" for name, count in collections)
        lines.append(f"Collections of the old model, which would answer 409 after the swap: {names}.")
        lines.append(
            "Swap with --accept-new-fingerprint, then embed them again (with --images DIR where no picture is kept):"
        )
        lines += [f"  {reindex_command(name, fingerprint)}" for name, _ in collections]
        lines.append("let clients move over, and drop the old collections. Without any search refused meanwhile:")
        lines.append("docs/reindexing.md, with the new model served beside the old one and an alias between them.")
    else:
        lines.append("No collection holds the old one's vectors: swap with --accept-new-fingerprint.")
    return "\n".join(lines)


def reindex_command(collection: str, fingerprint: str) -> str:
    """The command line that embeds a collection again, into one that is named after the new model."""
    ending = f"-{fingerprint[:6]}"
    return f"clipserve reindex {collection} {collection[: _LONGEST_NAME - len(ending)]}{ending}"
