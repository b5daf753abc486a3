"""What the parts of a stack are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.processes.preflight import StackStartError
from scripts.stack.parts import for_workers, image_roots, scaler_settings
from scripts.stack.up_settings import UpSettings


def test_folders_of_pictures_that_the_environment_names_are_shown_beside_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert image_roots(tmp_path) == f"demo={tmp_path}"
    monkeypatch.setenv("CLIPSERVE_GATEWAY_IMAGE_ROOTS", f"photos={tmp_path / 'photos'}")
    assert image_roots(tmp_path) == f"demo={tmp_path},photos={tmp_path / 'photos'}"


def test_a_gateway_before_several_workers_shares_later_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert for_workers(6) == {"AUTOSCALED": "workers", "COALESCE_MIN_IN_FLIGHT": "12"}
    monkeypatch.setenv("CLIPSERVE_GATEWAY_COALESCE_MIN_IN_FLIGHT", "3")
    assert for_workers(6) == {"AUTOSCALED": "workers"}


def test_bounds_of_the_scaler_that_contradict_each_other_stop_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPSERVE_SCALER_MIN_REPLICAS", "5")
    with pytest.raises(StackStartError, match="more than max_replicas"):
        scaler_settings()


def test_the_scalers_port_is_free_for_others_without_it() -> None:
    assert "scaler_port" not in UpSettings().ports
    assert UpSettings(scaler_port=9002, autoscale=True).ports["scaler_port"] == 9002
    UpSettings(scaler_port=8000)
    with pytest.raises(ValueError, match="are both 8000"):
        UpSettings(scaler_port=8000, autoscale=True)
