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
