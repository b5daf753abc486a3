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
from clip_core.errors import InvalidRequest
from clip_core.old_names.table import OLD_ENDPOINT_KEYS, OLD_SETTINGS
from clip_core.old_names.taking import with_new_names, with_new_variables
from clip_core.settings import PREFIX, HandlerSettings
from gateway.ingest.items import checked_caption
from gateway.jobs.runner import wanted_captions
from gateway.routes.bodies import checked
from gateway.schemas.asking import CollectionCaptionsRequest
from gateway.schemas.base import tell_once
from gateway.schemas.jobs import JobRequest
from gateway.settings import GatewaySettings, environment_name
from index_service.settings import IndexSettings
from scaler.settings import ScalerSettings
from scripts.cli import app
from scripts.commands.old_flags import OLD_FLAGS
from scripts.config.config_file import load
from scripts.config.yaml_file import ConfigError
from scripts.processes.preflight import StackStartError
from scripts.stack.parts import gateway_settings
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
    told = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"}).output
    assert "CLIPSERVE_STOP_PATIENCE" not in told
    shown = set(re.findall(r"--[a-z-]+", told))
    assert set(flags.values()) <= shown
    assert not set(flags) & shown


def test_an_old_flag_is_taken_and_named() -> None:
    wide = {"COLUMNS": "200"}
    ended = CliRunner().invoke(app, ["sync", "--remove-at-most=7", "nowhere", "--collection", "c"], env=wide)
    assert ended.exit_code == 2
    assert "--remove-at-most is an old name: write --max-delete-ratio" in ended.output
    assert "Invalid value for '--max-delete-ratio' (given as '--remove-at-most')" in ended.output
    both = ["sync", "--remove-at-most", "0.5", "--max-delete-ratio=0.2", "nowhere", "--collection", "c"]
    ended = CliRunner().invoke(app, both, env=wide)
    assert (ended.exit_code, "give one of them" in ended.output) == (2, True)


def test_old_fields_of_requests() -> None:
    source = {"folder": "a", "again": True}
    assert JobRequest.model_validate({"collection": "c", "source": source}).source.force is True
    assert CollectionCaptionsRequest.model_validate({"most_usd": 2}).max_cost_usd == 2
    assert "again" not in json.dumps(JobRequest.model_json_schema()["$defs"]["JobSource"]["properties"])


def test_old_writers_of_captions(caplog: pytest.LogCaptureFixture) -> None:
    for take in (by_a_job, lambda: checked_caption("assistant", "caption")):
        tell_once.cache_clear()
        caplog.clear()
        assert [take(), take()] == ["llm", "llm"]
        assert caplog.text.count("assistant is an old name: write llm") == 1
    caplog.clear()
    tell_once.cache_clear()
    assert wanted_captions('{"caption": "assistant"}') == "llm"
    assert not caplog.text, "nobody wrote it just now: it is of a job that 0.1 kept"


def by_a_job() -> object:
    body = {"collection": "c", "source": {"folder": "a"}, "caption": "assistant"}
    return JobRequest.model_validate(body).caption


def test_errors_name_what_was_typed_of_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLIPSERVE_GATEWAY_BURST_WAIT_S", "x")
    given = "CLIPSERVE_GATEWAY_ADMISSION_TIMEOUT_S (given as CLIPSERVE_GATEWAY_BURST_WAIT_S)"
    assert environment_name("admission_timeout_s") == given
    with pytest.raises(StackStartError, match=re.escape(f"{given}: ")):
        gateway_settings()
    monkeypatch.setenv("CLIPSERVE_GATEWAY_ADMISSION_TIMEOUT_S", "x")
    assert environment_name("admission_timeout_s") == "CLIPSERVE_GATEWAY_ADMISSION_TIMEOUT_S"
    with pytest.raises(ValueError, match=r"CROSS_ORIGIN \(given as CLIPSERVE_HANDLER_ALLOW_WEB_PAGES\) is true"):
        HandlerSettings.from_env({"CLIPSERVE_HANDLER_ALLOW_WEB_PAGES": "x"})
    with pytest.raises(ValueError, match=r"caption_max_sequences \(given as caption_rows\) is a whole number"):
        EndpointConfig.parse({"caption_rows": "x"})
    monkeypatch.setattr(secret_files, "FOLDER", tmp_path)
    (tmp_path / "clipserve_gateway_text_model_url").write_text("x")
    assert environment_name("chat_model_url").endswith(f"(given as {tmp_path}/clipserve_gateway_text_model_url)")


def test_errors_name_what_was_typed_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "clipserve.yaml"
    for text, said in (
        ("gateway: {burst_wait_s: x}", "gateway.admission_timeout_s (given as burst_wait_s): must be"),
        ("gateway: {burst_wait_s: -1}", "gateway.admission_timeout_s (given as burst_wait_s): "),
        ("batching: {text: {pass_tokens: x}}", "batching.text.pass_overhead_tokens (given as pass_tokens): must be"),
        ("gateway: {admission_timeout_s: x}", "gateway.admission_timeout_s: must be"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=re.escape(f"{path}:1: {said}")):
            load(path)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("CLIPSERVE_STOP_PATIENCE", "y", "'--stop-timeout' (env var: 'CLIPSERVE_STOP_PATIENCE')"),
        ("CLIPSERVE_STOP_PATIENCE", "-1", "CLIPSERVE_STOP_TIMEOUT (given as CLIPSERVE_STOP_PATIENCE): "),
        ("CLIPSERVE_STOP_TIMEOUT", "y", "'--stop-timeout' (env var: 'CLIPSERVE_STOP_TIMEOUT')"),
        ("CLIPSERVE_STOP_TIMEOUT", "-1", "CLIPSERVE_STOP_TIMEOUT: "),
    ],
)
def test_errors_name_the_variable_that_was_given(variable: str, value: str, said: str) -> None:
    ended = CliRunner().invoke(app, ["up"], env={variable: value, "COLUMNS": "200"})
    assert (ended.exit_code, said in ended.output, "['" in ended.output) == (2, True, False), ended.output


def test_errors_name_the_flag_that_was_given() -> None:
    ended = CliRunner().invoke(app, ["up", "--stop-patience", "-1"], env={"COLUMNS": "200"})
    assert (ended.exit_code, "--stop-timeout (given as --stop-patience): " in ended.output) == (2, True), ended.output


def test_errors_name_the_old_field_of_a_request() -> None:
    body = {"collection": "c", "source": {"folder": "a", "again": "perhaps"}}
    with pytest.raises(InvalidRequest, match=r"source\.force \(given as again\): ") as caught:
        checked(JobRequest, body)
    assert caught.value.param == "source.force"
