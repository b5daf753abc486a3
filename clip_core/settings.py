"""What a deployment sets for the handlers through the environment. The only place in `clip_core` that reads it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

PREFIX = "CLIPSERVE_HANDLER_"


def _setting(default: Any, description: str, *, least: int = 1, choices: tuple[str, ...] = ()) -> Any:
    """`least` and `choices` bound what an endpoint's YAML may say."""
    return field(default=default, metadata={"description": description, "least": least, "choices": choices})


@dataclass(frozen=True)
class HandlerSettings:
    """Every field is the environment variable `CLIPSERVE_HANDLER_<NAME>`."""

    index_url: str = _setting("http://127.0.0.1:8090", "where the handlers find the index service")
    index_timeout_s: float = _setting(5.0, "seconds a handler waits for the index service")
    cache: bool = _setting(True, "false turns every worker's embedding cache off, whatever its YAML says")
    cache_redis_url: str = _setting("", "a Redis that all workers share as second level of their caches; empty: none")
    cache_redis_timeout_s: float = _setting(
        0.05, "seconds a batch waits for that Redis; after a failure it is left out"
    )
    cache_redis_ttl_s: float = _setting(86400.0, "seconds that Redis keeps a vector")
    max_answer_bytes: int = _setting(
        16 << 20, "bytes of all answers of a batch; the largest beyond it get 413, or 429 where others took the room"
    )
    allow_web_pages: bool = _setting(False, "answer requests with an Origin header, which web pages send; else 403")
    admin_token: str = _setting("", "token of requests that clear a worker's cache; empty: there are none")
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

    threads: int = _setting(1, "torch threads of one worker; 0: the machine's cores divided by `maxWorkers`", least=0)
    max_inputs: int = _setting(256, "inputs that one request may carry")
    max_batch: int = _setting(64, "items in one forward pass; a larger batch is split")
    max_image_pixels: int = _setting(64_000_000, "pixels of an image before it is refused undecoded")
    pass_tokens: int = _setting(48, "what a forward pass of texts costs beside its tokens, in tokens", least=0)
    decode_threads: int = _setting(0, "threads that decode a batch's pictures; 0: as many as `threads`", least=0)
    jpeg_draft: bool = _setting(False, "decode large JPEGs at a fraction of their size: faster, other pixels")
    jpeg_draft_floor: float = _setting(
        0.99, "least cosine of a canary decoded so to the same decoded whole; below it a worker stays down", least=0
    )
    max_text_chars: int = _setting(1_000_000, "characters of a text before it is refused")
    cache_bytes: int = _setting(32 << 20, "memory of one worker for vectors it has computed; 0 keeps none", least=0)
    cache_ttl_s: float = _setting(0.0, "seconds that a computed vector is kept; 0 sets no end", least=0)
    cache_policy: str = _setting(
        "lru",
        "what leaves a full cache: the least recently (lru) or least frequently (lfu) used",
        choices=("lru", "lfu"),
    )

    @classmethod
    def parse(cls, config: Mapping[str, Any] | None) -> EndpointConfig:
        """Take our keys from TorchServe's YAML. Raises ValueError that names the key."""
        given = config or {}
        parsed = cls(**{f.name: _checked(f, given[f.name]) for f in fields(cls) if f.name in given})
        workers = given.get("maxWorkers", 1)
        return replace(parsed, threads=parsed.threads or share(available_cores(), workers))


def share(cores: int, workers: Any) -> int:
    """The threads of each of `workers` that together use no more than the cores, but one at least."""
    return max(1, cores // workers) if type(workers) is int and workers > 0 else cores


def available_cores(cgroup: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """The cores that this process may use: its affinity, and no more than its container's quota (cgroup v2)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = cgroup.read_text(encoding="ascii").split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):  # no cgroup v2, or the quota is "max"
        return cores


def _checked(setting: Field[Any], value: Any) -> Any:
    """`value` in the type of the setting's default. Raises ValueError that names the key and what it takes."""
    choices, least = setting.metadata["choices"], setting.metadata["least"]
    kind: Callable[[Any], Any] = type(setting.default)
    if choices:
        allowed, takes = value in choices, f"one of {', '.join(choices)}"
    elif kind is bool:
        allowed, takes = type(value) is bool, "true or false"
    elif kind is float:
        allowed = type(value) in (int, float) and least <= value < float("inf")
        takes = f"a number of at least {least}"
    else:
        allowed, takes = type(value) is int and value >= least, f"a whole number of at least {least}"
    if not allowed:
        raise ValueError(f"model-config.yaml: {setting.name} is {takes}, not {value!r}")
    return kind(value)
