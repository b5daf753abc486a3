"""What the data folder takes of its disk, read when `/metrics` is asked for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector


class DiskGauges(Collector):
    """`folder`: the data folder, with the record, its write-ahead log, and folders of segments and snapshots."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[GaugeMetricFamily]:
        used = GaugeMetricFamily("clipserve_index_disk_bytes", "Bytes in the data folder.", labels=["kind"])
        for kind, size in self._sizes().items():
            used.add_metric([kind], size)
        yield used
        yield GaugeMetricFamily(
            "clipserve_index_disk_free_bytes", "Bytes that its disk has left.", shutil.disk_usage(self._folder).free
        )

    def _sizes(self) -> dict[str, int]:
        databases = list(self._folder.glob("*.sqlite3"))
        return {
            "record": sum(map(_size, databases)),
            "wal": sum(_size(path.with_name(path.name + "-wal")) for path in databases),
            "segments": _total(self._folder / "segments"),
            "snapshots": _total(self._folder / "snapshots"),
        }


def _total(folder: Path) -> int:
    return sum(_size(Path(at) / name) for at, _, names in os.walk(folder) for name in names)


def _size(path: Path) -> int:
    """0 for what is not there, or went meanwhile."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
