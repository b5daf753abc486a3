"""Writes held back at every replica: they share nothing but Milvus."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from clip_core.wire import encode_vector
from index_service.collection.registry import Registry
from index_service.milvus.catalogue.catalogue import MilvusCatalogue
from index_service.milvus.catalogue.holds import held_until
from index_service.milvus.schema import Names
from index_service.record.records import CollectionInfo
from index_service.settings import IndexSettings
from tests.index_service.helpers import http_of, unit_rows

pytestmark = pytest.mark.xdist_group("milvus")

ITEM = {"id": "a", "vector": encode_vector(unit_rows(1, 8)[0])}


@pytest.fixture
def settings(settings: IndexSettings) -> IndexSettings:
    return settings.model_copy(
        update={"milvus_refresh_interval_s": 0.1, "milvus_watermark_delay_s": 0.1, "milvus_consistency": "strong"}
    )


async def test_a_held_write_of_another_replica_goes_to_where_the_alias_leads(
    registry: Registry, replica: Callable[[], Registry], settings: IndexSettings, catalogue: MilvusCatalogue
) -> None:
    other = replica()
    for name in ("old", "new"):
        registry.create(CollectionInfo(name, "m", "f", 8, store="milvus"))
    registry.set_alias("live", "old")
    other.look_again("live")
    assert other._shared is not None
    other._shared.start()
    catalogue.start()
    async with http_of(settings, registry) as one, http_of(settings, other) as two:
        held = await one.put("/collections/old/hold", json={"seconds": 30})
        assert held.json()["known_s"] > 0
        writing = asyncio.create_task(two.post("/collections/live/items", json={"items": [ITEM]}))
        await asyncio.sleep(0.5)
        assert not writing.done()
        await one.put("/aliases/live", json={"collection": "new"})
        await asyncio.sleep(held.json()["known_s"])
        assert (await two.delete("/collections/old/hold")).json() == {"held": True}  # whichever a load balancer chose
        assert (await writing).status_code == 200
        for name, count in (("old", 0), ("new", 1)):
            assert (await one.get(f"/collections/{name}")).json()["count"] == count
        assert (await two.post("/collections/old/items", json={"items": [ITEM]})).status_code == 200
        assert (await one.put("/collections/old/hold", json={"seconds": 30, "owner": "me"})).status_code == 200
        assert (await two.put("/collections/old/hold", json={"seconds": 30, "owner": "you"})).status_code == 409
        assert (await two.put("/collections/old/hold", json={"seconds": 30, "owner": "me"})).status_code == 200
        assert (await one.delete("/collections/old")).status_code == 200  # its hold goes with it


def test_a_hold_ends_by_itself() -> None:
    names, now = Names("ours"), time.time()
    aliases = [names.hold(f"{round((now + 20) * 1e3)}-0123abcd"), names.alias("x"), "another"]
    assert abs(held_until(names, aliases) - now - 20) < 0.01
    assert held_until(names, aliases[1:]) == 0
