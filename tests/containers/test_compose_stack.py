"""docker/compose.yaml with the demo model: the main job, and every container killed while it is used."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
import pytest

from benchmarks.ship.engine import ROOT, DockerEngine
from tests.waiting import until

pytestmark = pytest.mark.full
Image = Callable[[str], str]
TARGETS = ("gateway", "index", "encoder", "tools")
_START_S = 600.0  # the archives are built first
_KEY = "compose-test-key"


@dataclass(frozen=True)
class Compose:
    """`docker-compose …` on our file."""

    docker: DockerEngine
    environment: dict[str, str]
    program: tuple[str, ...]

    def __call__(self, *words: str) -> str:
        command = [*self.program, "--project-name", "clipserve-test", "--file", "docker/compose.yaml", *words]
        done = subprocess.run(command, env=self.environment, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def container(self, service: str) -> str:
        return self("ps", "--quiet", service)

    def health(self, service: str) -> str:
        return self.docker.inspect(self.container(service), "{{.State.Health.Status}}")

    def wait_healthy(self) -> None:
        for service in ("index", "encoder", "gateway"):
            until(lambda service=service: self.health(service) == "healthy", _START_S)  # type: ignore[misc]


@pytest.fixture(scope="module")
def compose(docker: DockerEngine, image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("docker-compose is not installed")
    for target in TARGETS:
        image(target)
    keys = tmp_path_factory.mktemp("secrets") / "keys"
    keys.write_text(f"{_KEY}\n")
    keys.chmod(0o644)  # user 10001 reads it; Docker mounts the file itself, so the folders above don't matter
    own = {"CLIPSERVE_VERSION": "test", "CLIPSERVE_KEYS_FILE": str(keys), "CLIPSERVE_PORT": "0"}
    found = Compose(docker, {**os.environ, **docker.environment, **own}, (program,))
    try:
        found("up", "--detach", "--no-build")
        found.wait_healthy()
        yield found
    finally:
        found("down", "--volumes", "--timeout", "20")


@pytest.fixture
def gateway(compose: Compose) -> Iterator[httpx.Client]:
    address = compose("port", "gateway", "8000")
    with httpx.Client(base_url=f"http://{address}", headers={"Authorization": f"Bearer {_KEY}"}, timeout=30) as client:
        yield client


def test_the_main_job(gateway: httpx.Client) -> None:
    assert gateway.put("/v1/collections/words", json={"model": "demo"}).status_code == 201
    items = [{"id": colour, "text": f"a {colour} circle"} for colour in ("red", "blue", "green")]
    added = gateway.post("/v1/collections/words/items", json={"items": items}).json()
    assert {each["status"] for each in added["results"]} <= {"created", "ok", 200, 201}, added
    found = gateway.post("/v1/search", json={"collection": "words", "text": "a blue circle", "k": 1}).json()
    assert found["hits"][0]["id"] == "blue"


def test_the_main_job_by_the_image_itself(compose: Compose) -> None:
    """As `helm test` runs it."""
    command = ("python3", "-I", "/opt/clipserve/main_job.py", "http://127.0.0.1:8000")
    assert "filled, searched and dropped" in compose("exec", "-T", "gateway", *command)


def test_without_a_key(compose: Compose) -> None:
    address = compose("port", "gateway", "8000")
    assert httpx.get(f"http://{address}/v1/models").status_code == 401


@pytest.mark.parametrize("service", ["index", "encoder"])
def test_no_port_but_the_gateways(compose: Compose, service: str) -> None:
    ports = compose.docker.inspect(compose.container(service), "{{json .HostConfig.PortBindings}}")
    assert ports in ("{}", "null")


@pytest.mark.parametrize("service", ["index", "encoder", "gateway"])
def test_a_killed_container_comes_back_with_its_data(compose: Compose, service: str) -> None:
    container = compose.container(service)
    pid = int(compose.docker.inspect(container, "{{.State.Pid}}"))
    started = compose.docker.inspect(container, "{{.State.StartedAt}}")
    try:
        os.kill(pid, signal.SIGKILL)  # `docker kill` would count as a wish that it stays away
    except (ProcessLookupError, PermissionError):
        pytest.skip("the engine's processes are not this machine's, or not ours")
    until(lambda: compose.docker.inspect(container, "{{.State.StartedAt}}") != started)
    compose.wait_healthy()
    address = compose("port", "gateway", "8000")
    headers = {"Authorization": f"Bearer {_KEY}"}
    search = {"collection": "words", "text": "a blue circle", "k": 1}
    found = httpx.post(f"http://{address}/v1/search", json=search, headers=headers, timeout=30).json()
    assert found["hits"][0]["id"] == "blue"


def test_the_encoder_is_locked_down(compose: Compose) -> None:
    config = compose.docker.inspect(compose.container("encoder"), "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}}")
    assert config == "10001:10001 true"
    ended = compose.docker.inspect(compose.container("archives"), "{{.State.ExitCode}}")
    assert ended == "0"


def test_a_stop_is_clean(compose: Compose) -> None:
    for service in ("gateway", "encoder", "index"):
        compose("stop", service)
        state = compose.docker.inspect(compose("ps", "--quiet", "--all", service), "{{.State.ExitCode}}")
        assert state == "0", compose("logs", "--tail", "20", service)
