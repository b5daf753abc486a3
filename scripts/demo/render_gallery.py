"""The demo gallery: a few hundred rendered scenes of several sizes, none of them square, made at start-up."""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from random import Random

from PIL import Image
from rich.console import Console
from rich.progress import track

from scripts.demo.render import render
from scripts.demo.scenes import COMBINATIONS, Object, Scene, make_scene

COUNT = 640
SEED = 2024
SIZES = ((320, 240), (240, 320), (400, 240))
KINDS, SHARES = ("single", "several", "relation"), (0.55, 0.2, 0.25)
LISTING = "gallery.jsonl"
_PAIR = Scene((Object("star", "blue", "plain"),), "small", 2, "white", None, ((0.24, 0.47), (0.76, 0.53)), 1)
SHOWN = (  # what the README searches for first, and the rest would not have
    _PAIR,
    replace(_PAIR, objects=(Object("star", "blue", "dotted"),), background="beige", places=((0.2, 0.52), (0.77, 0.46))),
)


def gallery_scenes(count: int = COUNT, seed: int = SEED) -> list[Scene]:
    """`count` scenes with captions that all differ, held-out combinations among them."""
    rng = Random(seed)
    scenes: dict[str, Scene] = {}
    while len(scenes) < count - len(SHOWN):
        scene = make_scene(rng, COMBINATIONS, rng.choices(KINDS, SHARES)[0])
        if scene.canonical_caption() not in {each.canonical_caption() for each in SHOWN}:
            scenes.setdefault(scene.canonical_caption(), scene)
    return [*scenes.values(), *SHOWN]


def render_gallery(directory: Path, count: int = COUNT, console: Console | None = None, *, seed: int = SEED) -> bool:
    """JPEGs and a listing → `directory`; False when they are there already. Never leaves half a gallery.

    An older gallery is replaced; FileExistsError when `directory` holds anything that is not a gallery's.
    """
    scenes = gallery_scenes(count, seed)
    if is_whole(directory, scenes):
        return False
    _refuse_foreign(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".gallery-", dir=directory.parent))
    try:
        rows = track(enumerate(scenes), "render gallery", total=count, console=console, disable=console is None)
        for number, scene in rows:
            (work / _name(number)).write_bytes(as_jpeg(render(scene, *SIZES[number % len(SIZES)])))
        (work / LISTING).write_text(_listing(scenes), encoding="utf-8")
        shutil.rmtree(directory, ignore_errors=True)
        os.replace(work, directory)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return True


def as_jpeg(picture: Image.Image) -> bytes:
    """As the gallery keeps it."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=92)
    return file.getvalue()


def is_whole(directory: Path, scenes: list[Scene]) -> bool:
    """Whether `directory` lists exactly these scenes and has a picture for each."""
    listing = directory / LISTING
    if not listing.is_file() or listing.read_text(encoding="utf-8") != _listing(scenes):
        return False
    return all((directory / _name(number)).is_file() for number in range(len(scenes)))


def _refuse_foreign(directory: Path) -> None:
    """Replacing a gallery deletes its directory, so nothing but a gallery's own files may be in it."""
    for path in directory.iterdir() if directory.exists() else ():
        if path.name != LISTING and not path.match("scene-*.jpg"):
            raise FileExistsError(
                f"{directory} holds {path.name}, which is no gallery's: name a new or empty directory"
            )


def _name(number: int) -> str:
    return f"scene-{number:04d}.jpg"


def _listing(scenes: list[Scene]) -> str:
    return "".join(json.dumps(_row(scene, number)) + "\n" for number, scene in enumerate(scenes))


def _row(scene: Scene, number: int) -> dict[str, object]:
    name = _name(number)
    return {
        "id": name.removesuffix(".jpg"),
        "file": name,
        "caption": scene.canonical_caption(),
        "metadata": scene.metadata(),
    }
