"""What the three processes of a real stack expose is what docs/metrics.md explains, and dashboards find data in it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from scripts.monitoring.local_configuration import prometheus_command, prometheus_config
from scripts.monitoring.write import FOLDER
from scripts.stack.live_stack import LiveStack, free_ports
from tests.e2e.conftest import send
from tests.test_docs import ROOT
from tests.waiting import until

pytestmark = pytest.mark.e2e
PROMETHEUS = shutil.which("prometheus")
EVENTS = (  # panels that have nothing to show until something happens
    *("Refused for overload", "Errors", "Measured recall"),
    *("Entries", "Jobs that ended", "Thumbnails", "Merges", "GPU memory"),
)


def documented() -> set[str]:
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    return set(re.findall(r"^\| `(clipserve_\w+)`", page, re.MULTILINE))


def exposed(text: str) -> set[str]:
    """Ours, without the times at which counters began."""
    names = re.findall(r"^# TYPE (clipserve_\w+) ", text, re.MULTILINE)
    return {name for name in names if not name.endswith("_created")}


def addresses(stack: LiveStack) -> dict[str, str]:
    metrics = f"127.0.0.1:{stack.ports['metrics_port']}"
    return {"gateway": stack.gateway[7:], "torchserve": metrics, "index": stack.index[7:]}


def load(stack: LiveStack, number: int) -> None:
    body = {"collection": "demo", "text": f"{number} red stars", "k": 3, "filter": {"background": {"$ne": "black"}}}
    assert send("POST", f"{stack.gateway}/v1/search", body).status == 200


def test_what_is_exposed_is_explained(stack: LiveStack) -> None:
    load(stack, 0)
    texts = {name: send("GET", f"http://{at}/metrics").raw.decode() for name, at in addresses(stack).items()}
    assert {name for text in texts.values() for name in exposed(text)} <= documented()
    services = {name for name in documented() if name.startswith(("clipserve_gateway_", "clipserve_index_"))}
    assert exposed(texts["gateway"]) | exposed(texts["index"]) == services
    assert re.search(
        r'clipserve_gateway_endpoint_workers\{endpoint="clip_text",status="READY"\} [1-9]', texts["gateway"]
    )
    assert 'clipserve_gateway_endpoint_queue_room{endpoint="clip_text"}' in texts["gateway"]


@contextmanager
def scraping(stack: LiveStack, folder: Path) -> Iterator[str]:
    """A Prometheus with the shipped configuration, this stack's addresses and a scrape a second; its address."""
    targets = {f"clipserve-{name}": address for name, address in addresses(stack).items()}
    config = prometheus_config(targets) | {"global": {"scrape_interval": "1s"}}
    path, (port,) = folder / "prometheus.yml", free_ports(1)
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    command = prometheus_command(str(PROMETHEUS), path, folder / "series", port)
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=30)


def expressions() -> dict[str, list[str]]:
    """Panel → its PromQL, over the last half minute."""
    found: dict[str, list[str]] = {}
    for path in (FOLDER / "grafana").glob("*.json"):
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            queries = [target["expr"].replace("$__rate_interval", "30s") for target in panel["targets"]]
            found[f"{path.stem}: {panel['title']}"] = queries
    return found


@pytest.mark.full
@pytest.mark.skipif(PROMETHEUS is None, reason="Debian's package prometheus is not installed")
def test_every_panel_of_the_dashboards_has_data(stack: LiveStack, tmp_path: Path) -> None:
    wanted = {name: queries for name, queries in expressions().items() if not name.endswith(EVENTS)}
    numbers = iter(range(10_000))

    def empty(prometheus: str) -> list[str]:
        load(stack, next(numbers))
        return [name for name, queries in wanted.items() if not all(answers(prometheus, each) for each in queries)]

    def answers(prometheus: str, query: str) -> bool:
        try:
            told = send("GET", f"{prometheus}/api/v1/query?query={urllib.parse.quote(query)}").json
        except (OSError, ValueError):  # it has not started yet
            return False
        return bool(told["data"]["result"])

    with scraping(stack, tmp_path) as prometheus:
        until(lambda: not empty(prometheus), seconds=120)
