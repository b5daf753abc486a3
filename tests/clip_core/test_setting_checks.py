"""Checks of settings that both services share."""

from __future__ import annotations

import pytest

from clip_core.setting_checks import bounded, comma_separated, host_names, unknown_names


def test_lists_are_split_at_commas():
    assert comma_separated(" a, ,b") == ("a", "b")
    assert comma_separated(("a",)) == ("a",)


@pytest.mark.parametrize("value", [1e8, float("nan"), 2**54, "a\x00"])
def test_values_that_timers_and_files_cannot_hold(value):
    with pytest.raises(ValueError, match=r"must|too large"):
        bounded(value)


def test_host_names():
    host_names(("search.lan", "*.home", "*", "[::1]"), "advice")
    with pytest.raises(ValueError, match="is no host: write a name"):
        host_names(("http://search.lan",), "write a name")


def test_an_unknown_name_gets_the_nearest_known_one():
    assert unknown_names(["X_PROT", "X_PORT", "Y_PORT"], "X_", ["port"]) == [
        "X_PROT is no setting; did you mean X_PORT?"
    ]
