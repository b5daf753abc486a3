"""A Docker engine by its command line, and a base image without a registry."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.ship.missing import NotHereError
from benchmarks.ship.package_access import SECRETS, proxies

ROOT = Path(__file__).resolve().parents[2]
PUBLIC_BASE = (
    "docker.io/library/debian:bookworm-20260918-slim"
    "@sha256:3783cc01769c7b2b1b83a5c5ad96c815348e28ed7da68e2e3687004faa906251"
)
OWN_BASE = "clipserve/test-base:bookworm"
LOCKED_DOWN = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
_NOT_IN_SLIM = (
    *("usr/share/doc", "usr/share/info", "usr/share/locale", "usr/share/man"),
    *("var/cache/apt", "var/lib/apt/lists", "var/log"),
)
_START_S = 60.0
_STOP_S = 60.0
_SWEPT_S = 3600.0


class NoEngineError(NotHereError):
    """There is none here; the message says what to install."""


class DockerEngine:
    """`docker …` against one engine."""

    def __init__(self, host: str | None = None) -> None:
        self.environment = os.environ | ({"DOCKER_HOST": host} if host else {}) | {"DOCKER_BUILDKIT": "1"}
        self.docker = "/usr/bin/docker" if os.access("/usr/bin/docker", os.X_OK) else "docker"

    def __call__(self, *words: str, check: bool = True) -> str:
        """What it prints. Raises AssertionError with its errors."""
        done = subprocess.run(
            [self.docker, *words], env=self.environment, cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert not check or done.returncode == 0, f"docker {' '.join(words)}\n{done.stdout}{done.stderr}"
        return (done.stdout + ("" if check else done.stderr)).strip()

    def answers(self) -> bool:
        if shutil.which(self.docker) is None:
            return False
        return subprocess.run([self.docker, "info"], env=self.environment, capture_output=True).returncode == 0

    def has(self, image: str) -> bool:
        return self("image", "inspect", image, check=False).startswith("[\n")

    def build(
        self, target: str, base: str, secrets: Sequence[str] = (), source: Path = ROOT, version: str = "test"
    ) -> str:
        """The tag of the image; `source` is a checkout."""
        tag = f"clipserve/{target}:{version}"
        given = [word for secret in secrets for word in ("--secret", secret)]
        given += [word for name in proxies(os.environ) for word in ("--build-arg", name)]
        words = ["--network", "host", "--build-arg", f"BASE_IMAGE={base}", "--target", target, "--tag", tag, *given]
        self("build", "--quiet", "--file", f"{source}/docker/Dockerfile", *words, str(source))
        return tag

    @contextmanager
    def created(self, image: str, *options: str) -> Iterator[str]:
        """The id of a container that was not started yet; it is removed with its volumes."""
        made = self("create", *options, image)
        try:
            yield made
        finally:
            self("rm", "--force", "--volumes", made)

    @contextmanager
    def container(self, image: str, *options: str) -> Iterator[str]:
        """Its id, while it runs in the background; it is removed with its volumes."""
        with self.created(image, *options) as made:
            self("start", made)
            yield made

    def address(self, container: str, port: int) -> str:
        """Where a published port of it is reached."""
        return "http://" + self("port", container, str(port)).splitlines()[0]

    def inspect(self, thing: str, template: str) -> str:
        return self("inspect", "--format", template, thing)

    def wait(self, container: str, template: str, value: str) -> None:
        """Until the container is as wanted, such as healthy. Raises AssertionError with its log after a minute."""
        ends = time.monotonic() + _START_S
        while self.inspect(container, template) != value:
            assert time.monotonic() < ends, self("logs", container, check=False)
            time.sleep(0.2)

    def base_image(self, folder: Path) -> str:
        """Debian's slim image: the public one where it can be had, else one made by debootstrap.

        Raises NoEngineError, also where containers can't run here or reach no mirror of Debian's packages.
        """
        found = self._base(folder)
        told = [word for name in proxies(os.environ) for word in ("--env", name)]
        self._tried("run", "--rm", "--network", "host", *told, found, "apt-get", "update", "--quiet")
        self._tried("build", "--quiet", "-", given=f"FROM {found}\nRUN true\n")
        return found

    def check_index(self, build: str, secrets: Sequence[str]) -> None:
        """Whether pip finds packages in a container of that image. Raises NoEngineError."""
        given = [dict(part.split("=", 1) for part in secret.split(",")) for secret in secrets]
        mounts = [word for each in given for word in ("--volume", f"{each['src']}:{SECRETS[each['id']]}:ro")]
        told = [word for name in proxies(os.environ) for word in ("--env", name)]
        asked = ("/build/bin/python", "-m", "pip", "download", "--quiet", "--no-deps", "--dest", "/tmp", "six")
        self._tried("run", "--rm", "--network", "host", *mounts, *told, build, *asked)

    def _tried(self, *words: str, given: str = "") -> None:
        done = subprocess.run(
            [self.docker, *words], env=self.environment, input=given, capture_output=True, text=True, check=False
        )
        if done.returncode != 0 or "Failed to fetch" in done.stderr:
            said = done.stderr.strip()[-500:]
            raise NoEngineError(f"a container can't run here, be built, or reach packages of Debian and PyPI: {said}")

    def _base(self, folder: Path) -> str:
        for name in (OWN_BASE, PUBLIC_BASE):
            if self.has(name):
                return name
        if subprocess.run([self.docker, "pull", "--quiet", PUBLIC_BASE], env=self.environment).returncode == 0:
            return PUBLIC_BASE
        return self._bootstrapped(folder)

    def _bootstrapped(self, folder: Path) -> str:
        if shutil.which("debootstrap") is None or os.geteuid() != 0:
            raise NoEngineError("no registry answers, and debootstrap (as root) is missing to make a base image")
        root = folder / "root"
        made = ["debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", str(root)]
        done = subprocess.run(made, capture_output=True, text=True)
        if done.returncode != 0:
            raise NoEngineError(f"debootstrap can't make a base image: {(done.stdout + done.stderr).strip()[-500:]}")
        left_out = [f"--exclude=./{path}/*" for path in _NOT_IN_SLIM]
        packed = ["tar", "-C", str(root), *left_out, "-c", "."]
        with subprocess.Popen(packed, stdout=subprocess.PIPE) as archive:
            taken = [self.docker, "import", "-", OWN_BASE]
            subprocess.run(taken, env=self.environment, stdin=archive.stdout, check=True)
        assert archive.returncode == 0
        shutil.rmtree(root)
        return OWN_BASE


@contextmanager
def engine(folder: Path) -> Iterator[DockerEngine]:
    """The one that runs here already; else Debian's, started for as long as this lasts. Raises NoEngineError."""
    if DockerEngine().answers():
        yield DockerEngine()
        return
    daemon = shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin")
    if daemon is None or os.geteuid() != 0:
        raise NoEngineError("no Docker engine answers, and there is no dockerd to start (as root): install docker.io")
    with _started(daemon, folder) as own:
        yield own


