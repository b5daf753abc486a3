"""A real Milvus (one process: coordinators, nodes, etcd and its log) for tests and benchmarks, on free ports.

PyPI's `milvus` carries the binary of Milvus 2.3 for Linux on x86-64. Its own launcher waits a second more than needed,
prints a banner and leaves its child behind when it is killed, so the binary is started here.
"""

from __future__ import annotations

import importlib.util
import lzma
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

ROOT = Path(__file__).parents[2]
_START_S, _STOP_S = 90.0, 10.0
_COMMAND = ("run", "standalone")


def milvus_is_installed() -> bool:
    """Whether this environment has the server."""
    return importlib.util.find_spec("milvus") is not None


class MilvusServer:
    """The server over the folder `data`, which outlives it. A context manager; `start` and `stop` may alternate.

    `extra` are settings of milvus.yaml by their dotted names.
    """

    def __init__(self, data: Path, extra: Mapping[str, object] | None = None) -> None:
        self.data = data
        self._config = _config(data, extra or {})
        self.port, self._health = int(self._config.get("proxy_port")), _free_ports(1)[0]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of the process. Raises RuntimeError where none runs."""
        if self.process is None:
            raise RuntimeError("Milvus does not run")
        return self.process.pid

    def start(self, wait_s: float = _START_S) -> None:
        """Start the process and wait until it says that it is healthy. Raises TimeoutError."""
        binaries, logs = _unpacked(), self.data / "logs"
        logs.mkdir(exist_ok=True)
        with (logs / "out").open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, *map(str, (ROOT / "scripts/launch", os.getpid(), binaries / "milvus")), *_COMMAND],
                cwd=self.data,
                env={
                    **os.environ,
                    "DEPLOY_MODE": "STANDALONE",
                    "METRICS_PORT": str(self._health),
                    "LD_LIBRARY_PATH": str(binaries),
                    "MILVUSCONF": str(self.data / "configs"),
                    "ETCD_CONFIG_PATH": str(_etcd_config(self.data, int(self._config.get("etcd_port")))),
                },
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._await(wait_s)

    def _await(self, wait_s: float) -> None:
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline and self.process is not None and self.process.poll() is None:
            if self._healthy():
                return
            time.sleep(0.1)
        self.kill()
        raise TimeoutError(f"Milvus did not start: see {self.data / 'logs' / 'out'}")

    def _healthy(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self._health}/healthz", timeout=2) as answer:
                return b"OK" in answer.read()
        except (URLError, OSError):
            return False

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def hang(self) -> None:
        """It keeps its connections and answers nothing, until `go_on`."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """After `hang`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)

    def stop(self) -> None:
        """SIGTERM, and after a while SIGKILL: a graceful stop of 2.3 may take half an hour."""
        if self.process is None:
            return
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_STOP_S)
        self.kill()

    def __enter__(self) -> MilvusServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


def _config(data: Path, extra: Mapping[str, object]) -> Any:
    """Its configuration, written below `data`, with a free port for each of its parts."""
    from milvus import MilvusServerConfig

    config = MilvusServerConfig(data_dir=str(data))
    names = [name for name in config.configurable_items if name.endswith("_port")]
    config.update(**dict(zip(names, _free_ports(len(names)), strict=True)))
    for name, value in extra.items():
        config.set(name, value)
    config.resolve()
    return config


def _etcd_config(data: Path, port: int) -> Path:
    """etcd's own settings: by default it talks to itself on port 2380, so that only one could run here."""
    (peer,), path = _free_ports(1), data / "configs" / "etcd.yaml"
    client, peers = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
    path.write_text(
        f"listen-client-urls: {client}\nadvertise-client-urls: {client}\nlisten-peer-urls: {peers}\n"
        f"initial-advertise-peer-urls: {peers}\ninitial-cluster: default={peers}\n",
        encoding="utf-8",
    )
    return path


def _free_ports(count: int) -> list[int]:
    """Different ones, which nobody listens on now."""
    with ExitStack() as held:
        sockets = [held.enter_context(closing(socket.socket())) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _unpacked() -> Path:
    """The folder with the binary and its libraries, unpacked once a user and version: 200 MB."""
    import milvus

    packed = Path(milvus.__file__).parent / "data" / "bin"
    target = Path(tempfile.gettempdir()) / f"clipserve-milvus-{milvus.__version__}-{os.getuid()}"
    if target.is_dir():
        return target
    part = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=target.parent))
    for path in packed.glob("*.lzma"):
        unpacked = part / path.stem
        with lzma.open(path) as source, unpacked.open("wb") as file:
            shutil.copyfileobj(source, file)
        unpacked.chmod(0o755)
    try:
        part.rename(target)
    except OSError:  # another process was faster
        shutil.rmtree(part)
    return target
