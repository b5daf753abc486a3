"""Pictures of items through the gateway: kept at ingest, shown as thumbnails and originals."""

from __future__ import annotations

import hashlib
import shutil
import struct
import threading
from urllib.parse import quote

import pytest

from gateway.pictures import thumbnails as making
from gateway.pictures.file_response import OriginalResponse
from gateway.pictures.folders import PictureFolders
from gateway.pictures.recent import RecentThumbnails
from gateway.pictures.sweeping import Sweeper
from tests.gateway.made_pictures import base64_of, opened, photo


@pytest.fixture
def start(stack_of):
    def begin(**settings):
        stack = stack_of(**{"pictures_min_free_bytes": 0, **settings})
        assert stack.client.put("/v1/collections/demo", json={}).status_code == 201
        return stack

    return begin


def add(stack, item_id: str, data: bytes, **metadata) -> dict:
    body = {"items": [{"id": item_id, "image": base64_of(data), "metadata": metadata}]}
    (result,) = stack.post("/v1/collections/demo/items", body).json()["results"]
    assert result["status"] == 200, result
    return stack.index.collections["demo"]["items"][item_id]["metadata"]


def thumbnail(stack, item_id: str, headers=None, method: str = "GET", **query):
    path = f"/v1/collections/demo/items/{item_id}/thumbnail"
    return stack.client.request(method, path, params=query, headers=headers)


def counted(stack, outcome: str) -> float:
    lines = stack.client.get("/metrics").text.splitlines()
    name = f'clipserve_gateway_pictures_total{{outcome="{outcome}"}} '
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))


def test_an_uploaded_picture_is_shown_at_once(start):
    stack, data = start(), photo()
    metadata = add(stack, "a/b.png", data, caption="one")
    digest = hashlib.sha256(data).hexdigest()
    assert metadata == {"caption": "one", "digest": digest}
    assert len(str(metadata)) <= 200
    for size, longer in ((None, 256), (256, 256), (300, 768), (768, 768)):
        answer = thumbnail(stack, "a/b.png", **({"size": size} if size else {}))
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "image/webp"
        assert max(opened(answer.content).size) == longer


def test_caches(start):
    stack, data = start(), photo()
    digest = add(stack, "a", data)["digest"]
    answer = thumbnail(stack, "a", size=256)
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["etag"] == f'"{digest}-256"'
    assert "immutable" in thumbnail(stack, "a", size=256, digest=digest).headers["cache-control"]
    assert "immutable" not in thumbnail(stack, "a", size=256, digest="0" * 64).headers["cache-control"]
    for tag in (answer.headers["etag"], f'"x", W/{answer.headers["etag"]}'):
        same = thumbnail(stack, "a", {"If-None-Match": tag}, size=256)
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", answer.headers["etag"])
    assert thumbnail(stack, "a", {"If-None-Match": answer.headers["etag"]}, size=768).status_code == 200
    head = thumbnail(stack, "a", method="HEAD", size=256)
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", answer.headers["etag"])
    assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("query", [{"size": 0}, {"size": "large"}, {"size": 10**9}])
def test_odd_sizes(start, query):
    assert thumbnail(start(), "a", **query).status_code == 400


def test_none(start):
    stack = start()
    assert thumbnail(stack, "a").json()["error"]["code"] == "item_not_found"
    stack.fill("word", collection="words")
    path = "/v1/collections/words/items/word/thumbnail"
    assert stack.client.get(path).json()["error"]["code"] == "picture_not_found"
    assert stack.client.get("/v1/collections/none/items/a/thumbnail").json()["error"]["code"] == "collection_not_found"


@pytest.mark.parametrize("name", ["thumbnail", "picture"])
def test_an_id_may_end_as_the_route_does(start, name):
    """An encoded slash belongs to the id, whether or not there is an item of the shorter one."""
    stack = start()
    stack.fill("album", f"album/{name}", f"lone/{name}", collection="words")
    items = "/v1/collections/words/items"
    for item_id in (f"album/{name}", f"lone/{name}"):
        assert stack.client.get(f"{items}/{quote(item_id, safe='')}?include=vector").json()["id"] == item_id
    assert stack.client.get(f"{items}/album/{name}").json()["error"]["code"] == "picture_not_found"
    assert stack.client.get(f"{items}/album%2F{name}/{name}").json()["error"]["code"] == "picture_not_found"
    missing = stack.client.get(f"{items}/lone/{name}").json()["error"]
    assert missing["code"] == "item_not_found"
    assert "'lone'" in missing["message"]


