from __future__ import annotations

import pytest

from clip_core.settings import EndpointConfig, HandlerSettings


def test_the_environment_is_typed() -> None:
    environ = {
        "CLIPSERVE_HANDLER_INDEX_URL": "http://index:1",
        "CLIPSERVE_HANDLER_INDEX_TIMEOUT_S": "2.5",
        "CLIPSERVE_HANDLER_LOG_JSON": "true",
    }
    assert HandlerSettings.from_env(environ) == HandlerSettings("http://index:1", 2.5, True, "INFO")
    assert HandlerSettings.from_env({}) == HandlerSettings()


@pytest.mark.parametrize(("name", "value"), [("INDEX_TIMEOUT_S", "soon"), ("LOG_JSON", "maybe")])
def test_a_wrong_value_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"CLIPSERVE_HANDLER_{name}"):
        HandlerSettings.from_env({f"CLIPSERVE_HANDLER_{name}": value})


def test_torchserves_own_keys_are_left_alone() -> None:
    assert EndpointConfig.parse({"batchSize": 8, "threads": 2}) == EndpointConfig(threads=2)
    assert EndpointConfig.parse(None) == EndpointConfig()
