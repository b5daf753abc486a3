"""Our towers beside open_clip's, for every given model in every precision that this machine has: the least cosine.

    python -m benchmarks.encoders.parity --models vit-b-16 siglip-b-16 --save

Weights are random but for the demo's: nothing is downloaded. So fp32 shows that the forward passes are open_clip's, and
the other precisions what rounding does to weights of that shape; for trained weights `clipserve bench precisions` says
it. Pictures and texts are rendered scenes. Towers are not compiled. Models that are not named keep their saved rows.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.lib.markdown import between, table
from benchmarks.lib.reports import DOCS, RESULTS, head, judge, options, write
from clip_core.errors import BadModel
from clip_core.networks.precision import unavailable
from scripts.archive.gate_set import GateSet
from scripts.archive.model_source import ModelSource, load
from scripts.archive.places import ARCHIVE_DIR
from scripts.archive.precision_choice import CANDIDATES
from scripts.archive.random_checkpoint import write_random
from scripts.archive.resolver import resolve
from scripts.archive.tower_build import Judge, build_towers

DEMO, BAR = "demo", 0.99999
PICTURES = {"vit-l-14": 4, "vit-h-14": 2, "coca-vit-l-14": 4}
"""Fewer of models that take seconds for one."""
_USUAL = 8
_RESULTS, _PAGE = RESULTS / "parity.json", DOCS / "models.md"
_BEGIN, _END = "<!-- parity: written by `python -m benchmarks.encoders.parity` -->", "<!-- end of parity -->"
Row = dict[str, Any]


def measure(name: str) -> Iterator[Row]:
    """A row for each precision that can be had here."""
    source = ModelSource.read(ARCHIVE_DIR / name)
    with tempfile.TemporaryDirectory(prefix="clipserve-parity-") as folder:
        trained = name == DEMO
        weights = None if trained else write_random(Path(folder), str(source.architecture))
        loaded = load(resolve(name, weights).source)
        gate = GateSet.rendered(PICTURES.get(name, _USUAL))
        judge_ = Judge(loaded, gate)
        for precision in CANDIDATES:
            if unavailable(precision) is not None:
                continue
            found = judge_.quality(build_towers(loaded, precision, gate, None))
            yield {
                "model": name,
                "weights": "trained" if trained else "random",
                "pairs": len(gate.images),
                "precision": precision,
                "image_cosine": round(found.image_cosine, 6),
                "text_cosine": round(found.text_cosine, 6),
            }


def tables(rows: Sequence[Row]) -> str:
    """A line a model, a column a precision: pictures / texts."""
    precisions = [each for each in CANDIDATES if any(row["precision"] == each for row in rows)]
    by_model: dict[str, dict[str, Row]] = {}
    for row in rows:
        by_model.setdefault(row["model"], {})[row["precision"]] = row
    lines = []
    for model, own in by_model.items():
        cells = [f"{own[p]['image_cosine']:.5f} / {own[p]['text_cosine']:.5f}" if p in own else "" for p in precisions]
        any_row = next(iter(own.values()))
        lines.append((f"{model} ({any_row['weights']}, {any_row['pairs']})", *cells))
    return table(("model (weights, pairs)", *precisions), lines)


def updated(known: Sequence[Row], name: str) -> list[Row]:
    """With this model's rows measured anew, in the order of names."""
    rows = [row for row in known if row["model"] != name]
    for row in measure(name):
        print(json.dumps(row), flush=True)
        rows.append(row)
    return sorted(rows, key=lambda row: (row["model"], CANDIDATES.index(row["precision"])))


def report(rows: Sequence[Row]) -> dict[str, Any]:
    least = {row["model"]: min(row["image_cosine"], row["text_cosine"]) for row in rows if row["precision"] == "fp32"}
    return {**head("encoders.parity"), "rows": rows, "bars": judge(least, dict.fromkeys(least, (BAR, "≥")))}


def main() -> None:
    """Saved after each model: the last ones may take too long."""
    parser = options(__doc__)
    names = sorted(path.parent.name for path in ARCHIVE_DIR.glob("*/model.yaml"))
    parser.add_argument("--models", nargs="+", choices=names, default=names)
    given = parser.parse_args()
    rows: list[Row] = json.loads(_RESULTS.read_text(encoding="utf-8"))["rows"] if _RESULTS.exists() else []
    for name in given.models:
        try:
            rows = updated(rows, name)
        except BadModel as error:  # SigLIP's tokenizer lies on the hub
            print(f"{name} is left out: {error.message}", flush=True)
            continue
        if given.save:
            write(report(rows), _RESULTS)
            page = _PAGE.read_text(encoding="utf-8")
            _PAGE.write_text(between(page, _BEGIN, _END, tables(rows)), encoding="utf-8")
    print(json.dumps(report(rows)))


if __name__ == "__main__":
    main()
