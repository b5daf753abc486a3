"""The configuration file: what it takes, what it refuses in one line a fault, and which layer wins."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import scripts.stack.lifecycle
from clip_core.settings import HandlerSettings
from gateway.settings import GatewaySettings
from scripts.archive.places import endpoint_config
from scripts.cli import app
from scripts.config import layers
from scripts.config.config_file import as_text, load
from scripts.config.keys import PARTS, keys
from scripts.config.schema import json_schema
from scripts.config.yaml_file import ConfigError
from scripts.stack.asked import Asked, AskedModel
from scripts.stack.up_settings import UpSettings

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "clipserve.example.yaml"


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Without settings; what a test's `up` adds to it is taken back."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CLIPSERVE_")}
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(kept)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def file(tmp_path: Path) -> Any:
    def written(text: str | bytes) -> Path:
        path = tmp_path / "clipserve.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return written


def faults(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path)
    return [line.removeprefix(f"{path}:") for line in caught.value.faults]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gateway:\n  max_inputs: 1\n  max_inputs: 2\n", "3: gateway.max_inputs: is given twice, first in line 2"),
        ("gateway: {}\ngateway: {}\n", "2: gateway: is given twice, first in line 1"),
        ("gateway:\n\tmax_inputs: 1\n", "2: a tab: indent with spaces"),
        ("a: &x [1]\nb: *x\n", "1: anchors and aliases"),
        ("gateway: {image_hosts: *.example.org}\n", "1: anchors and aliases"),
        ("- a\n", "1: a configuration has sections"),
        ("demo\n", "1: a configuration has sections"),
        ("gateway: {max_inputs: 1\n", "2: expected ',' or '}'"),
        ("gateway: {data: !!python/object:os.system x}\n", "1: gateway.data: the tag"),
        ("up: {data_dir: 2026-01-01}\n", "1: up.data_dir: a date is not read: put the value in quotes"),
        ("up: {on: 1}\n", "1: up: 'on' is no key"),
        ("up: {? [a] : 1}\n", "1: up: 'this' is no key"),
        ("gateway: {timeout_s: .inf}\n", "1: gateway.timeout_s: must be a finite number"),
        ("a: 1\n---\nb: 2\n", "2: but found another document"),
        ("a: " + "[" * 9 + "]" * 9, "1: is nested more than 8 levels deep"),
        ("a: " + "[" * 5000, "1: is nested more than 8 levels deep"),
        (f"gateway: {{max_inputs: {'9' * 5000}}}\n", "1: gateway.max_inputs: '9999"),
        (b"gateway: {}\nup: \xff\n", "2: is not UTF-8"),
        (b"gateway: {}\n# \x07\n", "2: the character"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_with_its_line(file: Any, text: str | bytes, said: str) -> None:
    (line,) = faults(file(text))
    assert line.startswith(said)
    assert "\n" not in line


def test_a_file_that_is_not_there_or_too_large(file: Any, tmp_path: Path) -> None:
    assert faults(tmp_path / "none.yaml") == [" can't be read: No such file or directory"]
    assert faults(tmp_path) == [" can't be read: Is a directory"]
    assert faults(file("#" * 300_000)) == [" a configuration has at most 256 KB"]


@given(st.binary(max_size=200))
def test_no_bytes_are_a_traceback(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(raw)
    said: tuple[str, ...] = ()
    try:
        load(path)
    except ConfigError as error:
        said = error.faults
    assert all("\n" not in line and line.startswith(str(path)) for line in said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gatway: {}", "1: gatway is no key; did you mean gateway?"),
        (
            "xyz: {}",
            "1: xyz is no key; there are models, batching, optimisation, gateway, index, handlers, scaler, up, logging",
        ),
        ("gateway: {max_input: 1}", "1: gateway.max_input is no key; did you mean gateway.max_inputs?"),
        ("gateway: {zzz: 1}", "1: gateway.zzz is no key; docs/settings.md lists those that are"),
        ("gateway: {port: 1}", "1: gateway.port is no key: write up.gateway_port"),
        ("gateway: {index_url: x}", "1: gateway.index_url is set by `clipserve up` itself: leave it out"),
        ("gateway: {log_level: INFO}", "1: gateway.log_level is no key: write logging.level"),
        ("up: {log_max_bytes: 1}", "1: up.log_max_bytes is no key: write logging.max_bytes"),
        ("up: {model: x}", "1: up.model is no key: write models"),
        ("handlers: {cache: no}", "1: handlers.cache is no key: write optimisation.cache"),
        ("gateway: {api_keys: k}", "1: gateway.api_keys is a secret: write gateway.api_keys_file"),
        ("handlers: {admin_token: k}", "1: handlers.admin_token is a secret: write handlers.admin_token_file"),
        ("gateway: {max_inputs: many}", '1: gateway.max_inputs: must be a whole number, not "many"'),
        ("gateway: {max_inputs: true}", "1: gateway.max_inputs: must be a whole number, not true"),
        ("gateway: {max_inputs: 0}", "1: gateway.max_inputs: must be greater than 0, not 0"),
        ("gateway: {fetch_urls: 1}", "1: gateway.fetch_urls: must be true or false, not 1"),
        ("gateway: {timeout_s: '5'}", '1: gateway.timeout_s: must be a number, not "5"'),
        ("gateway: {fetch_ports: 80}", "1: gateway.fetch_ports: must be a list, such as [a, b], not 80"),
        ("gateway: {fetch_ports:\n  [80,\n  x]}", '3: gateway.fetch_ports[1]: must be a whole number, not "x"'),
        ("gateway: {ingest_roots: [a]}", "1: gateway.ingest_roots: must be names with values"),
        ("gateway: {ingest_roots: {a: /nope}}", "1: gateway.ingest_roots: a=/nope: there is no such folder"),
        ("gateway: {fetch_hosts: ['a,b']}", "1: gateway.fetch_hosts: 'a,b' is no host: write a name alone"),
        ("gateway: {pictures: some}", "1: gateway.pictures: must be 'in_place', 'thumbnails' or 'copy', not"),
        (
            "gateway: {max_buffered_bytes: 5}",
            "1: gateway: max_buffered_bytes must hold at least two bodies of max_body_bytes",
        ),
        ("gateway: []", "1: gateway: must be a section, with keys below it"),
        ("index: {milvus_uri: zzz}", "1: index.milvus_uri: must be a server"),
        ("up: {gateway_port: 8080}", "1: up: --gateway-port and --inference-port are both 8080"),
        ("logging: {level: loud}", "1: logging.level: must be 'DEBUG', 'INFO', 'WARNING' or 'ERROR', not \"loud\""),
        ("models: demo", "1: models: must be a list, each with `- ` before it"),
        ("models: [demo]", "1: models[0]: must be a section, with keys below it"),
        ("models:\n  - name: demo\n  - precision: fp32", "3: models[1]: needs a `name` or a `source`"),
        ("models: [{nme: demo}]", "1: models[0].nme is no key; did you mean models[0].name?"),
        ("models: [{name: demo, checkpoint: ''}]", "1: models[0].checkpoint: must not be empty"),
        ("models: [{name: demo, tokenizer: ''}]", "1: models[0].tokenizer: must not be empty"),
        ("batching: {texts: {}}", "1: batching.texts is no key; did you mean batching.text?"),
        (
            "batching: {text: {batchsize: 1}}",
            "1: batching.text.batchsize is no key; did you mean batching.text.batchSize?",
        ),
        ("batching: {text: {batchSize: 0}}", "1: batching.text.batchSize: must be greater than or equal to 1, not 0"),
        ("batching: {text: {cache_policy: x}}", "1: batching.text.cache_policy: must be 'lru' or 'lfu'"),
        ("batching: {text: {minWorkers: 3, maxWorkers: 2}}", "1: batching.text: minWorkers is more than maxWorkers"),
    ],
)
def test_a_fault_is_one_line_with_what_is_allowed(file: Any, text: str, said: str) -> None:
    (line,) = faults(file(text))
    assert line.startswith(said)


def test_every_fault_is_told_in_the_order_of_the_lines(file: Any) -> None:
    found = faults(file("up: {x: 1}\ngateway:\n  max_inputs: a\n  timeout_s: b\n"))
    assert [line.partition(":")[0] for line in found] == ["1", "3", "4"]


def test_empty_sections_and_files_say_nothing(file: Any) -> None:
    assert load(file("")).variables == {}
    assert load(file("gateway:\nbatching:\n  text:\nmodels:\n")).variables == {}


def plain(value: Any) -> Any:
    """A default as YAML has it."""
    return json.loads(json.dumps(value, default=lambda each: list(each) if isinstance(each, tuple) else str(each)))


def test_every_default_can_be_written_into_the_file_and_reaches_its_part(file: Any) -> None:
    sections: dict[str, dict[str, Any]] = {}
    for key in keys().values():
        default = key.field.get_default(call_default_factory=True, validated_data={})
        if not key.secret and default is not None:
            sections.setdefault(key.section, {})[key.name] = plain(default)
    loaded = load(file(yaml.safe_dump(sections)))
    os.environ.update(loaded.variables)
    for settings in PARTS.values():
        given: dict[str, Any] = {"host": "127.0.0.1"} if settings is GatewaySettings else {}
        for name, value in settings(**given):
            assert value == settings.model_fields[name].get_default(call_default_factory=True, validated_data={}), name
    assert HandlerSettings.from_env() == HandlerSettings()


def test_lists_and_maps_reach_the_parts(file: Any, tmp_path: Path) -> None:
    text = (
        f"gateway:\n  fetch_ports: [80, 8080]\n  fetch_hosts: ['*.a.org', b.org]\n  ingest_roots: {{p: {tmp_path}}}\n"
    )
    os.environ.update(load(file(text)).variables)
    settings = GatewaySettings()
    assert settings.fetch_ports == (80, 8080)
    assert settings.fetch_hosts == ("*.a.org", "b.org")
    assert settings.ingest_roots == {"p": tmp_path}


@given(st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_survive_as_text(value: float) -> None:
    assert json.loads(as_text(value)) == value


def test_no_setting_is_left_out() -> None:
    """Each is a key, or the file says what to write instead."""
    from scripts.config.keys import advice

    taken = {(key.part, key.setting) for key in keys().values()}
    for part, settings in PARTS.items():
        for name in settings.model_fields:
            assert (part, name) in taken or advice(part, name) or name == "config", (part, name)


def test_secrets_come_from_files_of_their_own(file: Any, tmp_path: Path) -> None:
    secret = tmp_path / "keys"
    secret.write_text("one\ntwo\n", encoding="utf-8")
    secret.chmod(0o644)
    path = file(f"gateway: {{api_keys_file: {secret}}}\n")
    loaded = load(path)
    assert loaded.variables["CLIPSERVE_GATEWAY_API_KEYS"] == "one,two"
    assert loaded.notices == (f"{path}:1: gateway.api_keys_file: other users can read that file: `chmod 600` it",)
    secret.chmod(0o600)
    assert load(path).notices == ()
    shown = json.dumps(layers.as_json(load(path)))
    assert "one" not in shown
    assert "**********" in shown


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "can't be read: No such file"),
        ("", "must hold the secret"),
        ("a b", "must hold the secret"),
        (b"\xff", "is not UTF-8"),
    ],
)
def test_a_secret_that_is_none(file: Any, tmp_path: Path, content: Any, said: str) -> None:
    secret = tmp_path / "token"
    if content is not None:
        secret.write_bytes(content if isinstance(content, bytes) else content.encode())
    (line,) = faults(file(f"handlers:\n  admin_token_file: {secret}\n"))
    assert line.startswith("2: handlers.admin_token_file: that file ")
    assert said in line


def up(monkeypatch: pytest.MonkeyPatch, *arguments: str, **variables: str) -> tuple[UpSettings, Asked]:
    """What `clipserve up` would run with."""
    seen: list[Any] = []
    monkeypatch.setattr(scripts.stack.lifecycle, "run", lambda settings, _, asked: seen.extend([settings, asked]) or 0)
    for name, value in variables.items():
        os.environ[name] = value
    done = CliRunner().invoke(app, ["up", *arguments])
    assert done.exit_code == 0, done.output
    return seen[0], seen[1]


LAYERED = """
models: [{name: vit-b-32, precision: fp32, batching: {text: {batchSize: 4}}}, {name: small, source: demo}]
optimisation: {precision: bf16, compile: no}
batching: {text: {batchSize: 8, maxBatchDelay: 2}, image: {minWorkers: 2}}
gateway: {max_inputs: 11}
up: {gateway_port: 8123, demo: no}
logging: {level: DEBUG}
"""
OF_ALL = {"text": {"batchSize": 8, "maxBatchDelay": 2}, "image": {"minWorkers": 2}}
OF_FIRST = {"text": {"batchSize": 4, "maxBatchDelay": 2}, "image": {"minWorkers": 2}}


def test_options_win_over_the_environment_and_that_over_the_file(monkeypatch: pytest.MonkeyPatch, file: Any) -> None:
    path = str(file(LAYERED))
    variables = {"CLIPSERVE_LOG_LEVEL": "ERROR", "CLIPSERVE_GATEWAY_MAX_INPUTS": "12", "CLIPSERVE_INDEX_PORT": "7"}
    settings, _ = up(monkeypatch, "--gateway-port", "9", "--config", path, **variables)
    assert (settings.gateway_port, settings.log_level, settings.demo, settings.index_port) == (9, "ERROR", False, 7)
    assert GatewaySettings(host="127.0.0.1").max_inputs == 12


def test_the_file_is_named_by_the_environment_too(monkeypatch: pytest.MonkeyPatch, file: Any) -> None:
    settings, _ = up(monkeypatch, CLIPSERVE_CONFIG=str(file(LAYERED)))
    assert (settings.gateway_port, settings.log_level) == (8123, "DEBUG")
    assert GatewaySettings(host="127.0.0.1").max_inputs == 11


def test_models_of_the_file(monkeypatch: pytest.MonkeyPatch, file: Any) -> None:
    _, asked = up(monkeypatch, "--config", str(file(LAYERED)))
    assert asked == Asked(
        [
            AskedModel("vit-b-32", None, {"name": "vit-b-32", "precision": "fp32", "compile": False}, OF_FIRST),
            AskedModel("demo", None, {"name": "small", "precision": "bf16", "compile": False}, OF_ALL),
        ],
        OF_ALL,
    )


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [(("--model", "demo"), {}), ((), {"CLIPSERVE_MODEL": "demo"})],
    ids=["option", "variable"],
)
def test_other_models_take_nothing_of_the_file_s(
    monkeypatch: pytest.MonkeyPatch, file: Any, arguments: tuple[str, ...], variables: dict[str, str]
) -> None:
    _, asked = up(monkeypatch, "--config", str(file(LAYERED)), *arguments, **variables)
    given = {"precision": "bf16", "compile": False, "architecture": None, "tokenizer": None, "name": None}
    assert asked == Asked([AskedModel("demo", None, given)], OF_ALL)


def test_a_file_may_ask_for_no_model(monkeypatch: pytest.MonkeyPatch, file: Any) -> None:
    assert up(monkeypatch, "--config", str(file("models: []")))[1].models == []
    assert [each.source for each in up(monkeypatch, "--config", str(file("models:")))[1].models] == ["demo"]


@pytest.mark.parametrize(
    ("arguments", "variables", "precisions"),
    [
        ((), {}, ["fp32", "bf16"]),
        (("--precision", "int8"), {}, ["int8", "int8"]),
        ((), {"CLIPSERVE_PRECISION": "fp16"}, ["fp16", "fp16"]),
    ],
)
def test_the_precision_of_models(
    monkeypatch: pytest.MonkeyPatch,
    file: Any,
    arguments: tuple[str, ...],
    variables: dict[str, str],
    precisions: list[str],
) -> None:
    _, asked = up(monkeypatch, "--config", str(file(LAYERED)), *arguments, **variables)
    assert [each.given["precision"] for each in asked.models] == precisions


def test_weights_of_the_command_line_are_the_first_model_s(
    monkeypatch: pytest.MonkeyPatch, file: Any, tmp_path: Path
) -> None:
    words = ("--checkpoint", str(tmp_path), "--architecture", "ViT-B-32", "--tokenizer", str(tmp_path))
    _, asked = up(monkeypatch, "--config", str(file(LAYERED)), *words, "--model-name", "own")
    assert [each.checkpoint for each in asked.models] == [tmp_path, None]
    first, second = (each.given for each in asked.models)
    assert (first["name"], first["architecture"], first["tokenizer"]) == ("own", "ViT-B-32", tmp_path)
    assert (second["name"], second.get("architecture"), second.get("tokenizer")) == ("small", None, None)


def test_weights_of_the_file(monkeypatch: pytest.MonkeyPatch, file: Any, tmp_path: Path) -> None:
    told = f"{{source: {tmp_path}, name: own, architecture: ViT-B-32, tokenizer: {tmp_path}, checkpoint: {tmp_path}}}"
    _, asked = up(monkeypatch, "--config", str(file(f"models: [{told}]")))
    given = {"name": "own", "architecture": "ViT-B-32", "tokenizer": str(tmp_path)}
    assert asked.models == [AskedModel(str(tmp_path), tmp_path, {"precision": None, "compile": None, **given}, {})]


def test_a_file_with_faults_stops_up_before_anything_starts(file: Any) -> None:
    done = CliRunner().invoke(app, ["up", "--config", str(file("gateway: {max_inputs: a, timeout_s: b}"))])
    assert done.exit_code == 2
    assert [line.startswith("error ") for line in done.stderr.splitlines()] == [True, True]


def test_show_says_where_each_value_comes_from(file: Any) -> None:
    path = file(LAYERED)
    os.environ["CLIPSERVE_GATEWAY_TIMEOUT_S"] = "5"
    done = CliRunner().invoke(app, ["config", "show", "--config", str(path), "--changed"])
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert lines["gateway.max_inputs"].endswith(f"11  ({path}:5)")
    assert lines["gateway.timeout_s"].endswith("5.0  (CLIPSERVE_GATEWAY_TIMEOUT_S)")
    assert lines["batching.text.batchSize"].endswith(f"8  ({path}:4)")
    assert "gateway.max_items" not in lines
    told = json.loads(CliRunner().invoke(app, ["config", "show", "--config", str(path), "--json"]).stdout)
    assert told["gateway"]["max_inputs"] == {"value": 11, "source": "file", "where": f"{path}:5"}
    assert told["gateway"]["max_items"] == {"value": 1000, "source": "default", "where": None}
    assert told["models"]["value"][0]["source"] == "vit-b-32"


def test_show_refuses_layers_that_make_no_sense_together(file: Any) -> None:
    os.environ["CLIPSERVE_INFERENCE_PORT"] = "8123"
    done = CliRunner().invoke(app, ["config", "show", "--config", str(file(LAYERED))])
    assert done.exit_code == 1
    assert "--gateway-port and --inference-port are both 8123" in done.stderr


def test_check(file: Any) -> None:
    assert CliRunner().invoke(app, ["config", "check", str(file(LAYERED))]).exit_code == 0
    done = CliRunner().invoke(app, ["config", "check", str(file("up: {x: 1}\ngateway: {y: 1}\n"))])
    assert (done.exit_code, len(done.stderr.splitlines())) == (1, 2)


FAULTY = """models: [{name: a, source: demo, precision: fp12},
  {name: a, source: vit-b-32}]
