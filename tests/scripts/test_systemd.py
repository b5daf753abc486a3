"""The systemd unit fits the settings of `clipserve up`."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

from scripts.stack.up_settings import UpSettings

UNIT = Path(__file__).resolve().parents[2] / "scripts" / "systemd" / "clipserve.service"


def read() -> dict[str, list[str]]:
    """Key → its values; keys may be given more than once."""
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


def test_it_is_an_ini_file() -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read(UNIT)
    assert parser.sections() == ["Unit", "Service", "Install"]


def test_systemd_waits_longer_than_up_does() -> None:
    assert float(read()["TimeoutStopSec"][0]) > UpSettings.model_fields["stop_timeout"].default + 5


def test_what_it_sets_are_settings() -> None:
    names = [value.partition("=")[0] for value in read()["Environment"]]
    ours = [name.removeprefix("CLIPSERVE_").lower() for name in names if name.startswith("CLIPSERVE_")]
    assert set(ours) <= set(UpSettings.model_fields)
    assert {"data_dir", "log_dir", "model_store"} <= set(ours)
