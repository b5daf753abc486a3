"""The images as they run on this machine: locked down, how soon they are ready, and what a container costs an encoder.

They are those that `docker compose build` made, or of another tag; nothing is built here.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.lib.waiting import answers, until
from benchmarks.ship.encoder_rate import EncoderAddress, rate
from benchmarks.ship.engine import LOCKED_DOWN, DockerEngine, engine
from benchmarks.ship.missing import NotHereError
from benchmarks.ship.pods import Pods
from scripts.stack.live_stack import free_ports

TARGETS = ("gateway", "index", "encoder", "tools")
_READY_S = 300.0
_ROUNDS = 5
_ON_DISK = ("--read-only", "--tmpfs", "/tmp:exec", *LOCKED_DOWN[3:])  # TorchServe runs what it unpacks
_KEY = ("--env", "CLIPSERVE_GATEWAY_API_KEYS=bench")


@dataclass(frozen=True)
class Images:
    """Those of one tag in one engine."""

    docker: DockerEngine
    tag: str

    def name(self, target: str) -> str:
        """Raises NotHereError when it was not built."""
        found = f"clipserve/{target}:{self.tag}"
        if not self.docker.has(found):
            raise NotHereError(f"the image {found} was not built: docker compose --file docker/compose.yaml build")
        return found

    @contextmanager
    def created_encoder(self, store: Path) -> Iterator[str]:
        """A container that was not started yet; its archives are those of a folder."""
        shared = ("--volume", f"{store.resolve()}:/models:ro")
        ports = ("--publish", "127.0.0.1::8080", "--publish", "127.0.0.1::8081")
        with self.docker.created(self.name("encoder"), *_ON_DISK, *shared, *ports) as made:
            yield made

    def start_encoder(self, created: str) -> EncoderAddress:
        self.docker("start", created)
        return EncoderAddress(self.docker.address(created, 8080), self.docker.address(created, 8081))

    @contextmanager
    def encoder(self, store: Path) -> Iterator[EncoderAddress]:
        """A container that has just been started."""
        with self.created_encoder(store) as created:
            yield self.start_encoder(created)


@contextmanager
def images(tag: str, folder: Path | None) -> Iterator[Images]:
    """In the engine that answers, else in one whose data is in `folder`. Raises NotHereError when there is none."""
    if folder is None and not DockerEngine().answers():
        raise NotHereError("no Docker engine answers: install docker.io, set DOCKER_HOST, or name a folder of data")
    with engine(folder.resolve()) if folder is not None else nullcontext(DockerEngine()) as docker:
        yield Images(docker, tag)


def sizes(found: Images) -> dict[str, float]:
    """Megabytes of each, unpacked and with its base, as `docker images` counts them. Raises NotHereError."""
    return {
        f"{target}_image_mb": int(found.docker.inspect(found.name(target), "{{.Size}}")) / 1e6 for target in TARGETS
    }


def locked_down(found: Images, store: Path) -> dict[str, float]:
    """How many run as another user than root, on a read-only root, without capabilities. Raises NotHereError."""
    return {"images_locked_down": float(sum(_runs(found, target, store) for target in TARGETS))}


def _runs(found: Images, target: str, store: Path) -> bool:
    image = found.name(target)
    if found.docker.inspect(image, "{{.Config.User}}") in ("", "0", "root"):
        return False
    if target == "tools":
        return "archive" in found.docker("run", "--rm", *LOCKED_DOWN, image, "--help")
    if target == "encoder":
        return ready_s(found, store) > 0
    with found.docker.container(image, *LOCKED_DOWN, *(_KEY if target == "gateway" else ())) as made:
        found.docker.wait(made, "{{.State.Health.Status}}", "healthy")
    return True


def ready_s(found: Images, store: Path) -> float:
    """Seconds from an encoder's start until every worker has loaded. Raises RuntimeError after minutes.

    The container is there already: some storage drivers copy the whole image for each, which says nothing of it.
    """
    with found.created_encoder(store) as created:
        started = time.monotonic()
        wait_ready(found.start_encoder(created))
        return time.monotonic() - started


def wait_ready(target: EncoderAddress) -> None:
    """Raises RuntimeError after minutes."""
    fault = f"the encoder at {target.management} is not ready after {_READY_S:g} s"
    until(lambda: answers(f"{target.management}/readyz"), _READY_S, lambda: fault, pause_s=0.05)


def demo_ready(found: Images, store: Path) -> dict[str, float]:
    """The median of three starts of the demo model. Raises NotHereError."""
    return {"demo_ready_s": statistics.median(ready_s(found, _with(store, "clip_text")) for _ in range(3))}


def vit_ready(found: Images, store: Path | None) -> dict[str, float]:
    """The same of ViT-B/32 with packages that were compiled here. Raises NotHereError."""
    if store is None:
        raise NotHereError("no archives of ViT-B/32: python -m benchmarks.ship.vit_store DIR; make bench-ship VIT=DIR")
    return {"vit_b_32_ready_s": statistics.median(ready_s(found, _with(store, "*_text")) for _ in range(3))}


def _with(store: Path, pattern: str) -> Path:
    if not list(store.glob(f"{pattern}.mar")):
        raise NotHereError(f"{store} holds no {pattern}.mar")
    return store


def throughput(found: Images, store: Path, folder: Path, callers: int, seconds: float) -> dict[str, float]:
    """Texts a second in a container ÷ outside: turn by turn, one at a time, the median of the pairs."""
    (index,) = free_ports(1)
    pods = Pods(folder, store, {"index": index})
    try:
        pod = pods.encoder()
        pod.wait_ready()
        outside = EncoderAddress(f"http://127.0.0.1:{pod.port}", f"http://127.0.0.1:{pod.management_port}")
        with found.encoder(_with(store, "clip_text")) as inside:
            wait_ready(inside)
            measured = partial(rate, callers=callers, seconds=seconds)
            for target in (inside, outside):
                measured(target)  # warm
            pairs = [(measured(inside), measured(outside)) for _ in range(_ROUNDS)]
    finally:
        pods.end()
    return {
        "inside_texts_s": statistics.median(inside for inside, _ in pairs),
        "outside_texts_s": statistics.median(outside for _, outside in pairs),
        "containers_over_outside": statistics.median(inside / outside for inside, outside in pairs),
    }
