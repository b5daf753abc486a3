"""`clipserve ingest` as a person runs it, twice; what became of each file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.pictures.photos import PhotoFolder
from scripts.public_api import PublicApi
from scripts.stack.live_stack import LiveStack

COLLECTION = "photos"
Outcomes = dict[str, str]  # by the file's path below the folder


def ingest_figures(stack: LiveStack, folder: PhotoFolder, work: Path) -> dict[str, float]:
    first_s, outcomes = _ingest(stack, folder.root, work)
    again_s, unchanged = _ingest(stack, folder.root, work)
    good = {str(path.relative_to(folder.root)) for path in folder.good}
    known = outcomes.keys() | {str(path.relative_to(folder.root)) for path in folder.bad}
    assert len(known) == len(folder.good) + len(folder.bad), "files that nobody made were told"
    kept = int(PublicApi(stack.gateway).call("GET", f"/v1/collections/{COLLECTION}")["count"])
    return {
        "files_lost": float(len(known) - len(outcomes) + len(good) - kept),
        "files_wrongly_failed": float(sum(outcomes.get(name) != "added" for name in good)),
        "bad_files_taken": float(sum(outcome == "added" for name, outcome in outcomes.items() if name not in good)),
        "ingest_s": first_s,
        "ingest_pictures_per_s": len(good) / first_s,
        "ingest_again_s": again_s,
        "again_not_sent": float(sum(unchanged.get(name) == "unchanged" for name in good)),
    }


def _ingest(stack: LiveStack, root: Path, work: Path) -> tuple[float, Outcomes]:
    """Wall seconds of the whole command, and what its report says."""
    report = work / "report.jsonl"
    command = [str(Path(sys.executable).parent / "clipserve"), "ingest", str(root), "--collection", COLLECTION]
    command += ["--report", str(report), "--url", stack.gateway]
    began = time.monotonic()
    subprocess.run(command, env={**os.environ, "XDG_CACHE_HOME": str(work / "cache")}, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - began
    lines = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
    return seconds, {line["id"]: line["outcome"] for line in lines}
