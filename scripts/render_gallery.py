"""The demo gallery: a few hundred rendered scenes of several sizes, none of them square, made at start-up.

python -m scripts.render_gallery data/demo/gallery
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from pathlib import Path
from random import Random

from rich.console import Console
from rich.progress import track

from scripts.demo_render import render
from scripts.demo_scenes import COMBINATIONS, Scene, make_scene

COUNT = 640
SIZES = ((320, 240), (240, 320), (400, 240))
KINDS, SHARES = ("single", "several", "relation"), (0.55, 0.2, 0.25)
LISTING = "gallery.jsonl"


def gallery_scenes(count: int = COUNT, seed: int = 2024) -> list[Scene]:
    """`count` scenes with captions that all differ, held-out combinations among them."""
    rng = Random(seed)
    scenes: dict[str, Scene] = {}
    while len(scenes) < count:
        scene = make_scene(rng, COMBINATIONS, rng.choices(KINDS, SHARES)[0])
        scenes.setdefault(scene.canonical_caption(), scene)
    return list(scenes.values())


def render_gallery(directory: Path, count: int = COUNT, console: Console | None = None) -> bool:
    """JPEGs and a listing → `directory`; False when they are there already. Never leaves half a gallery."""
    if is_whole(directory, count):
        return False
    directory.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".gallery-", dir=directory.parent))
    try:
        scenes = gallery_scenes(count)
        rows = track(enumerate(scenes), "render gallery", total=count, console=console, disable=console is None)
        listing = [json.dumps(_save(scene, number, work)) for number, scene in rows]
        (work / LISTING).write_text("\n".join(listing) + "\n", encoding="utf-8")
        shutil.rmtree(directory, ignore_errors=True)
        os.chmod(work, 0o755)
        os.replace(work, directory)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return True


def is_whole(directory: Path, count: int) -> bool:
    """The listing is written last, so its length says whether the gallery is whole and of this size."""
    listing = directory / LISTING
    return listing.is_file() and len(listing.read_text(encoding="utf-8").splitlines()) == count


def _save(scene: Scene, number: int, directory: Path) -> dict[str, object]:
    name = f"scene-{number:04d}.jpg"
    render(scene, *SIZES[number % len(SIZES)]).save(directory / name, "JPEG", quality=92)
    return {
        "id": f"scene-{number:04d}",
        "file": name,
        "caption": scene.canonical_caption(),
        "metadata": scene.metadata(),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Render the demo gallery.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--count", type=int, default=COUNT)
    arguments = parser.parse_args()
    made = render_gallery(arguments.directory, arguments.count, Console())
    print("rendered" if made else "already there")
