"""Write docs/settings.md from the code: every environment variable and every YAML key, in one table.

python -m scripts.settings_table
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic_settings import BaseSettings

from clip_core.endpoint_config import EndpointConfig
from clip_core.settings import PREFIX, HandlerSettings
from gateway.settings import GatewaySettings
from index_service.settings import IndexSettings
from scripts.archive.model_source import ModelSource
from scripts.stack.up_settings import UpSettings

PATH = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
HEAD = """# Settings

After this page you know the name, place, default and meaning of every setting.

Environment variables describe a deployment, YAML files a model and its endpoints. `make docs` writes this page from the
code, and a test fails when the two differ.

TorchServe's own keys (`batchSize`, `maxBatchDelay`, `minWorkers`, …) stand beside ours in `archive/common/<kind>.yaml`,
which `archive/<model>/<kind>.yaml` may override; its frontend is set in `config.properties`.

| setting | where | default | what it does |
| --- | --- | --- | --- |
"""

Row = tuple[str, str, str, str]


def rows() -> Iterator[Row]:
    yield from _environment(UpSettings, "`clipserve up`")
    yield from _environment(GatewaySettings, "gateway")
    yield from _environment(IndexSettings, "index service")
    for field in dataclasses.fields(HandlerSettings):
        yield f"{PREFIX}{field.name.upper()}", "handlers", _show(field.default), field.metadata["description"]
    for field in dataclasses.fields(ModelSource):
        yield field.name, "`archive/<model>/model.yaml`", _show(field.default), field.metadata["description"]
    for field in dataclasses.fields(EndpointConfig):
        yield field.name, "`archive/…/<kind>.yaml`", _show(field.default), field.metadata["description"]


def _environment(settings: type[BaseSettings], where: str) -> Iterator[Row]:
    prefix = settings.model_config["env_prefix"]
    for name, field in settings.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        yield f"{prefix}{name.upper()}", where, _show(default), field.description or ""


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
    return HEAD + "".join(f"| `{name}` | {where} | {default} | {text} |\n" for name, where, default, text in rows())


if __name__ == "__main__":
    PATH.write_text(table(), encoding="utf-8")
