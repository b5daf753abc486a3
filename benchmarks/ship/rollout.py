"""Every pod of a running stack is replaced, one after the other, while callers search and embed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import httpx

from benchmarks.ship.load import RolloutAnswers, load
from benchmarks.ship.pods import KEY, Pod, Pods
from benchmarks.ship.service import SLOTS, ClusterServices, cluster_services
from scripts.stack.live_stack import free_ports

COLLECTION = "rollout"
SERVICES = ("gateway", "encoder", "management")


@dataclass
class Cluster:
    """Two gateways and two encoders behind their Services, and one index service."""

    services: ClusterServices
    ports: dict[str, int]
    pods: Pods
    index: Pod
    places: dict[tuple[str, int], Pod]
    pre_stop_s: float

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['gateway']}"

    def roll(self, kind: str, slot: int) -> None:
        """As a Deployment with maxSurge 1 does it: the new pod is ready before the old one is told to go."""
        new = self.start(kind)
        new.wait_ready()
        old = self.places[kind, slot]
        self._place(kind, slot, new)
        time.sleep(self.pre_stop_s)
        _stop(old)

    def restart_index(self) -> None:
        """As a StatefulSet does it: the old pod goes before the new one comes."""
        _stop(self.index)
        self.index = self.pods.index()
        self.index.wait_ready()

    def start(self, kind: str) -> Pod:
        make: Callable[[], Pod] = getattr(self.pods, kind)
        return make()

    def fill(self, kind: str) -> None:
        """Both places, one pod after the other: side by side they would load for longer."""
        for slot in range(SLOTS):
            pod = self.start(kind)
            pod.wait_ready()
            self._place(kind, slot, pod)

    def _place(self, kind: str, slot: int, pod: Pod) -> None:
        self.places[kind, slot] = pod
        self.services.put(kind, slot, pod.port)
        if kind == "encoder":
            self.services.put("management", slot, pod.management_port)


@contextmanager
def cluster(folder: Path, model_store: Path, pre_stop_s: float) -> Iterator[Cluster]:
    """Ready, with a few items in COLLECTION. Raises NoProxyError."""
    ports = dict(zip((*SERVICES, "index"), free_ports(len(SERVICES) + 1), strict=True))
    pods = Pods(folder, model_store, ports)
    with cluster_services(folder, {name: ports[name] for name in SERVICES}) as services:
        try:
            made = Cluster(services, ports, pods, pods.index(), {}, pre_stop_s)
            made.index.wait_ready()
            made.fill("encoder")
            made.fill("gateway")
            _fill(made.url)
            yield made
        finally:
            pods.end()


def _stop(pod: Pod) -> None:
    code = pod.stop()
    if code != 0:
        raise RuntimeError(f"{pod.log.name} ended with {code}")


def _fill(url: str) -> None:
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=60) as client:
        client.put(f"/v1/collections/{COLLECTION}", json={"model": "demo"}).raise_for_status()
        items = [{"id": str(n), "text": f"a red circle number {n}"} for n in range(50)]
        client.post(f"/v1/collections/{COLLECTION}/items", json={"items": items}).raise_for_status()


def rolled(stack: Cluster, requests: int, callers: int, say: Callable[[str], object]) -> RolloutAnswers:
    """All pods replaced once at least, and as often as `requests` take."""
    with load(stack.url, COLLECTION, callers) as thread:
        answers = thread.answers
        while True:
            for kind, slot in product(("gateway", "encoder"), range(SLOTS)):
                stack.roll(kind, slot)
                thread.check()
                say(f"{kind} {slot} is new: {answers.sent} requests, {answers.failed} failed")
            stack.restart_index()
            thread.check()
            say(f"the index is new: {answers.sent} requests, {answers.failed} failed")
            if answers.sent >= requests:
                return answers
