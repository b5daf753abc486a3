"""Checks of settings that both services share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from clip_core.setting_checks import bounded, comma_separated, faults, host_names, unknown_names


def test_lists_are_split_at_commas():
    assert comma_separated(" a, ,b") == ("a", "b")
    assert comma_separated(("a",)) == ("a",)


@pytest.mark.parametrize("value", [1e8, float("nan"), 2**54, "a\x00", "a\nb", Path("a\x7f"), "a\u2028b", "\udcff"])
def test_values_that_timers_and_files_cannot_hold(value):
    with pytest.raises(ValueError, match=r"must|too large"):
        bounded(value)


@pytest.mark.parametrize("value", ["Mes\u00a0photos", Path("/srv/👩\u200d🚀"), "写真\u3000家族", "می\u200cخواهم"])
def test_names_that_people_give_folders(value):
    assert bounded(value) == value


def test_faults_are_one_line_with_the_names_that_the_user_knows():
    class Settings(BaseModel):
        port: int
        host: str

    with pytest.raises(ValidationError) as caught:
        Settings(port="x", host=None)  # type: ignore[arg-type]
    said = faults(caught.value, lambda field: f"X_{field.upper()}")
    assert said.startswith("X_PORT: Input should be a valid integer")
    assert "; X_HOST: " in said
    assert len(said.splitlines()) == 1


def test_host_names():
    host_names(("search.lan", "*.home", "*", "[::1]"), "advice")
    with pytest.raises(ValueError, match="is no host: write a name"):
        host_names(("http://search.lan",), "write a name")


def test_an_unknown_name_gets_the_nearest_known_one():
    assert unknown_names(["X_PROT", "X_PORT", "Y_PORT"], "X_", ["port"]) == [
        "X_PROT is no setting; did you mean X_PORT?"
    ]


@pytest.mark.parametrize("service", ["gateway", "index_service", "scaler"])
def test_a_service_takes_no_options_and_says_where_its_settings_are(service):
    asked = subprocess.run([sys.executable, "-m", service, "--help"], capture_output=True, text=True, check=True)
    assert "docs/settings.md" in asked.stdout
    refused = subprocess.run(
        [sys.executable, "-m", service, "--port", "1"], capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2
    assert "--port" in refused.stderr
