"""Every setting of every part takes nonsense, or refuses it in one line that names it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from pydantic_settings import BaseSettings

import gateway.__main__
import index_service.__main__
import scripts.stack.lifecycle
from gateway.settings import GatewaySettings
from index_service.errors import IndexStartError
from index_service.settings import IndexSettings
from scripts.commands.up_command import up
from scripts.processes.preflight import StackStartError
from scripts.stack.data_folder import log_folder
from scripts.stack.parts import own_key
from scripts.stack.up_settings import UpSettings, unknown_names

NONSENSE = (
    "nan",
    "inf",
    "-1",
    "-inf",
    "1e400",
    "9" * 30,
    "text",
    "",
    "/nope/x",
    "http://[",
    "../x",
    "é",
    "a\nb",
    "=,=",
    "'",
)
OWNED = {"gateway": GatewaySettings, "index": IndexSettings, "up": UpSettings}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CLIPSERVE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(scripts.stack.lifecycle, "run", lambda *_: 0)


def fields() -> Iterator[tuple[str, str]]:
    settings: type[BaseSettings]
    for part, settings in OWNED.items():
        for name in settings.model_fields:
            yield part, name


def start(part: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What a part says of its settings; nothing when they are good."""
    try:
        if part == "gateway":
            gateway.__main__._settings()
        elif part == "index":
            index_service.__main__._settings()
        else:
            up()
    except IndexStartError as error:
        return str(error)
    except (SystemExit, typer.Exit):
        pass
    return capsys.readouterr().err.strip()


@pytest.mark.parametrize(("part", "field"), list(fields()))
def test_nonsense_is_taken_or_named_in_one_line(
    part: str, field: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    variable = f"{OWNED[part].model_config['env_prefix']}{field.upper()}"
    option = f"--{field.replace('_', '-')}"
    for value in NONSENSE:
        monkeypatch.setenv(variable, value)
        said = start(part, capsys)
        assert len(said.splitlines()) <= 1, (value, said)
        assert not said or variable in said or option in said or field in said, (value, said)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GATEWAY_INDEX_URL", "http://["),
        ("GATEWAY_INDEX_URL", "http://127.0.0.1:many"),
        ("GATEWAY_TIMEOUT_S", "inf"),
        ("GATEWAY_TIMEOUT_S", "1e300"),
        ("GATEWAY_MAX_CLIENT_CONNECTIONS", "99999999999"),
        ("GATEWAY_INGEST_ROOTS", "a=/nope"),
        ("GATEWAY_IMAGE_ROOTS", f"a={__file__}"),
        ("GATEWAY_ALLOWED_HOSTS", "http://x/"),
        ("GATEWAY_TEXT_ENDPOINT", "../x"),
        ("GATEWAY_API_KEYS", "schlüssel"),
        ("GATEWAY_KEYS_FILE", "/"),
        ("INDEX_MILVUS_URI", "zzz"),
        ("INDEX_ALLOWED_HOSTS", "http://x"),
        ("INDEX_DISK_RESERVE_MB", "99999999"),
        ("INDEX_MERGE_IDLE_S", "inf"),
        ("LOG_LEVEL", "LOUD"),
        ("STARTUP_TIMEOUT", "nan"),
        ("STARTUP_TIMEOUT", "-1"),
        ("RESTART_LIMIT", "-1"),
        ("JAVA_OPTIONS", "-Dx='"),
        ("CHECKPOINT", "/nope"),
        ("MANAGEMENT_HOSTS", "http://x/"),
        ("INDEX_PORT", "8000"),
    ],
)
def test_is_refused(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    part = {"GATEWAY": "gateway", "INDEX": "index"}.get(variable.partition("_")[0], "up")
    part = "up" if variable == "INDEX_PORT" else part
    monkeypatch.setenv(f"CLIPSERVE_{variable}", value)
    (line,) = start(part, capsys).splitlines()
    assert variable in line or f"--{variable.lower().replace('_', '-')}" in line
    assert "Traceback" not in line


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("allowed_hosts", "search.lan,*.home,*,::1,10.0.0.1,search.lan."),
        ("index_url", "https://index.prod.svc:8090/base/"),
        ("index_url", "http://[::1]:8090"),
        ("fetch_hosts", "img.example.org,*.example.net"),
        ("image_roots", "demo=not/there/yet"),
    ],
)
def test_what_makes_sense_is_taken(field: str, value: str) -> None:
    GatewaySettings(**{field: value})


