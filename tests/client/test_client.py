"""Every call of `Client` and `AsyncClient` against the gateway, over HTTP."""

from __future__ import annotations

import io
from base64 import b64decode

import numpy as np
import pytest
from PIL import Image

from clipserve_client import AsyncClient, Client, Mix, NewItem, Picture, Query
from clipserve_client.errors import BadInput, FetchRefused, UnknownCollection, UnknownItem
from tests.client.conftest import QUICK
from tests.gateway.conftest import Stack
from tests.gateway.fakes import DIM, embed, picture, unit


def filled(client: Client, *words: str) -> None:
    client.create_collection("demo")
    results = client.add("demo", [NewItem(word, text=word, metadata={"word": word}) for word in words])
    assert all(result.ok for result in results)


def test_texts_and_pictures_are_embedded_in_their_order(client, tmp_path):
    (tmp_path / "dog.png").write_bytes(picture("dog"))
    answer = client.embed(["cat", picture("cat"), tmp_path / "dog.png", Picture(str(tmp_path / "dog.png")), "dog"])
    expected = [embed(word) for word in ("cat", "cat", "dog", "dog", "dog")]
    assert np.allclose(answer.vectors, expected, atol=1e-6)
    assert (answer.model, answer.truncated, answer.tokens) == ("demo", [False] * 5, 6)


def test_a_mix_is_one_vector(client):
    answer = client.embed([Mix(["cat", picture("dog")]), "cat"])
    assert np.allclose(answer.vectors[0], unit(embed("cat") + embed("dog")), atol=1e-6)
    assert np.allclose(answer.vectors[1], embed("cat"), atol=1e-6)


def test_a_url_goes_as_it_is(client):
    with pytest.raises(FetchRefused, match="fetching images by URL is off") as caught:
        client.embed([Picture("http://img.test/a.png")])
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "fetch_refused", "input[0]")
    assert caught.value.request_id


def test_pillow_pictures_are_sent_upright_and_without_loss(client, stack, monkeypatch):
    sent = []
    monkeypatch.setattr(type(stack.torchserve), "_vector", lambda _, item, __: (sent.append(item) or embed("x"), 0))
    sideways = Image.new("RGB", (2, 1), "red")
    sideways.putpixel((1, 0), (0, 0, 255))
    sideways.getexif()[0x0112] = 6
    client.embed([sideways, Image.new("CMYK", (3, 3))])
    upright, other = (Image.open(io.BytesIO(b64decode(item["image"]))) for item in sent if "image" in item)
    assert (upright.size, upright.getpixel((0, 0)), upright.getpixel((0, 1))) == ((1, 2), (255, 0, 0), (0, 0, 255))
    assert (other.size, other.mode) == ((3, 3), "RGB")


def test_many_inputs_go_in_several_calls(stack_of):
    stack = stack_of(max_inputs=4)
    with Client(stack.url) as client:
        assert client.limits().max_inputs == 4
        words = [f"word {n}" for n in range(11)]
        assert np.allclose(client.embed(words).vectors, [embed(word) for word in words], atol=1e-6)
        assert client.embed([]).vectors == []


def test_searches_by_everything(client):
    filled(client, "cat", "dog", "bird")
    assert client.search("demo", "cat", k=1).hits[0].id == "cat"
    assert client.search("demo", image=picture("dog"), k=1).hits[0].metadata == {"word": "dog"}
    assert client.search("demo", vector=embed("bird"), k=1).hits[0].score == pytest.approx(1)
    assert "cat" not in [hit.id for hit in client.search("demo", like="cat").hits]
    mixed = client.search("demo", query=[{"text": "cat"}, {"image": picture("dog"), "weight": 0.1}], k=1)
    assert mixed.hits[0].id == "cat"
    only = client.search("demo", "cat", filter={"word": "dog"})
    assert [hit.id for hit in only.hits] == ["dog"]
    assert (only.collection, only.model, only.raw["timing"]["search_ms"] >= 0) == ("demo", "demo", True)


def test_pages_follow_the_cursor(client):
    words = [f"w{n:02}" for n in range(23)]
    filled(client, *words)
    hits = list(client.search_all("demo", "w00", k=5, min_score=-1))
    assert sorted(hit.id for hit in hits) == words
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert [hit.id for hit in client.search_all("demo", "w00", k=5, min_score=-1, limit=7)] == [h.id for h in hits[:7]]


def test_score_guidance(client):
    filled(client, "cat", "dog")
    told = client.score_guidance("demo")
    assert (told.texts, told.items) == (100, 2)
    assert told.suggested_min_score == told.best_scores["median"] <= told.best_scores["highest"]


