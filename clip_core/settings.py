"""The handlers' settings, read from the environment. Nothing else in `clip_core` reads it."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from clip_core.old_names.taking import as_given, old_variables, with_new_variables

PREFIX = "CLIPSERVE_HANDLER_"

_TAKES = {int: "whole number", float: "number", str: "text"}

_log = logging.getLogger("clipserve.handler")


def _setting(default: Any, description: str) -> Any:
    return field(default=default, metadata={"description": description})


@dataclass(frozen=True)
class HandlerSettings:
    """Every field is the environment variable `CLIPSERVE_HANDLER_<NAME>`."""

    index_url: str = _setting("http://127.0.0.1:8090", "where the handlers find the index service")
    index_timeout_s: float = _setting(5.0, "seconds a handler waits for the index service")
    cache: bool = _setting(True, "false turns every worker's embedding cache off, whatever its YAML says")
    cuda_graphs: bool = _setting(True, "false captures no CUDA graphs, whatever the archive says")
    cache_redis_url: str = _setting("", "a Redis that all workers share as second level of their caches; empty: none")
    cache_redis_timeout_s: float = _setting(
        0.05, "seconds a batch waits for that Redis; after a failure it is left out"
    )
    cache_redis_ttl_s: float = _setting(86400.0, "seconds that Redis keeps a vector")
    max_answer_bytes: int = _setting(
        16 << 20, "bytes of all answers of a batch; the largest beyond it get 413, or 429 where others took the room"
    )
    allow_cross_origin: bool = _setting(False, "answer requests with an Origin header, which web pages send; else 403")
    admin_token: str = _setting(
        "", "token of requests that clear a worker's cache or profile it; empty: they are refused"
    )
    metrics_interval_s: float = _setting(1.0, "seconds between two reports of a worker's counters to TorchServe")
    log_json: bool = _setting(False, "one JSON object a log line")
    log_level: str = _setting("INFO", "least level logged: DEBUG, INFO, WARNING, ERROR")
    log_interval_s: float = _setting(
        10.0, "seconds between two lines on the batches that went well; 0, like DEBUG, gives each batch a line"
    )
    log_slow_s: float = _setting(2.0, "a batch that takes more seconds has a line of its own")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> HandlerSettings:
        """Raises ValueError that names the variable."""
        for line in old_variables(name for name in environ if name.startswith(PREFIX)):
            _log.warning(line)
        values = with_new_variables(environ)
        given = {f: PREFIX + f.name.upper() for f in fields(cls) if PREFIX + f.name.upper() in values}
        return cls(**{f.name: _convert(as_given(v, environ), values[v], type(f.default)) for f, v in given.items()})


def _convert(name: str, text: str, kind: type) -> Any:
    if kind is bool:
        if text.lower() not in ("true", "false", "1", "0"):
            raise ValueError(f"{name} is true or false, not {text!r}")
        return text.lower() in ("true", "1")
    try:
        return kind(text)
    except ValueError as error:
        raise ValueError(f"{name} is a {_TAKES[kind]}, not {text!r}") from error
