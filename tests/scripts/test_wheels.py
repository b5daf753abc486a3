"""What the two wheels hold: every package, the page, the models' files."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

tomllib = pytest.importorskip("tomllib")  # from Python 3.11 on
ROOT = Path(__file__).resolve().parents[2]


def project(folder: Path) -> dict[str, object]:
    text = (folder / "pyproject.toml").read_text(encoding="utf-8")
    told: dict[str, object] = tomllib.loads(text)["tool"]["setuptools"]
    return told


def test_every_folder_of_the_client_is_in_its_wheel() -> None:
    folders = {path.parent for path in (ROOT / "clipserve_client").rglob("*.py") if "build" not in path.parts}
    assert project(ROOT / "clipserve_client")["packages"] == sorted(
        ".".join(folder.relative_to(ROOT).parts) for folder in folders
    )


def test_every_model_is_in_the_wheel() -> None:
    files = project(ROOT)["data-files"]
    assert isinstance(files, dict)
    folders = [folder for folder in (ROOT / "archive").iterdir() if folder.is_dir()]
    others = {
        "share/clipserve",
        "share/clipserve/archive/demo/captioner",
        "share/clipserve/monitoring",
        "share/clipserve/monitoring/grafana",
    }
    assert {f"share/clipserve/archive/{folder.name}" for folder in folders} | others == set(files)


@pytest.mark.slow
def test_the_command_runs_from_its_wheels_in_an_empty_folder(tmp_path: Path) -> None:
    source, place, empty = tmp_path / "source", tmp_path / "venv", tmp_path / "empty"
    left_out = shutil.ignore_patterns(".*", "build", "dist", "data", "logs", "*.mar", "*.egg-info", "tests")
    shutil.copytree(ROOT, source, ignore=left_out)
    empty.mkdir()
    pip = [sys.executable, "-m", "pip"]
    wheel = [*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path / "dist")]
    subprocess.run([*wheel, str(source), str(source / "clipserve_client")], check=True)
    wheels = sorted(map(str, (tmp_path / "dist").glob("*.whl")))
    assert len(wheels) == 2
    assert "clipserve_client/py.typed" in zipfile.ZipFile(wheels[1]).namelist()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    install = [*pip, "--python", str(place / "bin" / "python"), "install", "--quiet", "--no-deps"]
    subprocess.run([*install, *wheels], check=True)
    (own,) = place.glob("lib/python*/site-packages")
    (own / "others.pth").write_text(str(Path(pytest.__file__).parents[1]))  # the packages that ours need
    for words in (["--version"], ["--help"], ["archive", "list"]):
        command = [place / "bin" / "clipserve", *words]
        ran = subprocess.run(command, cwd=empty, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
    assert "vit-b-32" in ran.stdout
