"""`clipserve up`: build the archives, start the three services, fill the demo, stay until told to stop."""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from rich.console import Console

from clip_core.errors import ClipServeError
from gateway.key_ring import KeyRing
from gateway.key_store import KeyStore
from gateway.settings import Settings as GatewaySettings
from scripts import torchserve
from scripts.archive_build import MODEL_STORE, ROOT, stale_archives
from scripts.preflight import StartError, check_disk, check_ports, find_java
from scripts.processes import Stack
from scripts.public_api import PublicApi
from scripts.up_settings import UpSettings

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
    """Someone asked us to stop."""


def run(settings: UpSettings, console: Console) -> int:
    """Everything from nothing to a stop. Returns the exit status: 0 when asked to stop, 1 when a part failed."""
    for number in STOP_SIGNALS:
        signal.signal(number, _stop)
    stack = Stack()
    try:
        started = time.monotonic()
        _prepare(settings, console)
        key = _api_key(settings)
        _start(stack, settings, console, key)
        _wait_ready(stack, settings, console)
        console.print(f"[green]ready[/green] in {time.monotonic() - started:.1f} s")
        if settings.demo:
            _demo(stack, settings, console, key)
        _invite(settings, console)
        _watch(stack)
    except (StartError, ClipServeError, FileExistsError) as error:
        console.print(f"[red]error[/red] {error}", highlight=False, markup=True)
        return 1
    except Stopped:
        console.print("stopping …")
        return 0
    finally:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        stack.stop()
    return 0


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise Stopped


def gateway_url(settings: UpSettings) -> str:
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    return f"http://{host}:{settings.gateway_port}"


def _prepare(settings: UpSettings, console: Console) -> None:
    ports = {name: getattr(settings, name) for name in UpSettings.model_fields if name.endswith("_port")}
    check_ports(ports)
    check_disk(settings.data_dir)
    find_java()
    store = _model_store(settings)
    if stale_archives(settings.model, settings.checkpoint, store, precision=settings.precision):
        _build(settings, console)


def _model_store(settings: UpSettings) -> Path:
    return (settings.model_store or MODEL_STORE).resolve()


def _build(settings: UpSettings, console: Console) -> None:
    """In a process of its own, so that torch does not stay in this one's memory."""
    console.print(f"[dim]building[/dim] the archives of {settings.model}")
    command = [sys.executable, "-m", "scripts.cli", "archive", "build", settings.model]
    command += ["--model-store", str(_model_store(settings))]
    command += ["--checkpoint", str(settings.checkpoint)] if settings.checkpoint else []
    command += ["--precision", settings.precision] if settings.precision else []
    done = subprocess.run(command, cwd=ROOT)
    if done.returncode != 0:
        raise StartError(f"the archives of {settings.model} could not be built (the reason stands above).")


def _start(stack: Stack, settings: UpSettings, console: Console, key: str | None) -> None:
    console.print("[dim]starting[/dim] index service, TorchServe, gateway")
    run_dir = (settings.data_dir / "run").resolve()
    logs = settings.log_dir.resolve()
    run_dir.mkdir(parents=True, exist_ok=True)
    python = [sys.executable, "-m"]
    common = {"LOG_JSON": str(settings.log_json).lower(), "LOG_LEVEL": settings.log_level}
    stack.start(
        "index service", [*python, "index_service"], logs / "index.log", _prefixed("INDEX", common | _index(settings))
    )
    config = torchserve.properties(settings, _model_store(settings), run_dir)
    stack.start(
        "TorchServe",
        torchserve.command(find_java(), config, settings, run_dir),
        logs / "torchserve.log",
        torchserve.environment(settings, run_dir, logs),
    )
    stack.start(
        "gateway", [*python, "gateway"], logs / "gateway.log", _prefixed("GATEWAY", common | _gateway(settings, key))
    )


def _prefixed(part: str, values: dict[str, str]) -> dict[str, str]:
    return {f"CLIPSERVE_{part}_{key}": value for key, value in values.items()}


def _index(settings: UpSettings) -> dict[str, str]:
    return {"PORT": str(settings.index_port), "DATA_DIR": str((settings.data_dir / "index").resolve())}


def _gateway(settings: UpSettings, key: str | None) -> dict[str, str]:
    local = "http://127.0.0.1:"
    own = {} if key is None or gateway_settings().keys else {"API_KEYS": key}
    return own | {
        "HOST": settings.host,
        "PORT": str(settings.gateway_port),
        "TORCHSERVE_URL": f"{local}{settings.inference_port}",
        "MANAGEMENT_URL": f"{local}{settings.management_port}",
        "METRICS_URL": f"{local}{settings.metrics_port}",
        "INDEX_URL": f"{local}{settings.index_port}",
        "KEYS_FILE": str(_keys_file(settings)),
        "DATA_DIR": str((settings.data_dir / "gateway").resolve()),
        "IMAGE_ROOTS": f"demo={(settings.data_dir / 'demo' / 'gallery').resolve()}",
    }


def _wait_ready(stack: Stack, settings: UpSettings, console: Console) -> None:
    """Until /readyz is 200. Raises StartError when a part ends or time is up."""
    api = PublicApi(gateway_url(settings), timeout_s=5)
    deadline = time.monotonic() + settings.startup_timeout
    with console.status("waiting for the workers to load and pass their canaries"):
        while True:
            stack.check()
            ready, reason = api.ready()
            if ready:
                return
            if time.monotonic() > deadline:
                raise StartError(f"not ready after {settings.startup_timeout:.0f} s: {reason}\n{_tails(stack)}")
            time.sleep(0.2)


def _tails(stack: Stack) -> str:
    return "\n".join(f"{part.log}:\n{part.tail()}" for part in stack.parts)


def _demo(stack: Stack, settings: UpSettings, console: Console, key: str | None) -> None:
    from scripts.demo import fill_demo, show_search

    api = PublicApi(gateway_url(settings), api_key=key)
    _guarded(stack, lambda: fill_demo(api, settings.data_dir / "demo" / "gallery", console))
    _guarded(stack, lambda: show_search(api, console))


def gateway_settings() -> GatewaySettings:
    """What the environment says of the gateway; the host is given by `up` itself."""
    return GatewaySettings(host="127.0.0.1")


def _keys_file(settings: UpSettings) -> Path:
    return (gateway_settings().keys_file or settings.data_dir / "keys.db").resolve()


def _api_key(settings: UpSettings) -> str | None:
    """A key for our own calls: one of the environment's, or, where the file alone asks for keys, one for this run."""
    given = gateway_settings().keys
    if given:
        return given[0]
    return secrets.token_urlsafe(32) if KeyRing((), KeyStore(_keys_file(settings))) else None


def _guarded(stack: Stack, step: Callable[[], None]) -> None:
    """Run `step`; when it fails because a part has died, say so instead."""
    try:
        step()
    except ClipServeError:
        time.sleep(0.5)
        stack.check()
        raise


def _invite(settings: UpSettings, console: Console) -> None:
    url = gateway_url(settings)
    console.print(
        f"\n  page  [bold]{url}/[/bold]\n  docs  {url}/docs\n  logs  {settings.log_dir}/\n\nCtrl-C stops everything."
    )


def _watch(stack: Stack) -> None:
    while True:
        stack.check()
        time.sleep(0.25)
