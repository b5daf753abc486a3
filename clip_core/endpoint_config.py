"""The settings of one endpoint, from its archive's `model-config.yaml`."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any

from clip_core.cores import available_cores, share
from clip_core.old_names.table import OLD_ENDPOINT_KEYS
from clip_core.old_names.taking import old_names, told_as, with_new_names

_log = logging.getLogger("clipserve.handler")


def _key(default: Any, description: str, *, least: int = 1, choices: tuple[str, ...] = ()) -> Any:
    """A key with its least value, or its choices."""
    return field(default=default, metadata={"description": description, "least": least, "choices": choices})


@dataclass(frozen=True)
class EndpointConfig:
    """Our keys in an endpoint's `model-config.yaml`, beside those of TorchServe."""

    threads: int = _key(1, "torch threads of one worker; 0: the machine's cores divided by `maxWorkers`", least=0)
    max_inputs: int = _key(256, "inputs that one request may carry")
    max_batch: int = _key(64, "items in one forward pass; a larger batch is split")
    max_image_pixels: int = _key(64_000_000, "pixels of an image before it is refused undecoded")
    pass_overhead_tokens: int = _key(48, "fixed cost of a forward pass of texts, in tokens", least=0)
    decode_threads: int = _key(0, "threads that decode a batch's pictures; 0: as many as `threads`", least=0)
    jpeg_draft: bool = _key(False, "decode large JPEGs at a fraction of their size: faster, other pixels")
    jpeg_draft_margin: int = _key(
        1, "how many times the tower's size a draft has at least: more pixels, nearer to the picture decoded whole"
    )
    jpeg_draft_floor: float = _key(
        0.99, "least cosine of a canary decoded so to the same decoded whole; below it a worker stays down", least=0
    )
    max_text_chars: int = _key(1_000_000, "characters of a text before it is refused")
    cache_bytes: int = _key(32 << 20, "memory of one worker for vectors it has computed; 0 keeps none", least=0)
    cache_ttl_s: float = _key(0.0, "seconds that a computed vector is kept; 0 sets no end", least=0)
    cache_policy: str = _key(
        "lru",
        "what leaves a full cache: the least recently (lru) or least frequently (lfu) used",
        choices=("lru", "lfu"),
    )

    caption_max_sequences: int = _key(
        48, "sequences that a captioner has under way at once: a beam search of six beams has two"
    )
    caption_max_waiting: int = _key(
        64, "captions that wait for a place behind them; more are refused with 429", least=0
    )
    caption_speculative_decoding: bool = _key(
        True, "speculative decoding with the drafts that requests bring, where a captioner gains by it"
    )
    caption_method: str = _key(
        "beam", "how a captioner captions where a request does not say", choices=("beam", "greedy")
    )
    caption_kv_cache: str = _key(
        "growing",
        "layout of a captioner's KV cache (docs/kv-caches.md)",
        choices=("growing", "request", "static-rows", "static-tokens", "paged"),
    )
    caption_kv_cache_block_size: int = _key(4, "tokens of a block of the `paged` KV cache: at most the model's context")
    caption_kv_cache_bytes: int = _key(
        0, "bytes of the KV cache; captions beyond it wait, and the youngest give way. 0 sets no bound", least=0
    )
    caption_weight_absorption: bool = _key(
        False,
        "keep a picture's tokens, not keys and values of every layer, whose projections are absorbed by queries and "
        "outputs: much less memory, dearer steps",
    )
    caption_call_tokens: int = _key(
        4, "most tokens of each caption that one call of TorchServe's continuous batching makes"
    )
    caption_image_cache_bytes: int = _key(
        64 << 20, "memory for encoded pictures that a captioner scored texts for; 0 keeps none", least=0
    )

    @classmethod
    def parse(cls, config: Mapping[str, Any] | None) -> EndpointConfig:
        """Take our keys from TorchServe's YAML. Raises ValueError that names the key."""
        for line in old_names(config or (), OLD_ENDPOINT_KEYS):
            _log.warning("model-config.yaml: %s", line)
        return cls.taken(config or {})

    @classmethod
    def taken(cls, config: Mapping[str, Any]) -> EndpointConfig:
        """The same without a line on old names."""
        given = with_new_names(config, OLD_ENDPOINT_KEYS)
        old = {new: old for old, new in OLD_ENDPOINT_KEYS.items() if old in config and new not in config}
        shown = {f.name: told_as(f.name, old[f.name]) if f.name in old else f.name for f in fields(cls)}
        parsed = cls(**{f.name: _checked(f, shown[f.name], given[f.name]) for f in fields(cls) if f.name in given})
        workers = given.get("maxWorkers", 1)
        return replace(parsed, threads=parsed.threads or share(available_cores(), workers))


def _checked(setting: Field[Any], shown: str, value: Any) -> Any:
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
        raise ValueError(f"model-config.yaml: {shown} is {takes}, not {json.dumps(value, default=str)}")
    return kind(value)