optimisation: {precision: fp13}
gateway: {max_buffered_bytes: 5}
up: {host: 0.0.0.0}
"""


def test_check_names_all_faults_that_up_would_meet(file: Any) -> None:
    done = CliRunner().invoke(app, ["config", "check", str(file(FAULTY))])
    first, second, third, fourth = done.stderr.splitlines()
    assert "models[0].precision: is one of fp32, " in first
    assert "models[1]: two models are named 'a': name each once" in second
    assert "optimisation.precision: is one of fp32, " in third
    assert "max_buffered_bytes must hold" in fourth


def test_check_refuses_an_address_without_keys_in_the_gateway_s_words(file: Any, tmp_path: Path) -> None:
    path = str(file(f"up: {{host: 0.0.0.0, data_dir: {tmp_path}}}\n"))
    done = CliRunner().invoke(app, ["config", "check", path])
    with pytest.raises(ValueError, match="reachable") as caught:
        GatewaySettings(host="0.0.0.0")
    assert done.exit_code == 1
    said = done.stderr.strip().partition("up.host: ")[2]
    assert said.startswith("host 0.0.0.0 is reachable from other machines")
    assert said in str(caught.value)
    (tmp_path / "keys.db").write_bytes(b"")
    assert CliRunner().invoke(app, ["config", "check", path]).exit_code == 0
    (tmp_path / "keys.db").unlink()
    os.environ["CLIPSERVE_GATEWAY_API_KEYS"] = "k"
    assert CliRunner().invoke(app, ["config", "check", path]).exit_code == 0
    assert load(Path(path)).variables["CLIPSERVE_HOST"] == "0.0.0.0", "options of `up` may name keys"


def test_the_schema_takes_what_the_check_takes() -> None:
    schema = json.loads(CliRunner().invoke(app, ["config", "schema"]).stdout)
    assert schema == json_schema()
    validator = jsonschema_rs.validator_for(schema)
    assert validator.is_valid(yaml.safe_load(LAYERED))
    assert validator.is_valid(yaml.safe_load(EXAMPLE.read_text(encoding="utf-8")))
    for bad in ({"gateway": {"max_inputs": "a"}}, {"gatway": {}}, {"batching": {"text": {"batchSize": 0}}}):
        assert not validator.is_valid(bad)


def test_the_example_is_sound_and_says_what_holds_without_it() -> None:
    loaded = load(EXAMPLE)
    assert set(loaded.document.values) == set(json_schema()["properties"])
    for key, each in layers.layered(loaded).items():
        default = key.field.get_default(call_default_factory=True, validated_data={})
        assert each.source == "default" or each.value == plain(default), str(key)
    for kind, given_keys in loaded.batching.items():
        assert given_keys.items() <= endpoint_config(kind, Path("/nonexistent")).items()


def test_what_the_example_leaves_out_can_be_written() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    names = [
        line.split()[1].rstrip(":")
        for line in text.splitlines()
        if line.strip().startswith("# ") and ":" in line.split()[1]
    ]
    known = {key.name for key in keys().values()} | {
        "source",
        "checkpoint",
        "architecture",
        "tokenizer",
        "precision",
        "batching",
        "yaml-language-server",
    }
    assert set(names) <= known
