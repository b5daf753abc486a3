"""Folders that are named by a call: who may, what is shown from them, and that they last."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path

import pytest
from PIL import Image
from starlette.testclient import TestClient

from clip_core.errors import InvalidRequest, NotLocal
from gateway.app import build
from gateway.keys.key_store import KeyStore
from gateway.pictures.folders import PictureFolders
from gateway.pictures.originals import Original
from gateway.settings import GatewaySettings
from tests.gateway.conftest import NOWHERE
from tests.gateway.made_pictures import encoded, photo


def folders_of(path: Path, **fixed: Path) -> PictureFolders:
    made = PictureFolders(path, fixed)
    made.load()
    return made


def find(folders: PictureFolders, collection: str, item_id: str, file: str, content: bytes | None = None):
    digest = None if content is None else hashlib.sha256(content).hexdigest()
    return folders.find(collection, item_id, Original(file, digest))


def token(folders: PictureFolders) -> str:
    file = folders.token_file()
    assert file is not None
    return file.read_text()


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "Pictures"
    folder.mkdir()
    (folder / "a.png").write_bytes(photo())
    return folder


def test_a_named_folder_lasts(tmp_path, pictures):
    folders = folders_of(tmp_path)
    folders.add("photos", "", str(pictures), token(folders))
    assert find(folders, "photos", "a.png", "a.png") == pictures / "a.png"
    assert find(folders, "others", "a.png", "a.png") is None
    assert find(folders_of(tmp_path), "photos", "a.png", "a.png") == pictures / "a.png"
    for name in ("folders.json", "folders.token"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_a_folder_that_can_not_be_forgotten_for_good_is_said(tmp_path, pictures, monkeypatch, caplog):
    folders = folders_of(tmp_path)
    folders.add("photos", "", str(pictures), token(folders))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gateway.pictures.folders._replace", full)
    folders.forget("photos")
    assert find(folders, "photos", "a.png", "a.png") is None
    assert "No space left on device" in caplog.text


def test_a_data_folder_that_nothing_else_made(tmp_path, pictures):
    """Jobs of several gateways are in a database."""
    folders_of(tmp_path / "data").show("demo", "", pictures)
    assert [each.path for each in folders_of(tmp_path / "data").of("demo")] == [pictures]


def test_gateways_with_one_folder_of_pictures_know_the_same_folders(tmp_path, pictures):
    """Each named by a call to one of them, with that one's token."""
    first, second = (PictureFolders(tmp_path / name, {}, tmp_path / "shared") for name in ("one", "two"))
    first.add("photos", "a/", str(pictures), token(first))
    second.add("photos", "b/", str(pictures), token(second))
    assert {each.prefix for each in first.of("photos")} == {each.prefix for each in second.of("photos")} == {"a/", "b/"}
    first.forget("photos")
    assert second.of("photos") == []


def test_roots_are_merged_and_never_overwritten(tmp_path, pictures):
    root, other = tmp_path / "root", tmp_path / "other"
    for folder, name in ((root, "r.png"), (other, "o.png")):
        folder.mkdir()
        (folder / name).write_bytes(photo())
    folders = folders_of(tmp_path, photos=root)
    for folder in (pictures, other, pictures):
        folders.add("photos", "", str(folder), token(folders))
    assert [each.path for each in folders.of("photos")] == [root, pictures, other]
    for folder, name in ((root, "r.png"), (pictures, "a.png"), (other, "o.png")):
        assert find(folders, "photos", name, name) == folder / name


def test_a_prefix_keeps_folders_apart(tmp_path, pictures):
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.png").write_bytes(photo(5))
    folders = folders_of(tmp_path)
    folders.add("photos", "", str(pictures), token(folders))
    folders.add("photos", "other/", str(other), token(folders))
    assert find(folders, "photos", "a.png", "a.png") == pictures / "a.png"
    assert find(folders, "photos", "other/a.png", "a.png") == other / "a.png"


def test_a_file_of_the_same_name_in_another_folder_is_not_shown(tmp_path, pictures):
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.png").write_bytes(photo(5))
    folders = folders_of(tmp_path)
    for folder in (other, pictures):
        folders.add("photos", "", str(folder), token(folders))
    assert find(folders, "photos", "a.png", "a.png", photo()) == pictures / "a.png"
    assert find(folders, "photos", "a.png", "a.png", photo(5)) == other / "a.png"
    assert find(folders, "photos", "a.png", "a.png", photo(6)) is None
    (pictures / "a.png").write_bytes(photo(6))
    assert find(folders, "photos", "a.png", "a.png", photo()) is None
    assert find(folders, "photos", "a.png", "a.png", photo(6)) == pictures / "a.png"


def test_who_can_not_read_the_token_names_no_folder(tmp_path, pictures):
    folders = folders_of(tmp_path)
    before = token(folders)
    again = folders_of(tmp_path)
    with pytest.raises(NotLocal):
        again.add("photos", "", str(pictures), before)
    assert token(again) != before
    for guess in ("", "guess", before, "ü"):
        with pytest.raises(NotLocal):
            again.add("photos", "", str(pictures), guess)


