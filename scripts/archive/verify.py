"""`clipserve archive verify`: unpack a .mar, load it in a clean process with its own `clip_core`, run its canaries."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from clip_core.errors import BadModel
from scripts.archive.contents import check_contents
from scripts.archive.mar_files import unpacked

_PROGRAM = """
import json, sys
from pathlib import Path
directory = Path(sys.argv[1])
sys.path.insert(0, str(directory))
import torch
import clip_core
assert Path(clip_core.__file__).is_relative_to(directory), clip_core.__file__
try:
    from clip_core.encode.canaries import check
    from clip_core.encode.encoders import Encoders
    from clip_core.endpoint_config import EndpointConfig
except ModuleNotFoundError:  # an archive of version 0.1.0, whose clip_core has no rooms
    from clip_core.canaries import check
    from clip_core.encoders import Encoders
    from clip_core.settings import EndpointConfig
from clip_core.errors import ClipServeError
import yaml
spec = json.loads((directory / "model_spec.json").read_text())
if spec["kind"] == "caption":
    from clip_core.captions.captioner import Captioner
    from clip_core.serving.captions.canaries import check as check_captions
    try:
        captioner = Captioner.load(directory, precision=spec["precision"])
        tokens = check_captions(captioner, spec["precision"], directory)
    except ClipServeError as error:
        sys.exit(error.message)
    except Exception as error:
        sys.exit(f"the archive does not load: {type(error).__name__}: {error}")
    kept = {name: spec[name] for name in ("name", "kind", "dim", "fingerprint", "precision")}
    print(json.dumps({**kept, "floor": 1.0, "towers": {"captioner": "CoCa"}, "cosines": [], "tokens": tokens}))
    sys.exit()
try:
    config = EndpointConfig.parse(yaml.safe_load((directory / "model-config.yaml").read_text()))
    encoders = Encoders.load(directory, config, 0 if torch.cuda.is_available() else None)
    cosines = check(encoders, directory)
except ClipServeError as error:
    sys.exit(error.message)
except Exception as error:
    sys.exit(f"the archive does not load: {type(error).__name__}: {error}")
spec = encoders.spec
towers = {name: f"{tower.name} ({'compiled' if tower.compiled else 'not compiled'})"
          for name, tower in (("text", encoders.text), ("image", encoders.image)) if tower}
print(json.dumps({"name": spec.name, "kind": spec.kind, "dim": spec.dim, "fingerprint": spec.fingerprint,
                  "precision": spec.precision, "floor": spec.cosine_floor, "towers": towers, "cosines": cosines}))
"""


@dataclass(frozen=True)
class Verified:
    name: str
    kind: str
    dim: int
    fingerprint: str
    precision: str
    floor: float
    towers: dict[str, str]
    cosines: list[float]
    tokens: int = 0  # of a captioner's canaries, that are open_clip's


def _check(mar: Path, directory: Path) -> None:
    try:
        check_contents(directory)
    except BadModel as error:
        raise BadModel(f"{mar.name}: {error.message}") from error


def verify(mar: Path) -> Verified:
    """Raises BadModel when the archive lacks something, does not load, or a canary is not open_clip's."""
    with unpacked(mar) as directory:
        _check(mar, directory)
        command = [sys.executable, "-I", "-c", _PROGRAM, str(directory.resolve())]
        done = subprocess.run(command, capture_output=True, text=True, cwd=directory)
    if done.returncode != 0:
        raise BadModel(f"{mar.name}: {done.stderr.strip()[-2000:]}")
    return Verified(**json.loads(done.stdout.splitlines()[-1]))