@pytest.mark.parametrize("digest", ["../../../../etc/passwd", "A" * 64, "a" * 63, 7, None, ["a"], "\0" * 64])
def test_a_digest_of_the_callers_own_leads_nowhere(start, digest):
    stack = start()
    item = {"id": "a", "vector": [1.0] * 16, "metadata": {"digest": digest}}
    assert stack.post("/v1/collections/demo/items", {"items": [item]}).json()["results"][0]["status"] == 200
    assert thumbnail(stack, "a").json()["error"]["code"] == "picture_not_found"


def test_equal_pictures_are_kept_once_and_replacing_shows_the_new_one(start, tmp_path):
    stack = start()
    add(stack, "a", photo(1))
    add(stack, "b", photo(1))
    assert (counted(stack, "kept"), counted(stack, "known")) == (1, 1)
    before = thumbnail(stack, "a")
    add(stack, "a", photo(2))
    after = thumbnail(stack, "a", {"If-None-Match": before.headers["etag"]})
    assert after.status_code == 200
    assert after.content != before.content
    assert thumbnail(stack, "b").content == before.content
    assert len(list((tmp_path / "gateway" / "pictures").rglob("*.webp"))) == 4


def test_a_full_disk_fails_no_ingest(start, caplog):
    stack = start(pictures_min_free_bytes=2**52)
    assert "digest" in add(stack, "a", photo(1))
    add(stack, "b", photo(2))
    assert counted(stack, "full") == 2
    told = [record for record in caplog.records if "without their pictures" in record.getMessage()]
    assert len(told) == 1
    assert thumbnail(stack, "a").json()["error"]["code"] == "picture_not_found"


def test_a_picture_that_pillow_gives_up_on_fails_no_ingest(start, monkeypatch):
    def give_up(*_):
        raise RuntimeError("odd")

    monkeypatch.setattr("gateway.pictures.pictures.thumbnails", give_up)
    stack = start()
    assert "digest" in add(stack, "a", photo())
    assert counted(stack, "failed") == 1


def test_a_store_that_was_deleted(start, tmp_path):
    stack = start()
    add(stack, "a", photo(1))
    shutil.rmtree(tmp_path / "gateway" / "pictures")
    assert thumbnail(stack, "a").json()["error"]["code"] == "picture_not_found"
    add(stack, "b", photo(2))
    assert thumbnail(stack, "b").status_code == 200
    add(stack, "a", photo(1))
    assert thumbnail(stack, "a").status_code == 200


def test_what_was_shown_lately_is_not_read_again(start, tmp_path):
    stack = start()
    add(stack, "a", photo(1))
    first = thumbnail(stack, "a")
    shutil.rmtree(tmp_path / "gateway" / "pictures")
    assert thumbnail(stack, "a").content == first.content
    add(stack, "a", photo(2))
    assert thumbnail(stack, "a").content != first.content, "the item's picture is another one now"


def test_recent_thumbnails_are_bounded():
    recent = RecentThumbnails(most_bytes=100)
    recent.put("a", 256, bytes(40))
    recent.put("b", 256, bytes(40))
    assert recent.get("a", 256) == bytes(40)
    recent.put("c", 256, bytes(40))
    assert [recent.get(name, 256) is not None for name in "abc"] == [True, False, True]
    recent.put("a", 256, bytes(60))
    assert [len(recent.get(name, 256) or b"") for name in "ac"] == [60, 40]
    recent.put("d", 256, bytes(101))
    assert [recent.get(name, 256) for name in "acd"] == [None] * 3


