"""A configuration in one form, so that equal models have equal fingerprints however their files are written.

open_clip's own files are in that form already: the fingerprints of models made of them stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PIXELS = ("mean", "std")
_SIZES = ("image_size", "patch_size")
_FALSE_IS_ABSENT = ("quick_gelu", "custom_text")
_FLOATS = ("timm_drop", "timm_drop_path")  # 0.0 in open_clip's files, where all other whole numbers are integers


def canonical_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """`model_cfg` and `preprocess_cfg`, the latter with all of its keys."""
    preprocess = config["preprocess_cfg"]
    return {
        **config,
        "model_cfg": canonical_model(config["model_cfg"]),
        "preprocess_cfg": {key: _preprocess(key, value) for key, value in preprocess.items()},
    }


def canonical_model(model: Mapping[str, Any]) -> dict[str, Any]:
    """`model_cfg`; open_clip takes no 512.0 where it means 512."""
    return _model({key: value for key, value in model.items() if not (key in _FALSE_IS_ABSENT and value is False)})


def _preprocess(key: str, value: Any) -> Any:
    """Three floats each; colours and sizes in whole numbers."""
    if key in _PIXELS:
        return [float(each) for each in (value if isinstance(value, list | tuple) else [value] * 3)]
    return _whole(value)


def _model(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _model_value(key, value) for key, value in values.items()}


def _model_value(key: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return _model(value)
    if key in _FLOATS:
        return None if value is None else float(value)
    whole = _whole(value)
    square = key in _SIZES and isinstance(whole, list) and len(whole) == 2 and whole[0] == whole[1]
    return whole[0] if square else whole


def _whole(value: Any) -> Any:
    """Floats without a fraction as integers."""
    if isinstance(value, list | tuple):
        return [_whole(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