def test_several_collections_are_one_ranking(client):
    filled(client, "cat", "dog")
    client.create_collection("more")
    client.add("more", [NewItem("cat", text="cat"), NewItem("hen", text="hen")])
    page = client.search(["demo", "more"], "cat", k=2)
    assert [(hit.collection, hit.id) for hit in page.hits] == [("demo", "cat"), ("more", "cat")]
    assert page.collection is None
    every = [(hit.collection, hit.id) for hit in client.search_all(["demo", "more"], "cat", k=1)]
    assert sorted(every) == [("demo", "cat"), ("demo", "dog"), ("more", "cat"), ("more", "hen")]


def test_a_search_is_reranked(client):
    filled(client, "cat", "dog", "bird")
    page = client.search("demo", "a red cat", k=3, rerank={"by": "tree", "candidates": 2, "explain": True})
    assert page.rerank is not None
    assert (page.rerank["candidates"], page.rerank["without_picture"], page.rerank["applied"]) == (2, 2, False)
    assert [node["kind"] for node in page.rerank["tree"]["nodes"]] == ["clause", "color", "count"]
    assert client.search("demo", "cat").rerank is None
    with pytest.raises(BadInput, match="rerank"):
        client.search("demo", vector=embed("cat"), rerank="tree")


def test_a_search_and_an_item_name_a_consistency(client):
    filled(client, "cat", "dog")
    assert client.search("demo", "cat", k=1, consistency="strong").hits[0].id == "cat"
    assert client.search("demo", like="dog", k=1, consistency="strong").hits[0].id == "cat"
    assert client.item("demo", "dog", consistency="strong").id == "dog"
    for wrong in (
        lambda: client.search("demo", "cat", consistency="never"),
        lambda: client.item("demo", "dog", consistency="never"),
    ):
        with pytest.raises(BadInput, match="consistency"):
            wrong()


def test_a_bad_search_of_a_batch_is_an_error_in_its_place(client):
    filled(client, "cat")
    good, bad = client.search_batch([Query("demo", "cat", k=1), Query("none", "cat")])
    assert good.hits[0].id == "cat"
    assert isinstance(bad, UnknownCollection)
    assert bad.status == 404


def test_classify_and_rank(client):
    labels = client.classify(picture("a cat"), ["dog", "cat"], templates=["a {}"])
    assert (labels[0].label, round(labels[0].probability, 3)) == ("cat", 1.0)
    ((first, second),) = client.rank(["cat"], ["dog", picture("cat")])
    assert (first.index, second.index) == (1, 0)
    assert len(client.rank(["cat"], ["dog", "cat"], top_n=1)[0]) == 1


def test_collections_and_aliases(client):
    made = client.create_collection("demo", metric="cosine")
    assert (made.name, made.dim, made.count) == ("demo", DIM, 0)
    assert client.collection("demo").fingerprint == made.fingerprint
    assert [each.name for each in client.collections()] == ["demo"]
    assert client.set_alias("pets", "demo").collection == "demo"
    assert [alias.name for alias in client.aliases()] == ["pets"]
    client.drop_alias("pets")
    client.drop_collection("demo")
    with pytest.raises(UnknownCollection):
        client.collection("demo")


def test_items(client):
    filled(client, "a", "b", "c/d", "..")
    assert [item.id for item in client.items("demo", page=2)] == ["..", "a", "b", "c/d"]
    assert np.allclose(client.item("demo", "c/d", vector=True).vector, embed("c/d"), atol=1e-6)
    assert client.item("demo", "..").metadata == {"word": ".."}
    client.delete_item("demo", "..")
    assert client.delete_items("demo", ["a", "b", "none"]) == 2
    with pytest.raises(UnknownItem):
        client.item("demo", "a")
    assert client.facets("demo", ["word"])[0]["values"] == [{"value": "c/d", "count": 1}]


def test_metadata_is_changed(client):
    filled(client, "a", "b", "c")
    assert client.update_item("demo", "a", {"word": None, "album": "x"}).metadata == {"album": "x"}
    good, bad = client.update_items("demo", {"b": {"album": "x"}, "none": {}})
    assert (good.ok, bad.ok, bad.error["code"]) == (True, False, "item_not_found")
    assert [item.id for item in client.items("demo", filter={"album": "x"}, page=1)] == ["a", "b"]
    page = client.update_where("demo", {"album": "x"}, {"album": "y"})
    assert (page.updated, page.failed, page.next) == (2, [], None)
    with pytest.raises(UnknownItem):
        client.update_item("demo", "none", {})