def test_copies(start):
    stack, data = start(pictures="copy"), photo()
    digest = add(stack, "a", data)["digest"]
    path = "/v1/collections/demo/items/a/picture"
    answer = stack.client.get(path, params={"digest": digest})
    assert (answer.content, answer.headers["content-type"]) == (data, "image/png")
    assert "immutable" in answer.headers["cache-control"]
    assert stack.client.get(path, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304


def test_thumbnails_are_made_again_from_a_copy(start, tmp_path):
    stack = start(pictures="copy")
    add(stack, "a", photo())
    shutil.rmtree(tmp_path / "gateway" / "pictures" / "thumbnails")
    assert thumbnail(stack, "a").status_code == 200
    assert list((tmp_path / "gateway" / "pictures" / "thumbnails").rglob("*.256.webp"))


def test_without_copies_there_is_no_original(start):
    stack = start()
    add(stack, "a", photo())
    answer = stack.client.get("/v1/collections/demo/items/a/picture")
    assert answer.json()["error"]["code"] == "picture_not_found"


def in_place(start, tmp_path, **settings):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "one.png").write_bytes(photo())
    stack = start(pictures="in_place", image_roots={"demo": folder}, **settings)
    add(stack, "one.png", photo(), file="one.png")
    return stack, folder


def test_in_place_nothing_is_kept_until_it_is_asked_for(start, tmp_path, monkeypatch):
    stack, folder = in_place(start, tmp_path)
    kept = tmp_path / "gateway" / "pictures"
    assert not list(kept.rglob("*.webp"))
    first = thumbnail(stack, "one.png")
    assert first.status_code == 200, first.text
    assert len(list(kept.rglob("*.webp"))) == 2
    monkeypatch.setattr("gateway.pictures.pictures.thumbnails", lambda *_: pytest.fail("made twice"))
    assert thumbnail(stack, "one.png").content == first.content
    assert stack.client.get("/v1/collections/demo/items/one.png/picture").content == photo()
    assert (
        "immutable" in thumbnail(stack, "one.png", digest=hashlib.sha256(photo()).hexdigest()).headers["cache-control"]
    )
    (folder / "one.png").write_bytes(photo(7))
    assert thumbnail(stack, "one.png").content == first.content
    answer = stack.client.get("/v1/collections/demo/items/one.png/picture")
    assert answer.json()["error"]["code"] == "picture_not_found"


def test_a_file_that_is_replaced_while_it_is_read_is_not_kept(start, tmp_path, monkeypatch):
    stack, folder = in_place(start, tmp_path)
    find = PictureFolders.find

    def replaced(*given):
        found = find(*given)
        (folder / "one.png").write_bytes(photo(7))
        return found

    monkeypatch.setattr(PictureFolders, "find", replaced)
    assert thumbnail(stack, "one.png").json()["error"]["code"] == "picture_not_found"
    assert not list((tmp_path / "gateway" / "pictures").rglob("*.webp"))


def test_an_upload_shows_no_file_that_has_its_name(start, tmp_path):
    """As forms name them."""
    stack, _ = in_place(start, tmp_path)
    add(stack, "upload", photo(1), file="one.png")
    answer = stack.client.get("/v1/collections/demo/items/upload/picture")
    assert answer.json()["error"]["code"] == "picture_not_found"
    assert thumbnail(stack, "upload").status_code == 200


def test_the_file_of_a_picture_that_was_sent_scaled_down(start, tmp_path):
    stack, folder = in_place(start, tmp_path)
    (folder / "large.png").write_bytes(photo(1, (1800, 1200)))
    told = {"path": "large.png", "digest": hashlib.sha256(photo(1, (1800, 1200))).hexdigest()}
    add(stack, "small", photo(1), original_file=told)
    assert stack.client.get("/v1/collections/demo/items/small/picture").content == photo(1, (1800, 1200))
    assert opened(thumbnail(stack, "small", size=768).content).size == (768, 512)


@pytest.mark.parametrize(
    "told", [7, "one.png", [], {}, {"path": 7}, {"path": ["one.png"], "digest": {}}, {"digest": "x"}]
)
def test_an_odd_original_file_leads_nowhere(start, tmp_path, told):
    stack, _ = in_place(start, tmp_path)
    add(stack, "odd", photo(1), original_file=told, file="one.png")
    answer = stack.client.get("/v1/collections/demo/items/odd/picture")
    assert answer.json()["error"]["code"] == "picture_not_found"


@pytest.mark.parametrize("name", ["large.png", "other.avif", "other.heic", "out/of/reach.png", None])
def test_in_place_thumbnails_are_kept_of_what_the_folder_can_not_show(start, tmp_path, name):
    """The client sent it converted or scaled down, or there is no file."""
    stack, folder = in_place(start, tmp_path, max_image_pixels=600_000)
    (folder / "large.png").write_bytes(photo(1, (900, 700)))
    for other in ("other.avif", "other.heic"):
        (folder / other).write_bytes(b"\0\0\0\x20ftypavif" + bytes(100))
    add(stack, "sent", photo(1), **({"file": name} if name else {}))
    answer = thumbnail(stack, "sent", size=768)
    assert answer.status_code == 200, answer.text
    assert opened(answer.content).size == (768, 512)


