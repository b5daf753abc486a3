"""How a benchmark is asked for, judged, shown and saved. The last line that it prints is one JSON document."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).resolve().parents[1] / "results"
DOCS = Path(__file__).resolve().parents[2] / "docs"
Bars = Mapping[str, tuple[float, str]]  # by figure: the limit, and "≤" or "≥"


def options(text: str | None) -> argparse.ArgumentParser:
    """`--save`, under the module's own `text`. From here on SIGTERM unwinds: what was started is stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", action="store_true", help="write the report under benchmarks/results")
    return parser


def head(name: str, command: str = "") -> dict[str, Any]:
    """What every report begins with; the command is `python -m benchmarks.<name>` unless it is given."""
    short = name.rpartition(".")[2]
    return {"benchmark": short, "command": command or f"python -m benchmarks.{name}", "machine": machine()}


def machine() -> dict[str, Any]:
    """CPU, cores, Python, commit and time."""
    now, cores = datetime.now(timezone.utc).isoformat(timespec="seconds"), len(os.sched_getaffinity(0))
    return {"cpu": _cpu(), "cores": cores, "python": platform.python_version(), "commit": _commit(), "time": now}


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _commit() -> str:
    try:
        done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    except OSError:  # no git here
        return "unknown"
    return done.stdout.strip() or "unknown"


def judge(figures: Mapping[str, float], bars: Bars) -> list[dict[str, Any]]:
    """One entry a bar. A figure that was not measured has null for its value and does not hold."""
    rows: list[dict[str, Any]] = []
    for name, (limit, sign) in bars.items():
        value = figures.get(name)
        entry = {"name": name, "value": None if value is None else round(value, 4), "bar": limit}
        rows.append({**entry, "holds": holds(value, limit, sign)})
    return rows


def holds(value: float | None, limit: float, sign: str) -> bool:
    """Never for None."""
    return value is not None and (value <= limit if sign == "≤" else value >= limit)


def show(figures: Mapping[str, float], bars: Bars, console: Console) -> None:
    """Every figure, and every bar without one."""
    table = Table("figure", "value", "bar")
    for name in dict.fromkeys([*figures, *bars]):
        bar = f"{bars[name][1]} {bars[name][0]:,g}" if name in bars else ""
        table.add_row(name, f"{figures[name]:.4g}" if name in figures else "not measured", bar)
    console.print(table)


def finish(report: dict[str, Any], save: bool) -> None:
    """Write it under the benchmark's name, where that is asked for, and print it."""
    if save:
        write(report, RESULTS / f"{report['benchmark']}.json")
    print(json.dumps(report))


def saved(name: str) -> dict[str, Any]:
    """The report that was saved under a benchmark's name; empty where there is none."""
    path = RESULTS / f"{name}.json"
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return report


def write(report: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
