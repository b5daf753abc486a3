"""How a benchmark ends: its report goes into a file, where that is asked for, and is the last line it prints."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.lib.machine import machine


def options(text: str | None, rows: int, results: Path) -> argparse.ArgumentParser:
    """`--rows` and `--save`, under the module's own `text`."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=rows)
    parser.add_argument("--save", action="store_true", help=f"write {results.name} under benchmarks/results")
    return parser


def head(name: str) -> dict[str, Any]:
    """What every report of `python -m benchmarks.<name>` begins with."""
    return {"benchmark": name, "command": f"python -m benchmarks.{name}", "machine": machine()}


def finish(report: dict[str, Any], results: Path, save: bool) -> None:
    """Write and print it."""
    if save:
        results.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report))
