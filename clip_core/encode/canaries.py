"""Canaries: inputs with the vectors that open_clip itself gave in fp32 when the archive was built.

A worker runs them through the path it will serve with, and does not become ready below the floor.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path

from clip_core.encode import draft_gate
from clip_core.encode.encoded import Encoded
from clip_core.encode.encoders import Encoders
from clip_core.errors import BadModel, ClipServeError
from clip_core.inputs.request import Item, Part
from clip_core.model_spec import CANARIES_FILE
from clip_core.wire import FloatArray, decode_vector, encode_vector


def write(path: Path, items: Sequence[Item], vectors: FloatArray) -> None:
    """`items` of one part each; `vectors` (B, D) float32, unit norm."""
    rows = [
        {**_to_json(item.parts[0]), "vector": encode_vector(vector)}
        for item, vector in zip(items, vectors, strict=True)
    ]
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def check(encoders: Encoders, model_dir: Path) -> list[float]:
    """The cosine of each canary's vector to the one built in. Raises BadModel below the floor."""
    items, expected = _read(model_dir / CANARIES_FILE)
    results = encoders.encode(items, cut_long_texts=[True] * len(items))
    cosines = [_cosine(result, vector) for result, vector in zip(results, expected, strict=True)]
    if not cosines or min(cosines) < encoders.spec.cosine_floor:
        worst = f"{min(cosines):.6f}" if cosines else "none"
        raise BadModel(
            f"canaries: the smallest cosine is {worst}, the floor {encoders.spec.cosine_floor}; "
            "this machine does not compute the vectors that the archive was built with"
        )
    draft_gate.check(encoders, [value for item in items if isinstance(value := item.parts[0].value, bytes)])
    return cosines


def _read(path: Path) -> tuple[list[Item], list[FloatArray]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [Item((_from_json(row),)) for row in rows], [decode_vector(row["vector"]) for row in rows]
    except (OSError, ValueError, KeyError, TypeError, ClipServeError) as error:
        raise BadModel(f"{path.name} can't be read: {error}") from error


def _to_json(part: Part) -> dict[str, str]:
    if isinstance(part.value, str):
        return {"kind": part.kind, "value": part.value}
    assert isinstance(part.value, bytes), "a canary is a text or an image"
    return {"kind": part.kind, "value": base64.b64encode(part.value).decode("ascii")}


def _from_json(row: dict[str, str]) -> Part:
    return Part(row["kind"], row["value"] if row["kind"] == "text" else base64.b64decode(row["value"]))


def _cosine(result: Encoded | ClipServeError, expected: FloatArray) -> float:
    if isinstance(result, ClipServeError):
        raise BadModel(f"a canary failed: {result.message}")
    return float(result.vector @ expected)
