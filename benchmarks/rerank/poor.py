"""Captioners that are worse than the search: the demo's with noise in its weights, and one of two minutes' training.

The quality gate is to leave them out, and the demo's own in.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path

import pybase64
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file

from benchmarks.drawings.demo_model import DemoModel
from benchmarks.rerank.gallery import CAPTIONER, Gallery, remembered
from benchmarks.rerank.queries import HARD, queries
from benchmarks.rerank.statistics import share
from clip_core.captions.captioner import Captioner
from clip_core.inputs.images import decode
from gateway.reranking.quality.canaries import canary_groups, share_right
from gateway.reranking.quality.gate import CaptionerQuality
from scripts.demo.evaluate import SIZES
from scripts.demo.render import render

NOISES = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 1.0)
_QUERIES, _SEED, _CANDIDATES = 120, 909, 20
_WEIGHTS = "open_clip_model.safetensors"
_EARLY = {"minutes": 2.5, "steps": 400, "batch": 64, "scenes": 3000, "rate": 3e-3, "seed": 5}


def measure(clip: DemoModel, work: Path, console: Console, *, early: bool) -> list[dict[str, float | str | bool]]:
    """Of each captioner: its canaries, what it does to recall@1, and whether the gate lets it in."""
    known, rows = queries(HARD, _QUERIES, _SEED), list[dict[str, float | str | bool]]()
    gallery = Gallery.drawn(known, clip, Captioner.load(CAPTIONER))
    found, _ = gallery.found(clip.texts([query.text for query in known]), _CANDIDATES)
    plain = share([found[place][0] in gallery.right[place] for place in range(len(known))])
    scenes = [scene for query in known for scene in query.scenes]
    pictures = [render(scene, *SIZES[place % len(SIZES)]) for place, scene in enumerate(scenes)]
    for name, folder in captioners(work, early=early, console=console):
        captioner = Captioner.load(folder)
        memories = remembered(captioner, pictures)
        right = []
        for place, query in enumerate(known):
            rows_of = captioner.score_pictures([memories[each] for each in found[place]], [query.text])
            best = max(range(_CANDIDATES), key=lambda at: rows_of[at][0])
            right.append(found[place][best] in gallery.right[place])
        quality = CaptionerQuality(*canary_shares(captioner, clip), name)
        rows.append(
            {
                "captioner": name,
                "canaries": round(quality.captioner, 4),
                "canaries_of_the_search": round(quality.plain, 4),
                "recall_at_1": round(share(right), 4),
                "plain_recall_at_1": round(plain, 4),
                "let_in": quality.good,
            }
        )
        console.print(rows[-1], soft_wrap=True)
    return rows


def figures_of(rows: list[dict[str, float | str | bool]]) -> dict[str, float]:
    """Poor is what makes recall@1 worse than the plain search's."""
    poor = [row for row in rows if float(row["recall_at_1"]) < float(row["plain_recall_at_1"])]
    return {
        "poor_captioners": float(len(poor)),
        "poor_captioners_let_in": float(sum(bool(row["let_in"]) for row in poor)),
        "demo_captioner_let_in": float(bool(rows[0]["let_in"])),
    }


def captioners(work: Path, *, early: bool, console: Console) -> Iterator[tuple[str, Path]]:
    for noise in NOISES:
        yield (f"noise {noise:g}" if noise else "demo"), _noisy(work / f"noise-{noise:g}", noise)
    if early:
        yield "two minutes of training", _early(work / "early", console)


def canary_shares(captioner: Captioner, clip: DemoModel) -> tuple[float, float]:
    """By the captioner, and by the search's model."""
    ours, plain = [], []
    for group in canary_groups():
        pictures = [decode(pybase64.b64decode(each)) for each in group.pictures]
        scores = captioner.score_pictures(remembered(captioner, pictures), [group.text])
        ours.append([row[0] for row in scores])
        plain.append((clip.pictures(pictures) @ clip.texts([group.text])[0]).tolist())
    return share_right(ours), share_right(plain)


def _noisy(folder: Path, noise: float) -> Path:
    """Each tensor with noise of so many of its standard deviations."""
    shutil.copytree(CAPTIONER, folder)
    torch.manual_seed(_SEED)
    weights = load_file(folder / _WEIGHTS)
    for name, tensor in weights.items():
        if tensor.is_floating_point() and tensor.numel() > 1:
            spread = tensor.float().std() * noise
            weights[name] = (tensor.float() + spread * torch.randn(tensor.shape)).to(tensor.dtype)
    save_file(weights, folder / _WEIGHTS)
    return folder


def _early(folder: Path, console: Console) -> Path:
    from clip_core.cores import available_cores
    from scripts.demo.captioner.model import write_config
    from scripts.demo.captioner.train import train
    from scripts.demo.evaluate import ARCHIVE
    from scripts.demo.train import save

    folder.mkdir(parents=True)
    write_config(folder)
    given = argparse.Namespace(out=folder, start=None, trunk=ARCHIVE, threads=available_cores(), **_EARLY)
    model, minutes, steps = train(given, console)
    console.print(f"{steps} steps in {minutes:.1f} minutes")
    save(model, folder)
    return folder