@contextmanager
def _started(daemon: str, folder: Path) -> Iterator[DockerEngine]:
    host = f"unix://{folder}/docker.sock"
    places = ["--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/docker.pid"]
    with (folder / "dockerd.log").open("wb") as log:
        process = subprocess.Popen(ending_with_us([daemon, *places, "--host", host]), stdout=log, stderr=log)
    try:
        own, ends = DockerEngine(host), time.monotonic() + _START_S
        while not own.answers():
            if process.poll() is not None or time.monotonic() > ends:
                said = (folder / "dockerd.log").read_text().rpartition("failed to start daemon: ")[2].strip()[-300:]
                raise NoEngineError(f"dockerd does not start: {said}")
            time.sleep(0.2)
        if own("info", "--format", "{{.Driver}}") == "vfs":  # it copies a whole image for each of its layers
            raise NoEngineError("dockerd finds no way to lay file systems over one another here (driver vfs)")
        yield own
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _unmount(folder)


def ending_with_us(command: Sequence[str]) -> list[str]:
    """It is told to stop when the thread that starts it ends, even by SIGKILL: an engine then ends its containers."""
    setpriv = shutil.which("setpriv", path=f"{os.environ['PATH']}:/usr/bin")
    return [setpriv, "--pdeathsig", "TERM", *command] if setpriv else list(command)


def sweep(folders: Path, prefix: str) -> None:
    """Remove what engines left whose starter was killed an hour ago or earlier."""
    for folder in folders.glob(f"{prefix}*"):
        if time.time() - folder.stat().st_mtime > _SWEPT_S and not _is_alive(folder / "docker.pid"):
            _unmount(folder)
            shutil.rmtree(folder, ignore_errors=True)


def _unmount(folder: Path) -> None:
    """What dockerd leaves mounted when it has stopped."""
    left = folder / "exec" / "netns" / "default"
    if left.exists():
        subprocess.run(["umount", str(left)], capture_output=True, check=False)


def _is_alive(pid_file: Path) -> bool:
    try:
        return Path("/proc", pid_file.read_text().strip(), "stat").exists()
    except OSError:
        return False
