"""What the GPU's benchmark measures through TorchServe, here on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.bulk.served import served_rate
from tests.bulk.conftest import jpeg


@pytest.mark.full
@pytest.mark.e2e
def test_pictures_through_torchserve(archives: list[Path], tmp_path: Path) -> None:
    archive = next(path for path in archives if path.name == "clip_image.mar")
    assert served_rate(archive, tmp_path, [jpeg(at) for at in range(40)], 2.0) > 0
