"""The documents say what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from clip_core.errors import ClipServeError, _tree
from clip_core.old_names.table import OLD_SETTINGS
from gateway.demand import Demand
from gateway.metrics import GatewayMetrics
from index_service.collection.registry import Registry
from index_service.metrics.metrics import IndexMetrics
from index_service.record.store import Store
from index_service.settings import IndexSettings
from scaler.__main__ import build
from scaler.metrics import ScalerMetrics
from scaler.settings import ScalerSettings
from scripts.archive.places import models
from scripts.cli import app
from scripts.processes.java_properties import read_properties
from scripts.settings_table import PATH, rows, table

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
COMMANDS = get_command(app)
_PLACE = r"`((?:clip_core|handlers|gateway|index_service|scripts|archive|tests)/[\w./-]*\.\w+)(?:::(\w+))?`"


def test_the_settings_table_is_the_code() -> None:
    assert PATH.read_text(encoding="utf-8") == table(), "run `make docs`"


def test_every_setting_is_explained() -> None:
    assert [name for name, *_, text in rows() if len(text) < 8] == []


def test_our_keys_in_the_endpoint_files_are_known() -> None:
    known = {name for name, where, *_ in rows() if "<kind>" in where}
    for path in (ROOT / "archive").glob("*/*.yaml"):
        if path.name != "model.yaml":
            assert set(yaml.safe_load(path.read_text())) <= known, path


def test_error_codes_are_documented() -> None:
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    assert [cls.code for cls in _tree(ClipServeError) if f"| `{cls.code}` | {cls.status} |" not in text] == []


def test_the_models_that_can_be_built_are_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in models() if f"`{name}`" not in readme] == []


def test_every_metric_of_ours_is_explained_and_no_other(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    declared = yaml.safe_load((ROOT / "metrics.yaml").read_text(encoding="utf-8"))["model_metrics"]
    workers = {metric["name"] for group in declared.values() for metric in group}
    assert set(re.findall(r"^\| `(clipserve_\w+)`", text, re.MULTILINE)) == workers | services_metrics(tmp_path)


def services_metrics(folder: Path) -> set[str]:
    """As Prometheus shows those of the gateway, the index service and the scaler, without the endings of histograms."""
    index = IndexMetrics(Registry(Store(folder / "index.sqlite3"), IndexSettings(data_dir=folder)))
    scaler = ScalerMetrics(build(ScalerSettings(data_dir=folder)))
    families = [*GatewayMetrics().registry.collect(), *Demand().collect(), *index.registry.collect(), *scaler.collect()]
    endings = {"counter": "_total", "info": "_info"}
    return {family.name + endings.get(family.type, "") for family in families}


def test_every_metric_that_a_worker_reports_is_declared() -> None:
    declared = (ROOT / "metrics.yaml").read_text(encoding="utf-8")
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "clip_core").rglob("*.py"))
    reported = set(re.findall(r'"(clipserve_[a-z_]+)"', code))
    assert len(reported) >= 16
    missing = [name for name in reported if f"name: {name}," not in declared]
    assert [name for name in missing if f"name: {name}_bucket," not in declared] == []


def test_torchserve_is_private() -> None:
    properties = read_properties(ROOT / "config.properties")
    for key in ("inference_address", "management_address", "metrics_address"):
        assert properties[key].startswith("http://127.0.0.1:")


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_a_page_begins_with_what_its_reader_can_do(path: Path) -> None:
    title, first, *_ = path.read_text(encoding="utf-8").split("\n\n")
    assert title.startswith("# ")
    assert first.startswith("After this page you ")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8")):
        target, _, anchor = link.partition("#")
        if not target.startswith("http"):
            page = path.parent / target if target else path
            assert page.exists(), link
            assert not anchor or anchor in anchors(page), link


def anchors(page: Path) -> list[str]:
    """As GitHub makes them of headings."""
    titles = re.findall(r"^#+ (.*)", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_settings_that_pages_name_exist(path: Path) -> None:
    known = {name for name, *_ in rows()} | {
        "CLIPSERVE_URL",
        "CLIPSERVE_API_KEY",
        "CLIPSERVE_GATEWAY_SLOW_S",
    }  # a client's, an example's
    known |= set(re.findall(r"\$\{(CLIPSERVE_\w+)", (ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8")))
    if path.name == "CHANGELOG.md":
        known |= {f"{prefix}{old.upper()}" for prefix, names in OLD_SETTINGS.items() for old in names}
    named = re.findall(r"\bCLIPSERVE_[A-Z0-9_]*[A-Z0-9]\b", path.read_text(encoding="utf-8"))
    assert set(named) <= known


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_commands_that_pages_name_exist(path: Path) -> None:
    words = r"[a-z]+(?:-[a-z]+)*"
    written = rf"(?:`|^\$ |^)clipserve ({words}(?: {words})*)"
    for line in re.findall(written, path.read_text(encoding="utf-8"), re.MULTILINE):
        command: Any = COMMANDS
        for word in line.split():
            if not hasattr(command, "commands"):
                break
            assert word in command.commands, f"clipserve {line}"
            command = command.commands[word]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_files_and_functions_exist(path: Path) -> None:
    """A place is written as `file.py` or `file.py::name`."""
    for file, name in re.findall(_PLACE, path.read_text(encoding="utf-8")):
        assert (ROOT / file).is_file(), f"{file} is not there"
        if name:
            code = (ROOT / file).read_text(encoding="utf-8")
            assert re.search(rf"^ *(?:async def|def|class) {name}\b", code, re.MULTILINE), f"{file} has no {name}"
