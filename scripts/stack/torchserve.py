"""TorchServe's command line and settings, from config.properties and the ports that `up` was given."""

from __future__ import annotations

import importlib.util
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from scripts.archive.places import DATA
from scripts.processes.java_properties import read_properties, write_properties
from scripts.processes.launching import python_script
from scripts.processes.preflight import StackStartError
from scripts.public_api import http_client
from scripts.stack.up_settings import UpSettings

_TOKENS_LAST_MINUTES = 10 * 365 * 24 * 60  # until the next start: nobody would renew them in time
ENDPOINTS = ("clip_text", "clip_image", "clip_multimodal")


@dataclass(frozen=True)
class Endpoint:
    """What the management API says of one model's workers."""

    name: str
    ready: int
    wanted: int


def properties(
    settings: UpSettings,
    model_store: Path,
    run_dir: Path,
    endpoints: Mapping[str, str] | None = None,
    management: str | None = None,
    host: str = "127.0.0.1",
) -> Path:
    """config.properties with this run's addresses → a file under `run_dir`.

    `endpoints`: name → file or folder in the store; every endpoint's .mar unless given. `management`: where the
    management API listens, such as unix:/run/socket; the management port unless given. `host`: of the ports; gRPC
    stays on loopback.
    """
    load = endpoints if endpoints is not None else {name: f"{name}.mar" for name in ENDPOINTS}
    merged = read_properties(DATA / "config.properties") | {
        "inference_address": f"http://{host}:{settings.inference_port}",
        "management_address": management or f"http://{host}:{settings.management_port}",
        "metrics_address": f"http://{host}:{settings.metrics_port}",
        "grpc_inference_port": str(settings.grpc_inference_port),
        "grpc_management_port": str(settings.grpc_management_port),
        "metrics_config": str(DATA / "metrics.yaml"),
        "model_store": str(model_store),
        "load_models": ",".join(f"{name}={source}" for name, source in load.items()),
    }
    if settings.token_authorization:
        merged |= {"disable_token_authorization": "false", "token_expiration_min": str(_TOKENS_LAST_MINUTES)}
    if settings.system_metrics:
        merged["disable_system_metrics"] = "false"
    path = run_dir / "config.properties"
    write_properties(path, merged)
    return path


def command(java: Path, config: Path, settings: UpSettings, run_dir: Path, token_dir: Path | None = None) -> list[str]:
    """Java itself, not the `torchserve` launcher: the launcher leaves Java serving when it is stopped.

    No class and no module is looked for in the current folder. `token_dir`: where tokens are written to, if not there.
    """
    spec = importlib.util.find_spec("ts")
    if spec is None or not spec.submodule_search_locations:
        raise StackStartError("the package torchserve is not installed.\nRun `make up`, or `pip install torchserve`.")
    package = Path(spec.submodule_search_locations[0])
    options = shlex.split(read_properties(config).get("vmargs", "")) + shlex.split(settings.java_options)
    options += [f"-Duser.dir={token_dir}"] if token_dir else []
    return [
        *(str(java), f"-Dmodel_server_home={package.parent}", f"-Djava.io.tmpdir={run_dir}"),
        *(f"-Dlog4j.configurationFile={(DATA / 'config.log4j2.xml').as_uri()}", *options),
        *("-XX:+ErrorFileToStderr", "-cp", str(package / "frontend" / "*"), "org.pytorch.serve.ModelServer"),
        *("--python", str(python_script(run_dir / "python")), "-f", str(config), "-ncs"),
    ]


def environment(settings: UpSettings, run_dir: Path, log_dir: Path) -> Mapping[str, str]:
    return {
        "TMPDIR": str(run_dir),
        "TEMP": str(run_dir),
        "LOG_LOCATION": str(log_dir),
        "METRICS_LOCATION": str(log_dir),
        "LC_ALL": "C.UTF-8",  # in the locale C, Java opens no file whose path has other letters than ASCII's
        "TS_DECODE_INPUT_REQUEST": "false",  # bodies arrive as bytes: the handlers parse them, once
        "CLIPSERVE_HANDLER_INDEX_URL": f"http://127.0.0.1:{settings.index_port}",
        "CLIPSERVE_HANDLER_LOG_JSON": str(settings.log_json).lower(),
        "CLIPSERVE_HANDLER_LOG_LEVEL": settings.log_level,
        "OMP_NUM_THREADS": "1",
        "GOMP_SPINCOUNT": "20000",  # threads wait some 0.2 ms awake for a pass's next kernel (docs/decisions/128)
        "MALLOC_ARENA_MAX": "2",  # glibc would keep a heap for every thread that ever decoded a picture
    }


def workers(management_url: str, names: Sequence[str] = ENDPOINTS) -> list[Endpoint]:
    """The workers of each endpoint; an empty list while TorchServe does not answer yet."""
    client = http_client(management_url, timeout_s=2)
    try:
        return [_describe(client, name) for name in names]
    except (httpx.RequestError, ValueError, LookupError):
        return []


def _describe(client: httpx.Client, name: str) -> Endpoint:
    body = client.get(f"/models/{name}").json()[0]
    return Endpoint(name, sum(worker["status"] == "READY" for worker in body["workers"]), body["minWorkers"])
