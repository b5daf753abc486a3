"""Where models and archives lie, and the settings of their endpoints."""

from __future__ import annotations

import dataclasses
import difflib
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from clip_core.endpoint_config import EndpointConfig
from clip_core.errors import BadModel
from clip_core.old_names.table import OLD_ENDPOINT_KEYS
from clip_core.old_names.taking import old_names, with_new_names

ROOT = Path(__file__).resolve().parents[2]
_IN_CHECKOUT = (ROOT / "archive" / "common").is_dir()
DATA = ROOT if _IN_CHECKOUT else Path(sys.prefix) / "share" / "clipserve"  # where a wheel puts it
ARCHIVE_DIR = DATA / "archive"
_OURS = {each.name for each in dataclasses.fields(EndpointConfig)}
_log = logging.getLogger("clipserve")
MODEL_STORE = ROOT / "model_store" if _IN_CHECKOUT else Path("model_store")


def models() -> list[str]:
    """The models that have a spec under archive/."""
    return sorted(path.parent.name for path in ARCHIVE_DIR.glob("*/model.yaml"))


def endpoint_config(kind: str, directory: Path | None) -> dict[str, Any]:
    """archive/common/<kind>.yaml with the model's own keys over it, where it has a folder. Raises BadModel."""
    merged: dict[str, Any] = {}
    for path in (folder / f"{kind}.yaml" for folder in (ARCHIVE_DIR / "common", directory) if folder):
        if path.exists():
            merged |= _endpoint_keys(path, merged)
    return merged


def _endpoint_keys(path: Path, common: Mapping[str, Any]) -> dict[str, Any]:
    """A worker would not start with a wrong value, and would not see a misspelt key. TorchServe has keys of its own."""
    try:
        own = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BadModel(f"{path} can't be read: {error}") from error
    if not isinstance(own, dict):
        raise BadModel(f"{path}: keys and their values, such as `batchSize: 64`")
    for line in old_names(map(str, own), OLD_ENDPOINT_KEYS):
        _log.warning("%s: %s", path, line)
    given, own = own, with_new_names(own, OLD_ENDPOINT_KEYS)
    known = {*common, *_OURS}
    for key in own.keys() - known:
        if alike := difflib.get_close_matches(str(key), known, 1, 0.8):
            raise BadModel(f"{path}: {key} is no key; did you mean {alike[0]}?")
    try:
        EndpointConfig.taken(given)
    except ValueError as error:
        raise BadModel(f"{path}: {str(error).removeprefix('model-config.yaml: ')}") from error
    return own
