"""docker/compose.yaml with the demo model: the main job, and every container killed and restarted while it is used.

`CLIPSERVE_TEST_COMPOSE` names another program than `docker-compose`, such as `docker compose`.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
import pytest

from benchmarks.ship.engine import ROOT, DockerEngine
from benchmarks.ship.load import load
from benchmarks.ship.pods import KEY
from scripts.stack.live_stack import free_ports
from tests.waiting import until

pytestmark = pytest.mark.full
Image = Callable[[str], str]
PARTS = ("gateway", "index", "encoder")
_START_S = 600.0  # the archives are built first
_SEARCH = {"collection": "words", "text": "a blue circle", "k": 1}


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

    def up(self) -> None:
        self("up", "--detach", "--no-build")
        self.wait_healthy()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.environment['CLIPSERVE_PORT']}"

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=30)

    def container(self, service: str) -> str:
        return self("ps", "--quiet", service)

    def health(self, service: str) -> str:
        return self.docker.inspect(self.container(service), "{{.State.Health.Status}}")

    def wait_healthy(self) -> None:
        for service in PARTS:
            until(lambda service=service: self.health(service) == "healthy", _START_S)  # type: ignore[misc]

    def kill(self, service: str) -> None:
        """Its first process; `docker kill` would count as a wish that it stays away."""
        container = self.container(service)
        started = self.docker.inspect(container, "{{.State.StartedAt}}")
        try:
            os.kill(int(self.docker.inspect(container, "{{.State.Pid}}")), signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pytest.skip("the engine's processes are not this machine's, or not ours")
        until(lambda: self.docker.inspect(container, "{{.State.StartedAt}}") != started)


@pytest.fixture(scope="module")
def stopped(docker: DockerEngine, image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    """Nothing runs yet; what will have run is removed with its data."""
    program = tuple(shlex.split(os.environ.get("CLIPSERVE_TEST_COMPOSE", "docker-compose")))
    if shutil.which(program[0]) is None:
        pytest.skip(f"{program[0]} is not installed")
    for target in (*PARTS, "tools"):
        image(target)
    keys = tmp_path_factory.mktemp("secrets") / "keys"
    keys.write_text(f"{KEY}\n")
    keys.chmod(0o644)  # user 10001 reads it; Docker mounts the file itself, so the folders above don't matter
    own = {"CLIPSERVE_VERSION": "test", "CLIPSERVE_KEYS_FILE": str(keys), "CLIPSERVE_PORT": str(free_ports(1)[0])}
    found = Compose(docker, {**os.environ, **docker.environment, **own}, program)
    try:
        yield found
    finally:
        found("down", "--volumes", "--timeout", "20")


@pytest.fixture(scope="module")
def compose(stopped: Compose) -> Compose:
    """With a collection `words`."""
    stopped.up()
    with stopped.client() as gateway:
        assert gateway.put("/v1/collections/words", json={"model": "demo"}).status_code == 201
        items = [{"id": colour, "text": f"a {colour} circle"} for colour in ("red", "blue", "green")]
        gateway.post("/v1/collections/words/items", json={"items": items}).raise_for_status()
    return stopped


@pytest.fixture
def gateway(compose: Compose) -> Iterator[httpx.Client]:
    with compose.client() as client:
        yield client


def finds(gateway: httpx.Client) -> bool:
    found = gateway.post("/v1/search", json=_SEARCH)
    return found.status_code == 200 and found.json()["hits"][0]["id"] == "blue"


def test_the_main_job(gateway: httpx.Client) -> None:
    assert gateway.put("/v1/collections/shapes", json={"model": "demo"}).status_code == 201
    items = [{"id": shape, "text": f"a red {shape}"} for shape in ("circle", "star", "heart")]
    added = gateway.post("/v1/collections/shapes/items", json={"items": items}).json()
    assert {each["status"] for each in added["results"]} <= {"created", "ok", 200, 201}, added
    found = gateway.post("/v1/search", json={"collection": "shapes", "text": "a red star", "k": 1}).json()
    assert found["hits"][0]["id"] == "star"


def test_the_main_job_by_the_image_itself(compose: Compose) -> None:
    """As `helm test` runs it, with a caption."""
    command = ("python3", "-I", "/opt/clipserve/main_job.py", "http://127.0.0.1:8000")
    said = compose("exec", "-T", "gateway", *command)
    assert "filled, searched and dropped; a picture was captioned: " in said


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}], ids=str)
def test_without_a_key(compose: Compose, headers: dict[str, str]) -> None:
    assert httpx.get(f"{compose.url}/v1/models", headers=headers).status_code == 401


@pytest.mark.parametrize("service", ["index", "encoder"])
def test_no_port_but_the_gateways(compose: Compose, service: str) -> None:
    ports = compose.docker.inspect(compose.container(service), "{{json .HostConfig.PortBindings}}")
    assert ports in ("{}", "null")


@pytest.mark.parametrize("how", ["kill", "restart"])
@pytest.mark.parametrize("service", PARTS)
def test_a_container_goes_and_comes_back_under_load(compose: Compose, service: str, how: str) -> None:
    """Callers get their answer or 503; only those of a gateway that went see their connection end."""
    with load(compose.url, "words", callers=4) as thread:
        until(lambda: thread.answers.statuses[200] > 20, _START_S)
        compose.kill(service) if how == "kill" else compose("restart", service)
        compose.wait_healthy()
        before = thread.answers.statuses[200]
        until(lambda: thread.answers.statuses[200] > before + 20, _START_S)
    allowed = {200, 503} | ({0} if service == "gateway" else set())
    assert set(thread.answers.statuses) <= allowed, thread.answers.faults
    assert len(thread.answers.fingerprints) == 1
    with compose.client() as gateway:
        assert finds(gateway)


def test_the_encoder_is_locked_down(compose: Compose) -> None:
    config = compose.docker.inspect(compose.container("encoder"), "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}}")
    assert config == "10001:10001 true"
    ended = compose.docker.inspect(compose("ps", "--quiet", "--all", "archives"), "{{.State.ExitCode}}")
    assert ended == "0"


def test_a_stop_is_clean(compose: Compose) -> None:
    for service in ("gateway", "encoder", "index"):
        compose("stop", service)
        state = compose.docker.inspect(compose("ps", "--quiet", "--all", service), "{{.State.ExitCode}}")
        assert state == "0", compose("logs", "--tail", "20", service)
