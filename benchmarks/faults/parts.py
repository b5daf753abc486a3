"""The parts of a running stack as processes: found by the ports that they listen on, so that a restart is seen."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from contextlib import suppress

import psutil

from scripts.stack.live_stack import LiveStack
from scripts.stack.torchserve import ENDPOINTS

PORTS = {"gateway": "gateway_port", "index": "index_port", "JVM": "inference_port"}
_ANSWER_S = 5.0


def parts(stack: LiveStack) -> dict[str, psutil.Process]:
    """gateway, index, JVM, and a worker of each endpoint, by name; what is down is left out."""
    with suppress(psutil.NoSuchProcess):
        listening = {port: child for child in reversed(stack.children()) for port in _ports(child)}
        found = {name: listening.get(stack.ports[port]) for name, port in PORTS.items()}
        found |= {f"worker {name}": _worker(stack, name) for name in ENDPOINTS}
        return {name: process for name, process in found.items() if process is not None}
    return {}


def _ports(process: psutil.Process) -> list[int]:
    with suppress(psutil.Error):
        return [each.laddr.port for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
    return []


def _worker(stack: LiveStack, endpoint: str) -> psutil.Process | None:
    url = f"http://127.0.0.1:{stack.ports['management_port']}/models/{endpoint}"
    try:
        with urllib.request.urlopen(url, timeout=_ANSWER_S) as answer:
            return psutil.Process(int(json.load(answer)[0]["workers"][0]["pid"]))
    except (OSError, ValueError, LookupError, psutil.Error):
        return None


def memory_mb(found: Mapping[str, psutil.Process]) -> dict[str, float]:
    """Resident set size by name; a share of common pages would change with whatever else runs on the machine."""
    sizes = {}
    for name, process in found.items():
        with suppress(psutil.Error):
            sizes[name] = process.memory_info().rss / 1e6
    return sizes


def replaced(before: Mapping[str, psutil.Process], after: Mapping[str, psutil.Process]) -> list[str]:
    """The names of parts that are gone, or another process now."""
    return [name for name, process in before.items() if after.get(name) != process]


def growth(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """after ÷ before, of what was there both times."""
    return {name: after[name] / mb for name, mb in before.items() if name in after and mb > 0}
