"""What else may be in a Milvus, or be asked of it: collections of others and of other versions, tokens that expire."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.lib.milvus_server import MilvusServer
from clip_core import secret_files
from clip_core.errors import Conflict, Unavailable
from clip_core.wire import encode_vector
from index_service.collection.registry import Registry
from index_service.metrics.metrics import IndexMetrics
from index_service.milvus import schema
from index_service.milvus.catalogue.catalogue import MilvusCatalogue
from index_service.milvus.catalogue.connect import shared_store
from index_service.milvus.catalogue.filling import LEASE_S, FillLease, new_name
from index_service.milvus.rpc import messages, wait_until
from index_service.record.records import CollectionInfo
from index_service.settings import IndexSettings
from tests.index_service.helpers import http_of, item, unit_rows
from tests.index_service.milvus.conftest import QUICK, needs_milvus

pytestmark = [pytest.mark.xdist_group("milvus")]

DIM = 8
ROWS = unit_rows(4, DIM)
INFO = CollectionInfo("c", "m", "f", DIM, store="milvus")


@pytest.fixture(params=["of another version", "of other dimensions"])
def stranger(
    request: pytest.FixtureRequest,
    settings: IndexSettings,
    catalogue: MilvusCatalogue,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[str]:
    """A collection with a name of ours that this version does not understand: its name in Milvus."""
    there, described = schema.Names(settings.milvus_prefix).collection("c"), INFO
    with monkeypatch.context() as patched:
        if request.param == "of another version":
            patched.setattr(schema, "SCHEMA_VERSION", 99)
        else:
            described = replace(INFO, dim=2 * DIM)
        text = schema.described(described)
        create = schema.create_request(there, INFO)
        about = messages("schema").CollectionSchema.FromString(create.schema)
        about.description = text
        create.schema = about.SerializeToString()
        catalogue._rpc.call("CreateCollection", create)
    yield there
    catalogue._maker.drop(there)


def test_a_stranger_is_neither_shown_nor_replaced(
    registry: Registry, catalogue: MilvusCatalogue, stranger: str
) -> None:
    catalogue.look()
    assert registry.all() == []
    assert b"clipserve_index_milvus_up 0.0" in IndexMetrics(registry).render()[0]
    with pytest.raises(Conflict):
        registry.create(INFO)
    answer = catalogue._rpc.call("ShowCollections", messages().ShowCollectionsRequest())
    assert stranger in answer.collection_names


def test_what_a_restore_left_behind_is_dropped_once_nobody_fills_it(
    catalogue: MilvusCatalogue, settings: IndexSettings
) -> None:
    names, long_ago = schema.Names(settings.milvus_prefix), round(1e3 * (time.time() - 2 * LEASE_S))
    left, filled, new = (names.hidden(f"{long_ago}-a"), names.hidden(f"{long_ago}-b"), new_name(names))
    for there in (left, filled, new):
        catalogue._maker.make(there, INFO)
    lease = FillLease(catalogue._rpc, names, filled)
    lease._until = 0.0
    lease.keep()
    catalogue.look()
    shown = catalogue._rpc.call("ShowCollections", messages().ShowCollectionsRequest()).collection_names
    assert {left, filled, new} & {*shown} == {filled, new}
    lease.end()
    for there in (filled, new):
        catalogue._maker.drop(there)


def test_one_that_can_not_be_loaded_hides_no_other(
    registry: Registry, catalogue: MilvusCatalogue, settings: IndexSettings
) -> None:
    for name in ("c", "d"):
        registry.create(replace(INFO, name=name))
    catalogue._rpc.call(
        "ReleaseCollection",
        messages().ReleaseCollectionRequest(collection_name=schema.Names(settings.milvus_prefix).collection("c")),
    )
    demanding = shared_store(settings.model_copy(update={"milvus_replicas": 3}))  # of a server with one node
    assert demanding is not None
    demanding.look()
    assert sorted(each.info.name for each in demanding.all()) == ["c", "d"]
    with pytest.raises(Unavailable):
        demanding.find("c").page("", 1)  # type: ignore[union-attr]
    assert demanding.find("d").page("", 1) == []  # type: ignore[union-attr]
    with pytest.raises(Unavailable):
        registry.get("c").page("", 1)
    catalogue.look()  # loads it again, for it was met
    wait_until(lambda: pages(registry), 20, "load it again")
    demanding.close()


def pages(registry: Registry) -> bool:
    with suppress(Unavailable):
        return registry.get("c").page("", 1) == []
    return False


async def test_what_no_field_holds_is_the_items_error(settings: IndexSettings, registry: Registry) -> None:
    """Where the settings allow more than Milvus does: the item is refused, and its neighbours are written."""
    wide = settings.model_copy(update={"max_metadata_bytes": 150_000})
    async with http_of(wide, registry) as client:
        await client.put("/collections/c", json={"model": "m", "fingerprint": "f", "dim": DIM})
        vector, large = encode_vector(ROWS[0]), {"x": "y" * 70_000}
        items = [{"id": "a", "vector": vector, "metadata": large}, {"id": "b", "vector": vector}]
        results = (await client.post("/collections/c/items", json={"items": items})).json()["results"]
        assert [result["status"] for result in results] == [413, 200]
        assert results[0]["error"]["param"] == "metadata"
        patched = await client.patch("/collections/c/items/b", json={"metadata": large})
        assert patched.status_code == 413
        assert (await client.get("/collections/c/items/b")).json()["metadata"] == {}


def changed(catalogue: MilvusCatalogue, old: str, new: str) -> None:
    """The password of root, as an administrator of Milvus changes it."""
    old, new = (base64.b64encode(text.encode()).decode() for text in (old, new))
    request = messages().UpdateCredentialRequest(username="root", oldPassword=old, newPassword=new)
    catalogue._rpc.call("UpdateCredential", request)


@pytest.mark.slow
def test_a_token_that_expires_is_read_again_from_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs_milvus()
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    monkeypatch.setattr(secret_files, "FOLDER", secrets)
    token = secrets / "clipserve_index_milvus_token"
    token.write_text("root:Milvus\n")
    (tmp_path / "milvus").mkdir()
    with MilvusServer(tmp_path / "milvus", {**QUICK, "common.security.authorizationEnabled": True}) as server:
        settings = IndexSettings(data_dir=tmp_path, milvus_uri=server.uri, milvus_watermark_delay_s=0)
        catalogue, other = shared_store(settings), shared_store(settings)
        assert catalogue is not None
        assert other is not None
        collection = catalogue.create(INFO)
        collection.upsert([item("a", ROWS[0])], ROWS[:1])
        changed(other, "Milvus", "renewed")
        token.write_text("root:wrong\n")
        with pytest.raises(Unavailable, match="does not take CLIPSERVE_INDEX_MILVUS_TOKEN"):
            collection.get("a")
        token.write_text("root:renewed\n")
        assert collection.get("a").id == "a"
        for each in (catalogue, other):
            each.close()
