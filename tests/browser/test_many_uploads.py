"""Uploads of many files: a few under way, every failure by its name, large pictures scaled down, small metadata."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Open
from tests.browser.library import Library

pytestmark = pytest.mark.browser
READ = """async ([width, height, most]) => {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const paper = canvas.getContext("2d");
  for (let at = 0; at < 3000; at += 1) {
    paper.fillStyle = `hsl(${(at * 47) % 360} 80% 50%)`;
    paper.fillRect((at * 97) % width, (at * 61) % height, 90, 70);
  }
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  const { readForUpload } = await import("/ui/pictures/shrink.js");
  return readForUpload(new File([blob], "a.png", { type: "image/png" }), most ?? Infinity);
}"""


def read(visit: Open, library: Library, *given: Any) -> Image.Image:
    """What is sent of a drawing of this width and height."""
    uri: str = visit("/docs", url=library.url).evaluate(READ, given)
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))


def test_a_picture_beyond_the_limit_is_scaled_down(visit: Open, library: Library) -> None:
    assert read(visit, library, 800, 600).size == (800, 600)
    assert read(visit, library, 8000, 6000).size == (2048, 1536)
    assert read(visit, library, 3000, 1500, 1024).size == (1024, 512)


def sent(page: Page, path: Path, where: str, body: str = "/items") -> Image.Image:
    """The picture in the call that follows once the file is chosen."""
    with page.expect_request(lambda one: one.url.endswith(body) and "data:" in (one.post_data or "")) as request:
        page.set_input_files(where, path)
    told = json.dumps(request.value.post_data_json)
    return Image.open(io.BytesIO(base64.b64decode(re.findall(r"data:[^,]*,([^\"]*)", told)[0])))


def test_kinds_that_the_gateway_does_not_take_are_converted(visit: Open, library: Library, tmp_path: Path) -> None:
    """Where the browser reads them, whatever they are called."""
    library.fill("photos", 3)
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a.avif")
    (tmp_path / "b.jpg").write_bytes((tmp_path / "a.avif").read_bytes())
    page = visit("/?collection=photos", url=library.url)
    for name in ("a.avif", "b.jpg"):
        picture = sent(page, tmp_path / name, "#file", "/search")
        assert (picture.format, picture.size) == ("JPEG", (40, 30))
    page.get_by_role("button", name="Add pictures").click()
    picture = sent(page, tmp_path / "a.avif", "#upload-files")
    assert (picture.format, picture.size) == ("JPEG", (40, 30))


def test_what_the_browser_can_not_read_goes_as_it_is_but_for_heic(
    visit: Open, library: Library, tmp_path: Path
) -> None:
    library.fill("photos", 3)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    page = visit("/?collection=photos", url=library.url)
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    choose(page, "photos", [tmp_path / "a.heic", tmp_path / "b.jpg"])
    expect(page.locator("#upload-failed li")).to_have_count(2)
    expect(page.locator("#upload-failed")).to_contain_text(re.compile("a.heic.*clipserve ingest converts them"))
    expect(page.locator("#upload-failed")).to_contain_text("b.jpg")


def test_files_of_one_name_get_ids_of_their_own(visit: Open, library: Library) -> None:
    page = visit("/docs", url=library.url)
    files = [{"name": "a.jpg"}, {"name": "b"}, {"name": "a.jpg"}, {"name": "b"}, {"webkitRelativePath": "x/a.jpg"}]
    call = "async (files) => (await import('/ui/upload/batches.js')).named(files).map(({ id }) => id)"
    assert page.evaluate(call, files) == ["a.jpg", "b", "a (2).jpg", "b (2)", "x/a.jpg"]


def test_an_empty_file_is_named_as_such(visit: Open, library: Library, tmp_path: Path) -> None:
    library.fill("photos", 3)
    (tmp_path / "none.jpg").touch()
    page = visit("/?collection=photos", url=library.url)
    choose(page, "photos", [tmp_path / "none.jpg"])
    expect(page.locator("#upload-failed")).to_contain_text("none.jpg the file is empty")


def choose(page: Page, collection: str, files: list[Path]) -> None:
    page.get_by_role("button", name="Add pictures").click()
    page.get_by_label("To the collection").fill(collection)
    page.set_input_files("#upload-files", files)


def test_many_files_go_a_few_at_a_time_and_failures_are_named(visit: Open, library: Library, tmp_path: Path) -> None:
    library.fill("photos", 3)
    files = [tmp_path / f"{n:03}.png" for n in range(60)]
    for file in files:
        Image.new("RGB", (20, 20), (1, 2, 3)).save(file)
    bad = [tmp_path / name for name in ("notes.jpg", "broken.jpg")]
    for file in bad:
        file.write_bytes(b"no picture")
    page = visit("/?collection=photos", url=library.url)
    under_way: list[Route] = []
    most = 0

    def held(route: Route) -> None:
        """Hold requests until three are under way, then let all through, and count on."""
        nonlocal most
        under_way.append(route)
        most = max(most, len(under_way))
        if most >= 3:
            page.wait_for_timeout(50)  # a fourth would come
            while under_way:
                under_way.pop().continue_()

    page.route("**/fresh/items", held)
    choose(page, "fresh", [*bad, *files])
    expect(page.locator("#upload-status")).to_have_text("60 pictures added, 2 not")
    names = page.locator("#upload-failed b").all_inner_texts()
    assert sorted(names) == ["broken.jpg", "notes.jpg"]
    assert most == 3
    kept = library.index.collections["fresh"]["items"]
    assert sorted(kept) == [file.name for file in files]
    assert {tuple(item["metadata"]) for item in kept.values()} == {("caption", "digest")}
    assert max(len(json.dumps(item["metadata"])) for item in kept.values()) <= 200
    page.get_by_role("button", name="Show the collection").click()
    expect(page.locator("#results img:not([hidden])").first).to_have_attribute("src", re.compile("/thumbnail.size=256"))


def test_a_busy_gateway_is_asked_again(visit: Open, library: Library, tmp_path: Path) -> None:
    library.fill("photos", 3)
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    page = visit("/?collection=photos", url=library.url)
    refusals = iter([True, True])
    refused = {"error": {"message": "slow down", "code": "rate_limited"}}
    page.route(
        "**/fresh/items",
        lambda route: (
            route.fulfill(status=429, headers={"Retry-After": "1"}, json=refused)
            if next(refusals, False)
            else route.fulfill(json={"results": [{"id": "a.png", "status": 200}]})
        ),
    )
    choose(page, "fresh", [tmp_path / "a.png"])
    expect(page.locator("#upload-status")).to_have_text("1 picture added")
    assert next(refusals, None) is None
