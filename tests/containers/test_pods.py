"""The chart's pods as podman runs them: its containers with their users, environment, mounts and read-only roots.

`podman kube play` knows no StatefulSet, no Service, no projected volume and no probe by HTTP. So the containers run in
one pod without a network, in which the Services' names lead to the pod itself; the Secret is a folder, since podman 4.3
decodes none, and the probes are asked by the program that the images bring for it. The encoder's packages are mounted
from where Docker keeps them: podman would write the image's six gigabytes three times.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
_PACKAGES = "/opt/clipserve"
_START_S = 300.0
# Its default limits are the kernel's most, which a machine may not let it set. A pod's `hostAliases` reach no container
# of a pod without a network.
_CONFIGURATION = """[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
base_hosts_file = "{hosts}"
"""
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

    def end(self) -> None:
        """Nothing of it runs or is kept."""
        self.done("pod", "rm", "--force", "--time", "5", "clipserve")
        self.done("volume", "rm", "--all", "--force")
        self.done("rmi", "--all", "--force")
        subprocess.run(["umount", f"{self.folder}/root/overlay"], capture_output=True, check=False)


@contextmanager
def mounted(docker: DockerEngine, image: str, folder: Path) -> Iterator[Path]:
    """All files of an image of the Docker engine, read only."""
    layers = json.loads(docker.inspect(image, "{{json .GraphDriver.Data}}")) or {}
    if not Path(layers.get("UpperDir", "none")).is_dir():
        pytest.skip("the engine keeps its images elsewhere, or not as overlays")
    lower = ":".join(filter(None, (layers["UpperDir"], layers.get("LowerDir"))))
    folder.mkdir()
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", f"ro,lowerdir={lower}", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


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
    left_out = ("lifecycle", "ports")  # podman would open ports on this machine
    found = {key: value for key, value in given.items() if not key.endswith("Probe") and key not in left_out}
    mounts = [{**each, "name": f"{given['name']}-{each['name']}"} for each in given["volumeMounts"]]
    return {**found, "volumeMounts": mounts}


def with_packages(pod: Manifest, config: Manifest, image: str, packages: Path) -> None:
    """The encoder runs in `image`, with its own packages, variables and program; `config` is that of its own image."""
    (encoder,) = [each for each in pod["spec"]["containers"] if each["name"] == "encoder"]
    own = [dict(zip(("name", "value"), line.split("=", 1), strict=True)) for line in config["Env"]]
    encoder.update(image=image, command=config["Entrypoint"], env=[*own, *encoder["env"]])
    encoder["volumeMounts"].append({"name": "packages", "mountPath": _PACKAGES, "readOnly": True})
    pod["spec"]["volumes"].append({"name": "packages", "hostPath": {"path": str(packages), "type": "Directory"}})


def in_one_pod(manifests: list[Manifest], secrets: Path) -> Manifest:
    """Every container that serves."""
    pods = [each["spec"] for kind in ("StatefulSet", "Deployment") for each in of_kind(manifests, kind)]
    specs = [pod["template"]["spec"] for pod in pods]
    volumes = [volume(spec["containers"][0]["name"], each, secrets) for spec in specs for each in spec["volumes"]]
    volumes.append({"name": "index-data", "persistentVolumeClaim": {"claimName": "index-data"}})
    spec = {
        "securityContext": specs[0]["securityContext"],
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
def podman(docker: DockerEngine, image: Callable[[str], str], manifests: list[Manifest]) -> Iterator[Podman]:
    folder = Path(tempfile.mkdtemp(prefix="clipserve-podman-"))  # other runs of pytest remove what is in pytest's own
    found = Podman(folder)
    names = ["localhost", *(each["metadata"]["name"] for each in of_kind(manifests, "Service"))]
    (folder / "hosts").write_text("".join(f"127.0.0.1 {name}\n" for name in names))
    (folder / "containers.conf").write_text(_CONFIGURATION.format(hosts=folder / "hosts"))
    pod = in_one_pod(manifests, secret_folder(manifests, folder / "secrets"))
    with mounted(docker, image("encoder"), folder / "encoder") as files:
        try:
            for target in ("index", "gateway", "service"):
                found.take(docker, image(target))
            config = json.loads(docker.inspect(image("encoder"), "{{json .Config}}"))
            with_packages(pod, config, "localhost/clipserve/service:test", files / _PACKAGES.lstrip("/"))
            text = yaml.safe_dump_all([*of_kind(manifests, "ConfigMap"), pod])
            (folder / "pod.yaml").write_text(text)
            found("kube", "play", "--network", "none", str(folder / "pod.yaml"))
            yield found
        finally:
            found.end()
    shutil.rmtree(folder, ignore_errors=True)


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
