"""`python -m benchmarks.ship.vit_store DIR`: archives of a ViT-B/32 in int8, compiled for this machine.

It takes ten minutes on two cores. The weights are random: what loads, and how long it takes, is that of trained ones.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from rich.console import Console

from scripts.archive.build import build
from scripts.archive.random_checkpoint import write_random
from scripts.progress import WorkProgress


def main() -> None:
    """Build them, unless they are there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    store: Path = parser.parse_args().store
    store.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="clipserve-") as folder:
        weights = write_random(Path(folder), "ViT-B-32")
        build("vit-b-32", checkpoint=weights, precision="int8", model_store=store, progress=WorkProgress(Console()))


if __name__ == "__main__":
    main()
