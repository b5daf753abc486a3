"""Old names are taken wherever new ones are: environment, secrets, configuration file, YAML, flags, requests."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clip_core import secret_files
from clip_core.endpoint_config import EndpointConfig
from clip_core.old_names.table import OLD_ENDPOINT_KEYS, OLD_SETTINGS
from clip_core.old_names.taking import with_new_names, with_new_variables
from clip_core.settings import PREFIX, HandlerSettings
from gateway.ingest.items import checked_caption
from gateway.schemas.asking import CollectionCaptionsRequest
from gateway.schemas.jobs import JobRequest
from gateway.settings import GatewaySettings
from index_service.settings import IndexSettings
from scaler.settings import ScalerSettings
from scripts.cli import app
from scripts.commands.old_flags import OLD_FLAGS
from scripts.config.config_file import load
from scripts.stack.up_settings import UpSettings, unknown_names

SETTINGS = {
    settings.model_config["env_prefix"]: set(settings.model_fields)
    for settings in (GatewaySettings, IndexSettings, ScalerSettings, UpSettings)
} | {PREFIX: {each.name for each in dataclasses.fields(HandlerSettings)}}


@pytest.mark.parametrize("prefix", OLD_SETTINGS)
def test_old_names_lead_to_settings_and_are_none(prefix: str) -> None:
    old = OLD_SETTINGS[prefix]
    assert set(old.values()) <= SETTINGS[prefix]
    assert not set(old) & SETTINGS[prefix]


def test_old_keys_lead_to_keys_and_are_none() -> None:
    keys = {each.name for each in dataclasses.fields(EndpointConfig)}
    assert set(OLD_ENDPOINT_KEYS.values()) <= keys
    assert not set(OLD_ENDPOINT_KEYS) & keys


def test_the_new_name_wins() -> None:
    assert with_new_names({"old": 1, "x": 3}, {"old": "new"}) == {"new": 1, "x": 3}
    assert with_new_names({"old": 1, "new": 2}, {"old": "new"}) == {"new": 2}
    both = {"CLIPSERVE_STOP_PATIENCE": "1", "CLIPSERVE_STOP_TIMEOUT": "2"}
    assert with_new_variables(both)["CLIPSERVE_STOP_TIMEOUT"] == "2"


def test_old_variables_are_taken_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPSERVE_GATEWAY_BURST_WAIT_S", "7")
    monkeypatch.setenv("CLIPSERVE_INDEX_COMPACT_ROWS", "99")
    monkeypatch.setenv("CLIPSERVE_SCALER_MOST", "9")
    monkeypatch.setenv("CLIPSERVE_STOP_PATIENCE", "3")
    assert GatewaySettings().admission_timeout_s == 7
    assert IndexSettings().merge_min_rows == 99
    assert ScalerSettings().max_replicas == 9
    assert UpSettings().stop_timeout == 3
    told = "CLIPSERVE_GATEWAY_BURST_WAIT_S is an old name: write CLIPSERVE_GATEWAY_ADMISSION_TIMEOUT_S"
    assert GatewaySettings.unknown_names() == [told]
    assert told in unknown_names()
    assert len(unknown_names()) == 4
    monkeypatch.setenv("CLIPSERVE_GATEWAY_ADMISSION_TIMEOUT_S", "8")
    assert GatewaySettings().admission_timeout_s == 8
    assert GatewaySettings.unknown_names() == [f"{told}, which is given, too, and wins"]
    shown = CliRunner().invoke(app, ["config", "show", "--changed"])
    assert "(CLIPSERVE_STOP_PATIENCE)" in shown.stdout
    assert "CLIPSERVE_STOP_PATIENCE is an old name: write CLIPSERVE_STOP_TIMEOUT" in shown.stderr


def test_an_old_variable_of_the_handlers(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        settings = HandlerSettings.from_env({"CLIPSERVE_HANDLER_ALLOW_WEB_PAGES": "true"})
    assert settings.allow_cross_origin
    assert "write CLIPSERVE_HANDLER_ALLOW_CROSS_ORIGIN" in caplog.text


def test_an_old_key_of_an_endpoint(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert EndpointConfig.parse({"caption_rows": 3}).caption_max_sequences == 3
    assert "caption_rows is an old name: write caption_max_sequences" in caplog.text


def test_old_keys_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "clipserve.yaml"
    path.write_text(
        "models:\n- {name: demo, batching: {caption: {caption_waiting: 5}}}\n"
        "batching: {text: {pass_tokens: 9}}\ngateway: {burst_wait_s: 2}\nscaler: {least: 0}\nup: {stop_patience: 4}\n"
    )
    file = load(path)
    assert file.variables == {
        "CLIPSERVE_GATEWAY_ADMISSION_TIMEOUT_S": "2",
        "CLIPSERVE_SCALER_MIN_REPLICAS": "0",
        "CLIPSERVE_STOP_TIMEOUT": "4",
    }
    assert file.batching == {"text": {"pass_overhead_tokens": 9}}
    assert (file.models or [])[0]["batching"] == {"caption": {"caption_max_waiting": 5}}
    assert f"{path}:4: gateway.burst_wait_s is an old name: write admission_timeout_s" in file.notices
    assert len(file.notices) == 5


def test_a_secret_by_its_old_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_files, "FOLDER", tmp_path)
    (tmp_path / "clipserve_gateway_text_model_url").write_text("http://a:1\n")
    assert GatewaySettings().chat_model_url == "http://a:1"
    assert GatewaySettings.unknown_names()[-1].endswith(
        "_text_model_url is an old name: write clipserve_gateway_chat_model_url"
    )
    (tmp_path / "clipserve_gateway_chat_model_url").write_text("http://b:1\n")
    assert GatewaySettings().chat_model_url == "http://b:1"


@pytest.mark.parametrize(("command", "flags"), OLD_FLAGS.items())
def test_old_flags_lead_to_flags_and_are_not_shown(command: str, flags: dict[str, str]) -> None:
    words = ["archive", command] if command == "build" else [command]
    shown = set(re.findall(r"--[a-z-]+", CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"}).output))
    assert set(flags.values()) <= shown
    assert not set(flags) & shown


def test_an_old_flag_is_taken_and_named() -> None:
    ended = CliRunner().invoke(app, ["sync", "--remove-at-most=7", "nowhere", "--collection", "c"])
    assert ended.exit_code == 2
    assert "--remove-at-most is an old name: write --max-delete-ratio" in ended.output
    assert "Invalid value for '--max-delete-ratio'" in ended.output
    both = ["sync", "--remove-at-most", "0.5", "--max-delete-ratio=0.2", "nowhere", "--collection", "c"]
    ended = CliRunner().invoke(app, both, env={"COLUMNS": "200"})
    assert (ended.exit_code, "give one of them" in ended.output) == (2, True)


def test_old_fields_of_requests() -> None:
    source = {"folder": "a", "again": True}
    assert JobRequest.model_validate({"collection": "c", "source": source}).source.force is True
    assert CollectionCaptionsRequest.model_validate({"most_usd": 2}).max_cost_usd == 2
    assert "again" not in json.dumps(JobRequest.model_json_schema()["$defs"]["JobSource"]["properties"])
    assert JobRequest.model_validate({"collection": "c", "source": source, "caption": "assistant"}).caption == "llm"
    assert checked_caption("assistant", "caption") == "llm"