def test_copies_and_duplicates(client):
    filled(client, "a", "b", "c")
    client.create_collection("to")
    assert [result.status for result in client.copy_items("to", "demo", ["a", "none"])] == [200, 404]
    assert client.copy_where("to", "demo", {"word": "b"}) == 1
    assert [item.id for item in client.items("to")] == ["a", "b"]
    assert client.copy_where("to", "demo", {}) == 3
    digests = {"a": "1" * 64, "b": "1" * 64, "c": "2" * 64}
    client.add("to", [NewItem(name, text=name, metadata={"digest": digest}) for name, digest in digests.items()])
    (group,) = client.duplicates("to")
    assert (group.digest, group.count, group.ids) == ("1" * 64, 2, ["a", "b"])


def test_many_changes_go_in_several_calls(stack_of):
    stack = stack_of(max_items=4)
    with Client(stack.url) as client:
        filled(client, "a", "b", "c")
        assert client.update_items("demo", {}) == []
        results = client.update_items("demo", {f"n{n}": {"n": n} for n in range(9)} | {"c": {"n": 1}})
        assert [result.status for result in results] == [404] * 9 + [200]
        assert [len(body["items"]) for method, _, body in stack.index.calls if method == "PATCH"] == [4, 4, 2]


def test_each_item_has_its_own_result(client):
    client.create_collection("demo")
    good, bad = client.add("demo", [NewItem("a", text="a"), NewItem("b", image=b"no picture")])
    assert (good.id, good.ok, good.error) == ("a", True, None)
    assert (bad.id, bad.ok, bad.error["code"]) == ("b", False, "invalid_image")


def test_a_job_is_begun_watched_and_tried_again(stack_of, tmp_path):
    (tmp_path / "photos").mkdir()
    for name in ("a", "b"):
        (tmp_path / "photos" / f"{name}.png").write_bytes(picture(name))
    (tmp_path / "photos" / "bad.png").write_bytes(b"bad")
    stack = stack_of(ingest_roots={"photos": tmp_path / "photos"})
    with Client(stack.url, retries=QUICK) as client:
        client.create_collection("demo")
        seen = []
        job = client.watch_job(client.begin_job("demo", {"folder": "photos"}).id, seen.append, every_s=0.02)
        assert (job.state, job.total, job.added, job.failed) == ("completed", 3, 2, 1)
        assert seen[-1] == job
        assert [(each.id, each.error["code"]) for each in client.job_failures(job.id)] == [("bad.png", "invalid_image")]
        (tmp_path / "photos" / "bad.png").write_bytes(picture("better"))
        assert client.watch_job(client.retry_job(job.id).id, every_s=0.02).added == 3
        assert [each.id for each in client.jobs()] == [job.id]
        stack.torchserve.lets_pass = 0
        running = client.begin_job("demo", {"folder": "photos"})
        assert client.cancel_job(running.id).state == "cancelled"
        stack.torchserve.lets_pass = None


def test_stats_models_and_health(client, stack):
    assert client.stats()["requests"]["total"] >= 0
    (model,) = client.models()
    assert (model.id, model.dimensions) == ("demo", DIM)
    assert client.limits().max_body_bytes == 32 * 1024 * 1024
    assert client.call("GET", "/healthz") == {"status": "ok"}
    assert client.health().ready
    stack.index.down = True
    told = client.health()
    assert not told.ready
    assert told.parts["index"] != "ok"


def test_an_error_has_what_the_envelope_says(client):
    filled(client, "cat")
    with pytest.raises(BadInput, match="k") as caught:
        client.search("demo", "cat", k=0)
    assert (caught.value.param, str(caught.value)[:13]) == ("k", "400 bad_input")
    assert caught.value.request_id in str(caught.value)


async def test_the_async_client_has_the_same_calls(stack: Stack):
    async with AsyncClient(stack.url, retries=QUICK) as client:
        await client.create_collection("demo")
        words = [f"w{n}" for n in range(5)]
        assert all(each.ok for each in await client.add("demo", [NewItem(word, text=word) for word in words]))
        assert np.allclose((await client.embed(["w0", picture("w1")])).vectors[1], embed("w1"), atol=1e-6)
        assert [hit.id async for hit in client.search_all("demo", "w0", k=2, min_score=-1, limit=1)] == ["w0"]
        assert len([hit async for hit in client.search_all("demo", "w0", k=2, min_score=-1)]) == 5
        assert [item.id async for item in client.items("demo", page=2)] == words
        with pytest.raises(UnknownCollection):
            await client.search("none", "w0")
        assert (await client.health()).ready
    public = {name for name in dir(Client) if not name.startswith("_")}
    assert public == {name for name in dir(AsyncClient) if not name.startswith("_")}
