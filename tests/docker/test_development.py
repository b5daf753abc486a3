"""What editors and conda are told: files that parse, and names that exist."""

from __future__ import annotations

import importlib.util
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml

from benchmarks.ship.engine import PUBLIC_BASE

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
(HERE,) = re.findall("^HERE = (.+)$", MAKEFILE, re.MULTILINE)
NOT_FAST = re.findall(r'-m "(not slow[^"]+)"', MAKEFILE)[0].replace("$(HERE)", HERE)


@pytest.mark.parametrize("path", [*(ROOT / ".vscode").glob("*.json"), ROOT / ".devcontainer" / "devcontainer.json"])
def test_files_are_json(path: Path) -> None:
    assert json.loads(path.read_text(encoding="utf-8"))


def test_tasks_call_targets_that_exist() -> None:
    tasks = json.loads((ROOT / ".vscode" / "tasks.json").read_text(encoding="utf-8"))["tasks"]
    assert {task["command"].removeprefix("make ") for task in tasks} <= TARGETS


def test_launches_name_modules_that_exist() -> None:
    launches = json.loads((ROOT / ".vscode" / "launch.json").read_text(encoding="utf-8"))["configurations"]
    pycharm = [
        option.attrib["value"]
        for path in (ROOT / ".run").glob("*.run.xml")
        for option in ET.parse(path).iter("option")
        if option.attrib["name"] == "SCRIPT_NAME"
    ]
    modules = {launch["module"] for launch in launches} | set(pycharm)
    assert [name for name in modules if importlib.util.find_spec(name) is None] == []
    assert len(pycharm) == 4


def test_editors_run_the_fast_tests() -> None:
    settings = json.loads((ROOT / ".vscode" / "settings.json").read_text(encoding="utf-8"))
    assert settings["python.testing.pytestArgs"] == ["tests", "-m", NOT_FAST]
    assert (
        NOT_FAST
        in ET.parse(ROOT / ".run" / "tests.run.xml").findall(".//option[@name='PARAMETERS']")[0].attrib["value"]
    )


def test_conda_has_a_python_that_the_project_takes() -> None:
    listed = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    assert "python=3.11" in listed


@pytest.mark.parametrize("name", ["compose.dev.yaml", "compose.gpu.yaml", "compose.postgres.yaml"])
def test_further_compose_files_change_services_that_exist(name: str) -> None:
    main, further = (yaml.safe_load((ROOT / "docker" / each).read_text()) for each in ("compose.yaml", name))
    assert set(further["services"]) < set(main["services"])


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.dev"])
def test_the_base_is_one_digest(name: str) -> None:
    (base,) = re.findall("^ARG BASE_IMAGE=(.+)$", (ROOT / "docker" / name).read_text(encoding="utf-8"), re.MULTILINE)
    assert base == PUBLIC_BASE
    assert re.fullmatch(r"docker\.io/library/debian:bookworm-\d{8}-slim@sha256:[0-9a-f]{64}", base)


def test_the_dev_container_has_what_ci_installs() -> None:
    text = (ROOT / ".ci" / "run").read_text(encoding="utf-8").partition('step "make test"')[0]
    (programs,) = re.findall("^for program in (.+); do$", text, re.MULTILINE)
    installed = [*programs.split(), *re.findall(r"missing\+=\((\w+)\)", text)]
    assert "postgresql" in installed
    dev = (ROOT / "docker" / "Dockerfile.dev").read_text(encoding="utf-8").split()
    assert [name for name in installed if name not in dev] == []
