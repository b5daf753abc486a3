"""The chart's pods as podman runs them: its containers with their users, environment, mounts and read-only roots.

`podman kube play` knows no StatefulSet, no Service, no projected volume and no probe by HTTP. So the containers run in
one pod without a network, in which the Services' names lead to the pod itself; the Secret is a folder, since podman 4.3
decodes none, and the probes are asked by the program that the images bring for it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.ship.engine import DockerEngine
from benchmarks.ship.helm import TOOLS, Manifest, of_kind, rendered
from scripts.archive.places import MODEL_STORE
from tests.waiting import until

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(
        not all(map(shutil.which, ("podman", "catatonit"))) or os.geteuid() != 0,
        reason="podman and its catatonit (as root) are not there",
    ),
    pytest.mark.skipif(not (TOOLS / "helm").exists(), reason="helm is not installed: make setup-charts"),
    pytest.mark.skipif(not list(MODEL_STORE.glob("*.mar")), reason="there are no archives: make archives"),
]
PARTS = ("index", "encoder", "gateway")
_START_S = 300.0
# Its defaults are the kernel's most, which a machine may not let it set.
_CONFIGURATION = '[containers]\ndefault_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]\n'
_HEALTH_CHECK = ("python3", "-I", "/opt/clipserve/health_check.py")


@dataclass(frozen=True)
class Podman:
    """`podman …` with a store of its own."""

    folder: Path

    def __call__(self, *words: str, check: bool = True) -> str:
        """What it prints. Raises AssertionError with its errors."""
        done = self.done(*words)
        assert not check or done.returncode == 0, f"podman {' '.join(words)}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def done(self, *words: str) -> subprocess.CompletedProcess[str]:
        places = ["--root", f"{self.folder}/root", "--runroot", f"{self.folder}/run"]
        given = {**os.environ, "CONTAINERS_CONF": f"{self.folder}/containers.conf"}
        return subprocess.run(["podman", *places, *words], env=given, capture_output=True, text=True, check=False)

    def take(self, docker: DockerEngine, image: str) -> None:
        """An image of the Docker engine."""
        archive = self.folder / "image.tar"
        docker("save", "--output", str(archive), image)
        self("load", "--input", str(archive))
        archive.unlink()

    def answers(self, container: str, url: str) -> bool:
        return self.done("exec", container, *_HEALTH_CHECK, url).returncode == 0

    def remove(self) -> None:
        """All of it: images take gigabytes."""
        self.done("pod", "rm", "--force", "--time", "5", "clipserve")
        self.done("volume", "rm", "--all", "--force")
        self.done("rmi", "--all", "--force")
        shutil.rmtree(self.folder, ignore_errors=True)


def volume(part: str, given: Manifest, secrets: Path) -> Manifest:
    """As podman takes it, under a name of its part."""
    found = {**given, "name": f"{part}-{given['name']}"}
    if "projected" in given:
        return {"name": found["name"], "hostPath": {"path": str(secrets), "type": "Directory"}}
    if part == "encoder" and "persistentVolumeClaim" in given:
        return {"name": found["name"], "hostPath": {"path": str(MODEL_STORE.resolve()), "type": "Directory"}}
    return found


def secret_folder(manifests: list[Manifest], folder: Path) -> Path:
    """What the gateway's projected Secret would hold."""
    (gateway,) = [each for each in of_kind(manifests, "Deployment") if each["metadata"]["name"].endswith("-gateway")]
    (projected,) = [each["projected"] for each in gateway["spec"]["template"]["spec"]["volumes"] if "projected" in each]
    (source,) = projected["sources"]
    (item,) = source["secret"]["items"]
    folder.mkdir(mode=0o755)
    (folder / item["path"]).write_text("pods")
    (folder / item["path"]).chmod(0o644)
    return folder


def container(given: Manifest) -> Manifest:
    found = {key: value for key, value in given.items() if not key.endswith("Probe") and key != "lifecycle"}
    mounts = [{**each, "name": f"{given['name']}-{each['name']}"} for each in given["volumeMounts"]]
    return {**found, "volumeMounts": mounts}


def in_one_pod(manifests: list[Manifest], secrets: Path) -> Manifest:
    """Every container that serves."""
    pods = [each["spec"] for kind in ("StatefulSet", "Deployment") for each in of_kind(manifests, kind)]
    specs = [pod["template"]["spec"] for pod in pods]
    volumes = [volume(spec["containers"][0]["name"], each, secrets) for spec in specs for each in spec["volumes"]]
    volumes.append({"name": "index-data", "persistentVolumeClaim": {"claimName": "index-data"}})
    names = [each["metadata"]["name"] for each in of_kind(manifests, "Service")]
    spec = {
        "securityContext": specs[0]["securityContext"],
        "hostAliases": [{"ip": "127.0.0.1", "hostnames": names}],
        "containers": [container(spec["containers"][0]) for spec in specs],
        "volumes": volumes,
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "clipserve"}, "spec": spec}


def probes(manifests: list[Manifest]) -> Iterator[tuple[str, str]]:
    """Container → the URL of its startup probe, from within the pod."""
    for kind in ("StatefulSet", "Deployment"):
        for each in of_kind(manifests, kind):
            found: dict[str, Any] = each["spec"]["template"]["spec"]["containers"][0]
            ports = {port["name"]: port["containerPort"] for port in found["ports"]}
            probe = found["startupProbe"]["httpGet"]
            yield found["name"], f"http://127.0.0.1:{ports[probe['port']]}{probe['path']}"


@pytest.fixture(scope="module")
def manifests() -> list[Manifest]:
    images = {"registry": "localhost/clipserve", "tag": "test", "pullPolicy": "Never"}
    return rendered(values={"images": images, "gateway.replicas": 1})


@pytest.fixture(scope="module")
def podman(
    docker: DockerEngine,
    image: Callable[[str], str],
    manifests: list[Manifest],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Podman]:
    folder = tmp_path_factory.mktemp("podman")
    found = Podman(folder)
    (folder / "containers.conf").write_text(_CONFIGURATION)
    for part in PARTS:
        found.take(docker, image(part))
    pod = in_one_pod(manifests, secret_folder(manifests, folder / "secrets"))
    text = yaml.safe_dump_all([*of_kind(manifests, "ConfigMap"), pod])
    (folder / "pod.yaml").write_text(text)
    try:
        found("kube", "play", "--network", "none", str(folder / "pod.yaml"))
        yield found
    finally:
        found.remove()


def test_pods_start_and_do_the_main_job(podman: Podman, manifests: list[Manifest]) -> None:
    for name, url in probes(manifests):
        until(lambda name=name, url=url: podman.answers(f"clipserve-{name}", url), _START_S)  # type: ignore[misc]
    command = ("python3", "-I", "/opt/clipserve/main_job.py", "http://r-clipserve:8000")
    assert "filled, searched and dropped; a picture was captioned: " in podman("exec", "clipserve-gateway", *command)


def test_pods_run_as_the_chart_says(podman: Podman) -> None:
    for part in PARTS:
        said = podman("inspect", "--format", "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}}", f"clipserve-{part}")
        assert said.split()[0].startswith("10001")
        assert said.split()[1] == "true"
        status = podman("exec", f"clipserve-{part}", "cat", "/proc/self/status")
        assert "CapEff:\t0000000000000000" in status
