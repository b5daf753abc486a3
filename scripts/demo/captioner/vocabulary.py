"""The captioner's vocabulary: CLIP's byte-pair encoding with only the merges that the scenes' words use.

A CoCa holds two tables of the vocabulary's size. With the standard one they would cost 25 MB; this one has a few
hundred rows. It cuts the scenes' words into the same pieces, and spells every other word in bytes.
"""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path
from typing import Any

from scripts.demo.scenes import BACKGROUNDS, COLORS, COUNTS, RELATIONS, SHAPES, SIZES, TEXTURES, plural

MERGES = "merges.txt.gz"
FRAMES = "a an is of on with background photo picture image showing there are"


def words() -> list[str]:
    """Every word of a caption, once."""
    said = [
        *SHAPES,
        *map(plural, SHAPES),
        *COLORS,
        *TEXTURES,
        *SIZES,
        *BACKGROUNDS,
        *COUNTS.values(),
        FRAMES,
        *RELATIONS,
    ]
    return sorted({word for phrase in said for word in phrase.split()})


def used_merges(tokenizer: Any, texts: list[str]) -> list[str]:
    """Lines "left right" of the merges of open_clip's `tokenizer` that these words need, in its order."""
    used: set[tuple[str, str]] = set()
    for text in texts:
        pieces = [*text[:-1], text[-1] + "</w>"]
        while pairs := [pair for pair in itertools.pairwise(pieces) if pair in tokenizer.bpe_ranks]:
            best = min(pairs, key=tokenizer.bpe_ranks.__getitem__)
            used.add(best)
            pieces = _merged(pieces, best)
    return [" ".join(pair) for pair in sorted(used, key=tokenizer.bpe_ranks.__getitem__)]


def _merged(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for piece in pieces:
        if merged and (merged[-1], piece) == pair:
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged


def write_merges(directory: Path) -> int:
    """Writes `merges.txt.gz` in the form that open_clip reads; returns the number of token ids."""
    from open_clip.tokenizer import SimpleTokenizer

    merges = used_merges(SimpleTokenizer(), words())
    text = "\n".join(["#version: 0.2, the merges of scripts/demo's words", *merges])
    (directory / MERGES).write_bytes(gzip.compress(text.encode(), mtime=0))
    return 2 * 256 + len(merges) + 2


def tokenizer_of(directory: Path) -> Any:
    """open_clip's tokenizer of the captioner in `directory`, wherever the process was started.

    Its config names the merges relative to the folder, and open_clip would look in the working directory.
    """
    import open_clip

    return open_clip.get_tokenizer(f"local-dir:{directory}", bpe_path=str(directory / MERGES))
