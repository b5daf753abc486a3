"""clip-retrieval's `clip inference` on the same pictures with the same weights, which it runs in float32."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from benchmarks.bulk.sources import write_pictures

_FEW = 64


def clip_retrieval_rate(environment: Path, weights: Path, work: Path, count: int, batch: int) -> float:
    """Pictures a second, its start aside: what a run over `count` pictures takes longer than one over a few."""
    few = _seconds(environment, weights, write_pictures(work / "few", _FEW), work / "cr-few", batch)
    many = _seconds(environment, weights, write_pictures(work / "many", count + _FEW), work / "cr-many", batch)
    if many <= few:
        raise RuntimeError(f"{count} pictures more took clip-retrieval no longer: is the machine quiet?")
    return count / (many - few)


def _seconds(environment: Path, weights: Path, folder: Path, out: Path, batch: int) -> float:
    """Raises RuntimeError, with the end of what it said."""
    command = [str(environment / "bin" / "clip-retrieval"), "inference", "--input_dataset", str(folder)]
    command += ["--output_folder", str(out), "--clip_model", f"open_clip:ViT-B-32/{weights}", "--use_jit", "False"]
    command += ["--enable_text", "False", "--enable_metadata", "False", "--batch_size", str(batch)]
    command += ["--num_prepro_workers", "2", "--cache_path", "None"]
    began = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise RuntimeError(f"clip-retrieval ended with {done.returncode}:\n{done.stdout[-2000:]}")
    return time.monotonic() - began
