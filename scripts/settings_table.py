"""Write docs/settings.md from the code: every environment variable and every YAML key, in one table.

python -m scripts.settings_table
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic_settings import BaseSettings

from clip_core.settings import PREFIX, HandlerSettings
from gateway.settings import GatewaySettings
from index_service.settings import IndexSettings
from scaler.settings import ScalerSettings
from scripts.archive.model_source import ModelSource
from scripts.config.keys import keys
from scripts.config.schema import ENDPOINT_KEYS, MODEL_KEYS
from scripts.encoder import EncoderSettings
from scripts.stack.up_settings import UpSettings

PATH = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
HEAD = """# Settings

After this page you know the name, place, default and meaning of every setting.

Environment variables and the configuration file describe a deployment, the YAML files under `archive/` a model and its
endpoints. `make docs` writes this page from the code, and a test fails when the two differ.

`clipserve up --config FILE` reads settings from one YAML file; the column *in the file* names their keys.
[Running](running.md#the-configuration-file) tells how; `clipserve.example.yaml` is one to start from. A setting of the
gateway, the index service or the scaler may also be a file in `/run/secrets` with the variable's name in small letters;
the variable wins.

TorchServe's own keys (`batchSize`, `maxBatchDelay`, `minWorkers`, …) stand beside ours in `archive/common/<kind>.yaml`,
which `archive/<model>/<kind>.yaml` may override; its frontend is set in `config.properties`.

| setting | where | in the file | default | what it does |
| --- | --- | --- | --- | --- |
"""

Row = tuple[str, str, str, str, str]


def rows() -> Iterator[Row]:
    """Setting, where, key of the configuration file, default, meaning."""
    yield from _environment("up", UpSettings, "`clipserve up`")
    yield from _environment("up", EncoderSettings, "TorchServe alone", but=UpSettings.model_fields)
    yield from _environment("gateway", GatewaySettings, "gateway")
    yield from _environment("index", IndexSettings, "index service")
    yield from _environment("scaler", ScalerSettings, "scaler")
    for field in dataclasses.fields(HandlerSettings):
        key = _key("handlers", field.name)
        yield f"{PREFIX}{field.name.upper()}", "handlers", key, _show(field.default), field.metadata["description"]
    for name, text in MODEL_KEYS.items():
        yield f"models[].{name}", "configuration file", f"`models[].{name}`", "–", text
    for field in dataclasses.fields(ModelSource):
        yield field.name, "`archive/<model>/model.yaml`", "–", _show(field.default), field.metadata["description"]
    for name, (default, text) in ENDPOINT_KEYS.items():
        yield name, "`archive/…/<kind>.yaml`", f"`batching.<kind>.{name}`", _show(default), text


def _environment(part: str, settings: type[BaseSettings], where: str, but: Collection[str] = ()) -> Iterator[Row]:
    prefix = settings.model_config["env_prefix"]
    for name, field in settings.model_fields.items():
        if name in but:
            continue
        default = field.get_default(call_default_factory=True, validated_data={})
        yield f"{prefix}{name.upper()}", where, _key(part, name), _show(default), field.description or ""


def _key(part: str, setting: str) -> str:
    found = (key for key in keys().values() if (key.part, key.setting) == (part, setting))
    return next((f"`{key}`" for key in found), "–")


def _show(value: Any) -> str:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value is None or value in ("", {}, ()):
        return "–"
    text = (
        ", ".join(map(str, value))
        if isinstance(value, tuple)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )
    return f"`{text}`"


def table() -> str:
    return HEAD + "".join(f"| `{name}` | {' | '.join(others)} |\n" for name, *others in rows())


if __name__ == "__main__":
    PATH.write_text(table(), encoding="utf-8")
