"""What a deployment sets for the handlers through the environment. The only place in `clip_core` that reads it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

PREFIX = "CLIPSERVE_HANDLER_"


def _setting(default: Any, description: str) -> Any:
    return field(default=default, metadata={"description": description})


@dataclass(frozen=True)
class HandlerSettings:
    """Every field is the environment variable `CLIPSERVE_HANDLER_<NAME>`."""

    index_url: str = _setting("http://127.0.0.1:8090", "where the handlers find the index service")
    index_timeout_s: float = _setting(5.0, "seconds a handler waits for the index service")
    log_json: bool = _setting(False, "one JSON object a log line")
    log_level: str = _setting("INFO", "least level logged: DEBUG, INFO, WARNING, ERROR")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> HandlerSettings:
        """Raises ValueError that names the variable."""
        given = {f: environ[PREFIX + f.name.upper()] for f in fields(cls) if PREFIX + f.name.upper() in environ}
        return cls(**{f.name: _convert(PREFIX + f.name.upper(), text, type(f.default)) for f, text in given.items()})


def _convert(name: str, text: str, kind: type) -> Any:
    if kind is bool:
        if text.lower() not in ("true", "false", "1", "0"):
            raise ValueError(f"{name} is true or false, not {text!r}")
        return text.lower() in ("true", "1")
    try:
        return kind(text)
    except ValueError as error:
        raise ValueError(f"{name} is a {kind.__name__}, not {text!r}") from error


@dataclass(frozen=True)
class EndpointConfig:
    """Our keys in an endpoint's `model-config.yaml`, beside TorchServe's own."""

    threads: int = _setting(1, "torch threads of one worker")
    max_inputs: int = _setting(256, "inputs that one request may carry")
    max_batch: int = _setting(64, "items in one forward pass; a larger batch is split")
    max_image_pixels: int = _setting(64_000_000, "pixels of an image before it is refused undecoded")
    max_text_chars: int = _setting(1_000_000, "characters of a text before it is refused")

    @classmethod
    def parse(cls, config: Mapping[str, Any] | None) -> EndpointConfig:
        """Take our keys from TorchServe's YAML. Raises ValueError that names the key."""
        known = {f.name for f in fields(cls)}
        ours = {key: value for key, value in (config or {}).items() if key in known}
        for key, value in ours.items():
            if type(value) is not int or value < 1:
                raise ValueError(f"model-config.yaml: {key} is a whole number above 0, not {value!r}")
        return cls(**ours)
