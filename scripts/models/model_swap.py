"""`clipserve model swap`: a new version beside the old one, warmed, made the default, the old one drained and removed.

TorchServe keeps several versions of a model under one name, and requests without a version go to the default. No
request fails: the old version leaves only when nothing waits for it any more.
"""

from __future__ import annotations

import json
import os
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clip_core.errors import BadModel, ClipServeError, FingerprintMismatch
from clip_core.model_spec import ModelSpec
from scripts.archive.mar_files import read_spec
from scripts.models.management import Management
from scripts.public_api import PublicApi

MANIFEST = "MAR-INF/MANIFEST.json"
_LONGEST_NAME = 64  # of a collection
_WARM_UP = 8
Report = Callable[[str], None]


@dataclass(frozen=True)
class Swap:
    """`archives`: endpoint → its new .mar, anywhere; `model_store` is the folder that TorchServe reads."""

    torchserve: Management
    index: PublicApi
    archives: Mapping[str, Path]
    model_store: Path
    accept_new_fingerprint: bool = False
    drain_s: float = 2.0
    report: Report = lambda _: None

    def run(self) -> dict[str, str]:
        """Endpoint → its new version. Raises FingerprintMismatch before anything is changed; undoes a failed start."""
        specs = {endpoint: _spec(path) for endpoint, path in self.archives.items()}
        self._check_fingerprint(specs)
        old = {endpoint: self.torchserve.default_version(endpoint) for endpoint in self.archives}
        new = {endpoint: self._next_version(endpoint) for endpoint in self.archives}
        staged = {endpoint: self._stage(endpoint, version) for endpoint, version in new.items()}
        try:
            self._start(new, staged, old)
        except ClipServeError:
            self._undo(new)
            for path in staged.values():
                path.unlink(missing_ok=True)
            raise
        for endpoint, version in new.items():
            self.torchserve.make_default(endpoint, version)
        self.report("the new versions serve; draining the old ones")
        self._retire(old, specs)
        for endpoint, path in staged.items():
            os.replace(path, self.model_store / f"{endpoint}.mar")
        return new

    def _check_fingerprint(self, specs: Mapping[str, ModelSpec]) -> None:
        prints = {spec.fingerprint for spec in specs.values()}
        if len(prints) != 1:
            raise BadModel("the archives are of different models: their fingerprints differ")
        served = self.torchserve.predict(next(iter(self.archives)), canary(specs))["fingerprint"]
        (new,) = prints
        if new != served and not self.accept_new_fingerprint:
            raise FingerprintMismatch(advice(new, self._collections_of(served)))

    def _collections_of(self, fingerprint: str) -> list[tuple[str, int]]:
        listed = self.index.call("GET", "/collections")["collections"]
        return [(each["name"], each["count"]) for each in listed if each["fingerprint"] == fingerprint]

    def _next_version(self, endpoint: str) -> str:
        taken = [int(float(each["modelVersion"])) for each in self.torchserve.versions(endpoint)]
        return f"{max(taken) + 1}.0"

    def _stage(self, endpoint: str, version: str) -> Path:
        """A copy in the model store, under a name of its own, that says which version it is."""
        target = self.model_store / f"{endpoint}-{version}.mar"
        with_version(self.archives[endpoint], target, version)
        return target

    def _start(self, new: Mapping[str, str], staged: Mapping[str, Path], old: Mapping[str, str]) -> None:
        for endpoint, version in new.items():
            self.report(f"starting {endpoint} {version} beside {old[endpoint]}")
            self.torchserve.register(endpoint, staged[endpoint].name, self._workers(endpoint, old[endpoint]))
            self.torchserve.wait_ready(endpoint, version)
            item = canary({endpoint: _spec(staged[endpoint])})
            for _ in range(_WARM_UP):
                self.torchserve.predict(endpoint, item, version)

    def _workers(self, endpoint: str, version: str) -> int:
        found = [each for each in self.torchserve.versions(endpoint) if str(each["modelVersion"]) == version]
        return max(1, len(found[0]["workers"])) if found else 1

    def _undo(self, new: Mapping[str, str]) -> None:
        for endpoint, version in new.items():
            if version in [str(each["modelVersion"]) for each in self.torchserve.versions(endpoint)]:
                self.torchserve.unregister(endpoint, version)

    def _retire(self, old: Mapping[str, str], specs: Mapping[str, ModelSpec]) -> None:
        """Requests taken out of the queue just before are with the workers, on a busy machine for long. A canary for
        each worker is answered after those of the worker that takes it; the pause is for what another may have.
        """
        for endpoint, version in old.items():
            while self.torchserve.pending(endpoint, version):
                time.sleep(0.05)
            for _ in range(self._workers(endpoint, version)):
                self.torchserve.predict(endpoint, canary({endpoint: specs[endpoint]}), version)
        time.sleep(self.drain_s)
        for endpoint, version in old.items():
            self.torchserve.unregister(endpoint, version)
            self.report(f"{endpoint} {version} is gone")


def _spec(mar: Path) -> ModelSpec:
    spec = read_spec(mar)
    if spec is None:
        raise BadModel(f"{mar} is damaged or no archive of ours; build it with `clipserve archive build`")
    return spec


def canary(specs: Mapping[str, ModelSpec]) -> dict[str, object]:
    """A request that the first endpoint takes: a text, or a grey picture where there is no text tower."""
    from gateway.readiness import canary_image

    first = next(iter(specs.values()))
    return {"input": [{"image": canary_image()} if first.kind == "image" else {"text": "a canary"}]}


def with_version(source: Path, target: Path, version: str) -> None:
    """Copy a .mar with another `modelVersion` in its manifest. The target appears whole or not at all."""
    part = target.with_suffix(".part")
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(part, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename == MANIFEST:
                manifest = json.loads(data)
                manifest["model"]["modelVersion"] = version
                data = json.dumps(manifest, indent=2).encode()
            new.writestr(entry, data)
    os.replace(part, target)


def advice(fingerprint: str, collections: Sequence[tuple[str, int]]) -> str:
    """What to do when vectors of the old and the new model can't be compared."""
    lines = [f"the new model's vectors ({fingerprint}) can't be compared with the old one's; nothing was changed."]
    if collections:
        names = ", ".join(f"{name} ({count} items)" for name, count in collections)
        lines.append(f"Collections of the old model, which would answer 409 after the swap: {names}.")
        lines.append(
            "Swap with --accept-new-fingerprint, then embed them again, from DIR where pictures came as bytes:"
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
    return f"clipserve reindex {collection} {collection[: _LONGEST_NAME - len(ending)]}{ending} --images DIR"
