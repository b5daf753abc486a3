from __future__ import annotations

import pytest

from clip_core.endpoint_config import EndpointConfig
from clip_core.settings import HandlerSettings


def test_the_environment_is_typed() -> None:
    environ = {
        "CLIPSERVE_HANDLER_INDEX_URL": "http://index:1",
        "CLIPSERVE_HANDLER_INDEX_TIMEOUT_S": "2.5",
        "CLIPSERVE_HANDLER_LOG_JSON": "true",
    }
    assert HandlerSettings.from_env(environ) == HandlerSettings(
        index_url="http://index:1", index_timeout_s=2.5, log_json=True
    )
    assert HandlerSettings.from_env({}) == HandlerSettings()


@pytest.mark.parametrize(("name", "value"), [("INDEX_TIMEOUT_S", "soon"), ("LOG_JSON", "maybe")])
def test_a_wrong_value_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"CLIPSERVE_HANDLER_{name}"):
        HandlerSettings.from_env({f"CLIPSERVE_HANDLER_{name}": value})


def test_torchserves_own_keys_are_left_alone() -> None:
    assert EndpointConfig.parse({"batchSize": 8, "threads": 2}) == EndpointConfig(threads=2)
    assert EndpointConfig.parse(None) == EndpointConfig()


def test_an_endpoints_keys_are_typed() -> None:
    config = EndpointConfig.parse({"cache_bytes": 0, "cache_ttl_s": 60, "cache_policy": "lfu"})
    assert (config.cache_bytes, config.cache_ttl_s, config.cache_policy) == (0, 60.0, "lfu")
    assert type(config.cache_ttl_s) is float


@pytest.mark.parametrize(
    ("key", "value", "takes"),
    [
        ("threads", -1, "a whole number of at least 0"),
        ("max_batch", True, "a whole number of at least 1"),
        ("max_inputs", 1.5, "a whole number of at least 1"),
        ("cache_bytes", -1, "a whole number of at least 0"),
        ("cache_bytes", "32 MiB", "a whole number of at least 0"),
        ("cache_ttl_s", -0.5, "a number of at least 0"),
        ("cache_ttl_s", float("nan"), "a number of at least 0"),
        ("cache_ttl_s", "never", "a number of at least 0"),
        ("cache_ttl_s", False, "a number of at least 0"),
        ("cache_policy", "fifo", "one of lru, lfu"),
        ("cache_policy", None, "one of lru, lfu"),
        ("cache_policy", ["lru"], "one of lru, lfu"),
    ],
)
def test_a_wrong_endpoint_key_says_what_it_takes(key: str, value: object, takes: str) -> None:
    with pytest.raises(ValueError, match=f"{key} is {takes}, not"):
        EndpointConfig.parse({key: value})
