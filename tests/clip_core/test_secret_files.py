"""Secrets as files, beside the environment."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic_settings import SettingsError

from clip_core import secret_files
from gateway import __main__ as gateway
from gateway.settings import GatewaySettings
from index_service import __main__ as index
from index_service.errors import IndexStartError
from index_service.settings import IndexSettings
from scaler import __main__ as scaler
from scaler.settings import ScalerSettings
from scripts.processes.preflight import StackStartError
from scripts.stack.parts import gateway_settings, scaler_settings

KEYS = "clipserve_gateway_api_keys"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(secret_files, "FOLDER", tmp_path)
    return tmp_path


def test_a_setting_is_read_from_the_file_of_its_name(folder: Path) -> None:
    (folder / KEYS).write_text("one,two\n")
    (folder / "clipserve_index_milvus_token").write_text("root:Milvus\n")
    (folder / "another_secret").write_text("of another service")
    assert GatewaySettings(host="0.0.0.0").keys == ("one", "two")
    assert IndexSettings().milvus_token.get_secret_value() == "root:Milvus"


def test_the_environment_wins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / KEYS).write_text("from-the-file")
    monkeypatch.setenv(KEYS.upper(), "from-the-environment")
    assert GatewaySettings().keys == ("from-the-environment",)


def test_without_a_folder_of_secrets(folder: Path) -> None:
    folder.rmdir()
    assert GatewaySettings().keys == ()


def test_a_file_without_a_key_is_refused(folder: Path) -> None:
    (folder / KEYS).write_text(" , ")
    with pytest.raises(ValueError, match="holds no key"):
        GatewaySettings()


def unreadable(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"\xff\xfe")  # root may read any file; no text is as good


def test_a_file_that_can_not_be_read_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unreadable(folder, KEYS)
    with pytest.raises(SettingsError, match="api_keys"):
        GatewaySettings()
    with pytest.raises(SystemExit):
        gateway._settings()
    said = capsys.readouterr().err
    assert "api_keys" in said
    assert len(said.splitlines()) == 1


def test_and_of_the_index_service(folder: Path) -> None:
    unreadable(folder, "clipserve_index_milvus_token")
    with pytest.raises(IndexStartError, match="milvus_token"):
        index._settings()


def test_and_of_the_scaler_and_of_up(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unreadable(folder, "clipserve_scaler_gateway_key")
    unreadable(folder, KEYS)
    with pytest.raises(SystemExit):
        scaler._settings()
    assert "gateway_key" in capsys.readouterr().err
    with pytest.raises(StackStartError, match="gateway_key"):
        scaler_settings()
    with pytest.raises(StackStartError, match="api_keys"):
        gateway_settings()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("clipserve_gateway_api_key", KEYS),
        ("clipserve-gateway-api-keys", KEYS),
        ("clipserve_gatway_api_keys", KEYS),
        ("api_keys", KEYS),
    ],
)
def test_a_misspelt_file_is_named_with_what_it_should_be(folder: Path, name: str, meant: str) -> None:
    (folder / name).write_text("one")
    (folder / "..data").mkdir()
    assert GatewaySettings().keys == ()
    (line,) = GatewaySettings.unknown_names()
    assert line.startswith(f"{folder / name} is no setting")
    assert line.endswith(f"did you mean {meant}?")


def test_files_of_others_are_none_of_ours(folder: Path) -> None:
    for name in (KEYS.upper(), "clipserve_index_milvus_tokn", "postgres_password", "port", "..2026_11_30", "token"):
        (folder / name).write_text("one")
    assert GatewaySettings().keys == ("one",)
    assert GatewaySettings.unknown_names() == ScalerSettings.unknown_names() == []
    (line,) = IndexSettings.unknown_names()
    assert line.endswith("_tokn is no setting; did you mean clipserve_index_milvus_token?")


def test_what_reads_no_files_says_so(folder: Path) -> None:
    path = folder / "clipserve-handler-admin-token"
    path.write_text("one")
    assert secret_files.unread_files("CLIPSERVE_HANDLER_") == [
        f"{path} is not read: set the variable CLIPSERVE_HANDLER_ADMIN_TOKEN"
    ]