def test_a_root_that_is_unmounted(start, tmp_path):
    stack, folder = in_place(start, tmp_path)
    folder.rename(tmp_path / "elsewhere")
    for what in ("thumbnail", "picture"):
        answer = stack.client.get(f"/v1/collections/demo/items/one.png/{what}")
        assert answer.json()["error"]["code"] == "picture_not_found"
    (tmp_path / "elsewhere").rename(folder)
    assert thumbnail(stack, "one.png").status_code == 200


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-9"}])
def test_an_original_that_vanishes_while_it_is_answered(start, tmp_path, monkeypatch, headers):
    stack, folder = in_place(start, tmp_path)

    def vanishing(*given, **named):
        (folder / "one.png").unlink()
        return OriginalResponse(*given, **named, stat_result=(tmp_path / "photos").stat())

    monkeypatch.setattr("gateway.routes.pictures.OriginalResponse", vanishing)
    answer = stack.client.get("/v1/collections/demo/items/one.png/picture", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "picture_not_found")


@pytest.mark.parametrize("error", [SyntaxError, ValueError, struct.error, TypeError, MemoryError])
@pytest.mark.parametrize("where", ["gateway.pictures.pictures.thumbnails", "gateway.pictures.pictures.Image.open"])
def test_what_pillow_stumbles_over_is_a_picture_that_is_not_there(start, tmp_path, monkeypatch, where, error):
    def stumble(*_, **__):
        raise error("odd")

    stack, _ = in_place(start, tmp_path)
    monkeypatch.setattr(where, stumble)
    answer = thumbnail(stack, "one.png")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "picture_not_found")
    assert counted(stack, "failed") == (where.endswith("thumbnails"))


def test_in_place_with_a_full_disk(start, tmp_path):
    stack, _ = in_place(start, tmp_path, pictures_min_free_bytes=2**52)
    assert thumbnail(stack, "one.png").status_code == 200


@pytest.mark.parametrize("name", ["bad.png", "text.png", "missing.png", "../out.png", "link.png", "page.html"])
def test_files_that_are_no_pictures_of_the_folder(start, tmp_path, name):
    stack, folder = in_place(start, tmp_path)
    (folder / "bad.png").write_bytes(photo()[:200])
    (folder / "text.png").write_text("root:x:0:0")
    (folder / "page.html").write_bytes(photo())
    (tmp_path / "out.png").write_bytes(photo())
    (folder / "link.png").symlink_to(tmp_path / "out.png")
    item = {"id": "x", "vector": [1.0] * 16, "metadata": {"file": name}}
    stack.post("/v1/collections/demo/items", {"items": [item]})
    for what in ("thumbnail", "picture"):
        answer = stack.client.get(f"/v1/collections/demo/items/x/{what}")
        if what == "thumbnail" or name != "bad.png":  # whose first bytes are a picture's
            assert answer.json()["error"]["code"] == "picture_not_found"
            assert str(tmp_path) not in answer.text


def test_copies_are_told_to_the_sweeper(start, monkeypatch):
    told = []
    monkeypatch.setattr(Sweeper, "items_were_copied", lambda _: told.append("copied"))
    stack = start()
    add(stack, "cat", photo())
    assert stack.client.put("/v1/collections/other", json={}).status_code == 201
    copy = {"from": "demo", "ids": ["cat"]}
    assert stack.post("/v1/collections/other/items/copy", copy).json()["results"][0]["status"] == 200
    assert told == ["copied"]


def test_making_is_off_the_event_loop(start, monkeypatch):
    """While pictures are made, others are answered."""
    begun, go_on = threading.Event(), threading.Event()
    real = making.thumbnails

    def held(*given):
        begun.set()
        assert go_on.wait(20)
        return real(*given)

    monkeypatch.setattr("gateway.pictures.pictures.thumbnails", held)
    stack = start()
    adding = threading.Thread(target=add, args=(stack, "a", photo()))
    adding.start()
    assert begun.wait(20)
    assert stack.client.get("/healthz").status_code == 200
    go_on.set()
    adding.join()