@pytest.mark.parametrize("folder", ["Pictures", "/nowhere/at/all", "/dev/null", "/tmp\0x", "~", "/" + "x" * 300])
def test_what_is_no_folder(tmp_path, folder):
    folders = folders_of(tmp_path)
    with pytest.raises(InvalidRequest):
        folders.add("photos", "", folder, token(folders))


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', '{"a": [{}]}', "{", '{"a": [{"prefix": "", "folder": 1}]}'])
def test_a_damaged_registry_is_left_out(tmp_path, text):
    (tmp_path / "folders.json").write_text(text)
    assert folders_of(tmp_path).of("a") == []


def test_through_the_gateway(stack_of, tmp_path, pictures):
    stack = stack_of()
    stack.fill("a.png")
    stack.index.collections["demo"]["items"]["a.png"]["metadata"]["file"] = "a.png"
    path = "/v1/collections/demo/folders"
    shown = "/v1/collections/demo/items/a.png/picture"
    assert stack.client.get(shown).status_code == 404
    refused = stack.post(path, {"folder": str(pictures), "token": "guess"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "not_local")
    token_file = stack.client.get(path).json()["token_file"]
    named = stack.post(path, {"folder": str(pictures), "token": Path(token_file).read_text()})
    assert named.status_code == 200, named.text
    assert stack.client.get(shown).content == photo()
    assert stack.client.get("/images/demo/a.png").content == photo()
    assert json.loads((tmp_path / "gateway" / "folders.json").read_text())["demo"][0]["folder"] == str(pictures)
    assert stack.client.delete("/v1/collections/demo").status_code == 200
    stack.fill("a.png")
    assert stack.client.get("/images/demo/a.png").status_code == 404


@pytest.mark.parametrize(("suffix", "kind"), [("tiff", "tiff"), ("ppm", "x-portable-pixmap"), ("jfif", "jpeg")])
def test_originals_that_only_some_programs_show(stack_of, tmp_path, suffix, kind):
    root = tmp_path / "root"
    root.mkdir()
    (root / f"a.{suffix}").write_bytes(
        encoded(Image.new("RGB", (5, 5)), "JPEG" if suffix == "jfif" else suffix.upper())
    )
    stack = stack_of(image_roots={"demo": root})
    stack.fill("a")
    stack.index.collections["demo"]["items"]["a"]["metadata"]["file"] = f"a.{suffix}"
    assert stack.client.get("/v1/collections/demo/items/a/picture").headers["content-type"] == f"image/{kind}"
    assert stack.client.get("/v1/collections/demo/items/a/thumbnail").status_code == 200


def test_names_that_are_not_utf_8(tmp_path, pictures):
    odd = pictures / os.fsdecode(b"caf\xe9 \xff.png")
    odd.write_bytes(photo())
    (tmp_path / os.fsdecode(b"\xe9.png")).write_bytes(photo())
    folders = folders_of(tmp_path, photos=pictures)
    assert find(folders, "photos", "x", r"caf\xe9 \xff.png") == odd
    plain = pictures / r"caf\xe9 \xff.png"
    plain.write_bytes(photo(5))
    assert find(folders, "photos", "x", r"caf\xe9 \xff.png") == plain
    for outside in (r"../\xe9.png", r"\x2e\x2e/\xe9.png", r"\x2e\x2e\x2f\xe9.png", "\udce9.png", r"none\xe9.png"):
        assert find(folders, "photos", "x", outside) is None


def test_unknown_collections(stack_of):
    client = stack_of().client
    assert client.get("/v1/collections/none/folders").status_code == 404


def test_where_the_data_folder_is_stays_on_the_machine(stack_of, tmp_path):
    store = KeyStore(tmp_path / "keys.db")
    reads, writes = (store.create("k", scopes)[0] for scopes in (("search",), ("search", "write")))
    stack = stack_of(keys_file=store.path)
    path = "/v1/collections/demo/folders"
    assert stack.client.put("/v1/collections/demo", json={}, headers={"X-API-Key": writes}).status_code == 201
    assert stack.client.get(path, headers={"X-API-Key": writes}).json()["token_file"]
    assert stack.client.get(path, headers={"X-API-Key": reads}).json()["error"]["code"] == "scope_missing"
    passed_on = stack.client.get(path, headers={"X-API-Key": writes, "X-Forwarded-For": "192.0.2.1"})
    assert (passed_on.status_code, passed_on.json()["error"]["code"]) == (403, "not_local")


@pytest.mark.parametrize(("host", "code"), [("192.0.2.1", "not_local"), ("127.0.0.1", "index_unavailable")])
def test_where_the_data_folder_is_is_told_by_the_callers_address(tmp_path, host, code):
    app = build(GatewaySettings(**NOWHERE, data_dir=tmp_path))
    with TestClient(app, base_url="http://127.0.0.1", client=(host, 5)) as client:
        assert client.get("/v1/collections/demo/folders").json()["error"]["code"] == code


def test_what_is_shown_is_a_picture_by_its_content(stack_of, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "page.png").write_text("<script>")
    (root / "good.png").write_bytes(encoded(Image.new("RGB", (5, 5))))
    stack = stack_of(image_roots={"demo": root})
    stack.fill("page", "good")
    for name in ("page", "good"):
        stack.index.collections["demo"]["items"][name]["metadata"]["file"] = f"{name}.png"
    assert stack.client.get("/v1/collections/demo/items/page/picture").status_code == 404
    assert stack.client.get("/v1/collections/demo/items/good/picture").headers["content-type"] == "image/png"
