"""TorchServe's own worker code, silenced: its lines for a batch are printed no more, all others are."""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from clip_core.serving.torchserve_log_filter import UnreadMetric, silence_unread_lines

ROOT = Path(__file__).resolve().parent.parent.parent


def cache(path: Path) -> Any:
    """TorchServe's own, which leaves files open."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl

        metrics = MetricsCacheYamlImpl(config_file_path=str(path))
    metrics.initialize_cache()
    return metrics


def silenced(metrics: Any = None) -> tuple[logging.Logger, io.StringIO]:
    root, stream = logging.Logger("root"), io.StringIO()
    root.addHandler(logging.StreamHandler(stream))
    silence_unread_lines(SimpleNamespace(metrics=metrics), root)
    return root, stream


def test_the_line_of_each_batch_is_not_printed_and_others_are() -> None:
    root, stream = silenced()
    root.info("Backend received inference at: %d", 1)
    root.info("Torch worker started.")
    assert stream.getvalue() == "Torch worker started.\n"


def test_a_prediction_time_that_is_not_declared_is_not_written(caplog: pytest.LogCaptureFixture) -> None:
    metrics = cache(ROOT / "metrics.yaml")
    silenced(metrics)
    with caplog.at_level(logging.INFO):
        metrics.add_time("PredictionTime", 3.0)
        assert caplog.text == ""
        metrics.add_time("AnotherTime", 3.0)
    assert "AnotherTime" in caplog.text


def test_a_prediction_time_that_is_declared_is_written(tmp_path: Path) -> None:
    declared = {"name": "PredictionTime", "unit": "ms", "dimensions": ["ModelName", "Level"]}
    path = tmp_path / "metrics.yaml"
    path.write_text(yaml.safe_dump({"model_metrics": {"gauge": [declared]}}), encoding="utf-8")
    metrics = cache(path)
    silenced(metrics)
    (gauges,) = metrics.cache.values()
    assert not isinstance(gauges["PredictionTime"], UnreadMetric)
