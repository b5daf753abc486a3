"""What the parts of a stack are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.stack.parts import image_roots


def test_folders_of_pictures_that_the_environment_names_are_shown_beside_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert image_roots(tmp_path) == f"demo={tmp_path}"
    monkeypatch.setenv("CLIPSERVE_GATEWAY_IMAGE_ROOTS", f"photos={tmp_path / 'photos'}")
    assert image_roots(tmp_path) == f"demo={tmp_path},photos={tmp_path / 'photos'}"