@pytest.mark.parametrize("uri", ["", "http://127.0.0.1:19530", "/data/milvus.db"])
def test_good_milvus_addresses(uri: str) -> None:
    assert IndexSettings(milvus_uri=uri).milvus_uri == uri


def test_unknown_names_are_said_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CLIPSERVE_GATEWAY_TIMEOUTS", "CLIPSERVE_INDEX_HNSWM", "CLIPSERVE_LOGDIR"):
        monkeypatch.setenv(name, "1")
    for name in ("CLIPSERVE_URL", "CLIPSERVE_GATEWAY_PORT", "CLIPSERVE_HANDLER_CACHE"):
        monkeypatch.setenv(name, "1")
    assert GatewaySettings.unknown_names() == [
        "CLIPSERVE_GATEWAY_TIMEOUTS is no setting; did you mean CLIPSERVE_GATEWAY_TIMEOUT_S?"
    ]
    assert IndexSettings.unknown_names() == [
        "CLIPSERVE_INDEX_HNSWM is no setting; did you mean CLIPSERVE_INDEX_HNSW_M?"
    ]
    assert [line.split()[0] for line in unknown_names()] == [
        "CLIPSERVE_GATEWAY_TIMEOUTS",
        "CLIPSERVE_INDEX_HNSWM",
        "CLIPSERVE_LOGDIR",
    ]


def test_up_refuses_bad_settings_of_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPSERVE_GATEWAY_KEYS_FILE", "/")
    with pytest.raises(StackStartError, match="CLIPSERVE_GATEWAY_KEYS_FILE: / is a folder"):
        own_key(UpSettings())


def test_a_log_folder_that_cannot_be_or_is_in_use(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", Path("/proc/x")):
        with pytest.raises(StackStartError, match=r"can't be written(?s:.*)--log-dir"), log_folder(path):
            pass
    with log_folder(tmp_path), pytest.raises(StackStartError, match=rf"pid {os.getpid()}\)(?s:.*)--log-dir"):  # noqa: SIM117
        with log_folder(tmp_path):
            pass
    with log_folder(tmp_path):
        pass


@pytest.mark.parametrize(
    ("module", "settings", "named"),
    [
        ("gateway", {"GATEWAY_DATA_DIR": "/proc/x"}, "CLIPSERVE_GATEWAY_DATA_DIR"),
        ("gateway", {"GATEWAY_DATA_DIR": __file__}, "CLIPSERVE_GATEWAY_DATA_DIR"),
        ("gateway", {"GATEWAY_HOST": "nope..x", "GATEWAY_API_KEYS": "k"}, "CLIPSERVE_GATEWAY_HOST"),
        ("index_service", {"INDEX_HOST": "nope..x"}, "CLIPSERVE_INDEX_HOST"),
    ],
)
def test_a_start_that_fails_is_one_line(module: str, settings: dict[str, str], named: str, tmp_path: Path) -> None:
    places = {f"CLIPSERVE_{part}_PORT": "0" for part in ("GATEWAY", "INDEX")}
    places |= {f"CLIPSERVE_{part}_DATA_DIR": str(tmp_path) for part in ("GATEWAY", "INDEX")}
    environment = {**os.environ, **places, **{f"CLIPSERVE_{name}": value for name, value in settings.items()}}
    command = [sys.executable, "-m", module]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1
    assert named in line
