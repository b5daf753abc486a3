"""What the images of the gateway and the index service install is all that these import, and it is no torch."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"gateway": ("gateway", "scaler"), "index": ("index_service",)}
OURS = {path.parent.name for path in ROOT.glob("*/__init__.py")}
_IMPORT_ALL = """
import importlib, json, pkgutil, sys
packages, *blocked = sys.argv[1:]
sys.modules.update(dict.fromkeys(blocked))  # to import one of these is an ImportError
for package in packages.split(","):
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        importlib.import_module(module.name)
print(json.dumps(sorted(name for name in sys.modules if "." not in name)))
"""


def normal(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


def locked(group: str) -> set[str]:
    text = (ROOT / "requirements" / f"{group}.lock").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE))


@cache
def loaded(group: str) -> frozenset[str]:
    """Modules, once all of a service's own are imported in a process that has the packages of its lock alone."""
    distributions = packages_distributions()
    others = {name for name, brings in distributions.items() if not {normal(each) for each in brings} & locked(group)}
    blocked = sorted(others - OURS - sys.stdlib_module_names)
    command = [sys.executable, "-P", "-c", _IMPORT_ALL, ",".join(PACKAGES[group]), *blocked]
    done = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "torch" in blocked
    return frozenset(json.loads(done.stdout))


@pytest.mark.parametrize("group", PACKAGES)
def test_all_imports_are_in_the_lock(group: str) -> None:
    assert {"uvicorn", "numpy", "orjson"} <= loaded(group)


DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")


def stage(name: str) -> str:
    return DOCKERFILE.partition(f" AS {name}\n")[2].partition("\nFROM ")[0]


@pytest.mark.parametrize("group", PACKAGES)
def test_all_of_our_packages_that_it_imports_are_copied(group: str) -> None:
    copied = set(re.findall(r"^COPY (\w+) /opt/clipserve/app/\1$", stage(f"{group}-build"), re.MULTILINE))
    assert copied == OURS & loaded(group)


def test_an_image_for_gpus_with_the_lock_of_cpus_is_not_built() -> None:
    """The check of its stage, run with what is installed here, names the lock that it needs."""
    (code, lock) = re.findall(r"^RUN python3 -c '(.*INDEX_LOCK=(\S+)\.lock.*)'$", stage("index-cuda"), re.MULTILINE)[0]
    assert "faiss-gpu" in locked(lock)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    on_cpus = "faiss-cpu" in {normal(name) for name in packages_distributions()["faiss"]}
    assert (done.returncode, lock in done.stderr) == ((1, True) if on_cpus else (0, False))


def test_targets_and_build_arguments_of_the_page_exist() -> None:
    page = (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8").partition("## Images")[2].partition("\n## ")[0]
    targets, arguments = (
        {name for cell in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall("`(.+?)`", cell)}
        for table in page.split("| build argument |")
    )
    assert targets == {"gateway", "index", "index-cuda", "encoder", "encoder-cuda", "tools"}
    assert targets <= set(re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE))
    assert arguments == set(re.findall(r"^ARG (\w+)=", DOCKERFILE, re.MULTILINE))


def let_in() -> tuple[set[str], list[str]]:
    """What .dockerignore lets into a build at the top, and what it keeps out again."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    return {line[1:] for line in lines if line.startswith("!")}, [line for line in lines if line[:1] not in "!#"]


def test_all_that_our_package_holds_is_let_into_a_build() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = text.partition("[tool.setuptools.data-files]")[2].partition("\n[")[0]
    data = {path.partition("/")[0] for line in section.splitlines()[1:] for path in re.findall(r'"([^"]+)"', line)[1:]}
    assert "metrics.yaml" in data
    assert data | (OURS - {"tests", "benchmarks"}) | {"LICENSE", "pyproject.toml", "README.md"} <= let_in()[0]


def test_no_secret_is_let_into_a_build() -> None:
    assert "docker/secrets" in let_in()[1]
    assert "docker/secrets/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
