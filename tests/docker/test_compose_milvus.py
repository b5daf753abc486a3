"""docker/compose.milvus.yaml: index services that keep nothing, laid over docker/compose.yaml."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.settings_table import rows

FOLDER = Path(__file__).resolve().parents[2] / "docker"
FILE = FOLDER / "compose.milvus.yaml"


def test_its_settings_exist_and_agree_with_several_replicas() -> None:
    given = yaml.safe_load(FILE.read_text(encoding="utf-8"))["services"]["index"]["environment"]
    assert set(given) <= {name for name, *_ in rows()}
    assert (given["CLIPSERVE_INDEX_STORE"], given["CLIPSERVE_INDEX_MILVUS_CONSISTENCY"]) == ("milvus", "strong")
    assert given["CLIPSERVE_INDEX_DATA_DIR"].startswith("/tmp/")


def test_laid_over_the_stack_the_index_writes_to_memory_and_asks_the_profiles_milvus(tmp_path: Path) -> None:
    compose = shutil.which("docker-compose")
    if compose is None:
        pytest.skip("docker-compose is not installed")
    (tmp_path / "keys").write_text("secret")
    keys = {name: str(tmp_path / "keys") for name in ("CLIPSERVE_KEYS_FILE", "CLIPSERVE_METRICS_KEY_FILE")}
    command = [compose, "--file", str(FOLDER / "compose.yaml"), "--file", str(FILE), "config"]
    done = subprocess.run(command, env={**os.environ, **keys}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    services: dict[str, Any] = yaml.safe_load(done.stdout)["services"]
    index = services["index"]
    assert index["environment"]["CLIPSERVE_INDEX_MILVUS_URI"] == "http://milvus:19530"
    assert index["environment"]["CLIPSERVE_INDEX_ALLOWED_HOSTS"] == "index"
    assert index["build"]["args"]["INDEX_LOCK"] == "index-milvus.lock"
    assert (FOLDER.parent / "requirements" / index["build"]["args"]["INDEX_LOCK"]).is_file()
    assert "/tmp" in index["tmpfs"]
    assert not {"ports", "container_name"} & set(index)  # so that it can be scaled
