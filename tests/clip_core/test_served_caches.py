"""The served captioner with another cache and a bound on its bytes: all are answered, and the same is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.clip_core.test_caption_handler import FakeTorchServe, body, expected, folder, started

__all__ = ["folder"]  # a fixture
BEAM: dict[str, Any] = {"method": "beam", "beams": 6, "groups": 1}
ALONE = 8192 + 6 * 6 * 4 * 1024  # a picture, and six rows of 24 tokens in blocks of four


def test_blocks_that_run_out_in_the_middle_of_beams_cost_time_and_no_answer(folder: Path) -> None:
    settings = {"caption_kv_cache": "paged", "caption_kv_cache_block_size": 4, "caption_kv_cache_bytes": ALONE}
    handler = started(folder, caption_max_sequences=24, caption_max_waiting=8, **settings)
    served = FakeTorchServe(handler, folder)
    counted: dict[str, float] = {}
    handler.metrics.add = lambda name, value, *_: counted.update({name: counted.get(name, 0) + value})  # type: ignore
    clients = [served.send(body(place, stream=place == 3, **({} if place == 3 else BEAM))) for place in range(5)]
    served.run()
    assert [client.status for client in clients] == [200] * 5
    for place, client in enumerate(clients):
        settings = {} if place == 3 else BEAM
        said = "".join(line.get("delta", "") for line in client.lines) if place == 3 else client.json["captions"][0]
        assert (said if isinstance(said, str) else said["text"]) == expected(handler, place, **settings)
    assert counted["clipserve_captions_preempted"] > 0
    assert handler.scheduler.cache_bytes == 0
    large = served.send(body(0, method="sample", n=24))
    served.run()
    assert large.status == 400
    assert str(ALONE) in large.json["error"]["message"]


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"caption_kv_cache": "ring"}, "caption_kv_cache is one of"),
        ({"caption_kv_cache_block_size": 0}, "caption_kv_cache_block_size is a whole number of at least 1"),
        (
            {"caption_kv_cache": "paged", "caption_kv_cache_block_size": 25},
            "caption_kv_cache_block_size: 25 tokens are more than",
        ),
        ({"caption_kv_cache_bytes": -1}, "caption_kv_cache_bytes is a whole number"),
        ({"caption_kv_cache_bytes": 9000}, "caption_kv_cache_bytes"),
        ({"caption_kv_cache_bytes": 57_343}, "caption_kv_cache_bytes: 57343 do not hold one beam search.* 57344 do"),
        ({"caption_max_sequences": 1}, "caption_max_sequences: 1 is less than a beam search takes, which is 2"),
    ],
)
def test_nonsense_keeps_a_worker_down_and_says_why(folder: Path, config: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        started(folder, **config)


def test_an_absorbed_picture_is_served(folder: Path) -> None:
    handler = started(folder, caption_weight_absorption=True)
    served = FakeTorchServe(handler, folder)
    client = served.send(body(1))
    served.run()
    assert client.json["captions"][0]["text"] == expected(started(folder), 1)
    assert handler.scheduler.captioner.picture_bytes == 16 * 32 * 4
