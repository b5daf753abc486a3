"""`clipserve sync` of a bucket, on a server that speaks S3."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from clipserve_client import Client
from clipserve_client.sources.entries import SourceError
from scripts.cli import app
from scripts.sync.bucket import Bucket
from tests.bulk.faults import in_front_of
from tests.gateway.conftest import Stack
from tests.gateway.fakes import embed, picture
from tests.sync.conftest import KEY, run

s3fs = pytest.importorskip("s3fs", reason="make setup-test")


@pytest.fixture(autouse=True)
def _no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


class Objects:
    """A bucket of its own, as `s3://…/pictures`."""

    def __init__(self, endpoint: str, name: str) -> None:
        self.options = {**KEY, "endpoint_url": endpoint}
        self.fs = s3fs.S3FileSystem(**self.options, skip_instance_cache=True, use_listings_cache=False)
        self.name, self.url = name, f"s3://{name}/pictures"
        self.fs.mkdir(name)

    def put(self, **words: str) -> None:
        for name, word in words.items():
            self.fs.pipe_file(f"{self.name}/pictures/{name.replace('__', '/')}.png", picture(word))

    def write(self, name: str, content: bytes) -> None:
        self.fs.pipe_file(f"{self.name}/pictures/{name}", content)


@pytest.fixture
def objects(s3_url: str, request: pytest.FixtureRequest) -> Iterator[Objects]:
    made = Objects(s3_url, request.node.name.replace("_", "-")[:60].strip("-"))
    yield made
    made.fs.rm(made.name, recursive=True)


def kept(stack: Stack) -> dict[str, Any]:
    return stack.index.collections["photos"]["items"]


def test_a_bucket_is_followed(client: Client, stack: Stack, objects: Objects) -> None:
    objects.put(one="red", sub__two="blue", three="green")
    objects.write("one.json", b'{"caption": "A", "year": 2024}')
    objects.write("sub/two.txt", b"two words")
    objects.write("film.mp4", b"x")
    objects.write(".hidden.png", picture("hidden"))
    _, seen = run(client, objects.url, objects.options)
    assert seen.told() == [
        ("added", "one.png"), ("added", "sub/two.png"), ("added", "three.png"), ("skipped", "film.mp4"),
    ]  # fmt: skip
    assert kept(stack)["one.png"]["metadata"]["year"] == 2024
    assert kept(stack)["sub/two.png"]["metadata"]["caption"] == "two words"
    assert run(client, objects.url, objects.options)[0].counts["unchanged"] == 3
    stack.torchserve.calls.clear()
    objects.fs.mv(f"{objects.name}/pictures/sub/two.png", f"{objects.name}/pictures/zwei.png")
    objects.write("one.json", b'{"caption": "B"}')
    assert run(client, objects.url, objects.options)[1].told("added", "changed", "moved") == [
        ("changed", "one.png"), ("moved", "zwei.png"),
    ]  # fmt: skip
    assert [endpoint for endpoint, _ in stack.torchserve.calls if endpoint != "clip_text"] == []
    assert ("year" in kept(stack)["one.png"]["metadata"], kept(stack)["one.png"]["metadata"]["caption"]) == (False, "B")
    objects.put(three="pink")
    objects.fs.rm(f"{objects.name}/pictures/zwei.png")
    assert run(client, objects.url, objects.options)[1].told("changed", "removed") == [
        ("changed", "three.png"), ("removed", "zwei.png"),
    ]  # fmt: skip
    assert abs(kept(stack)["three.png"]["vector"] - embed("pink")).max() < 1e-6
    assert objects.fs.cat_file(f"{objects.name}/pictures/one.png") == picture("red"), "originals stay"


def test_listings_and_manifests_in_a_bucket(client: Client, stack: Stack, objects: Objects) -> None:
    objects.put(one="red", two="blue")
    objects.write("gallery.jsonl", b'{"id": "uno", "file": "one.png", "caption": "A"}\n')
    objects.write("about.csv", b"file,year\ntwo.png,1999\n")
    _, seen = run(client, objects.url, objects.options, f"{objects.url}/about.csv")
    assert seen.told("added") == [("added", "two.png"), ("added", "uno")]
    assert kept(stack)["uno"]["metadata"]["caption"] == "A"
    assert kept(stack)["two.png"]["metadata"]["year"] == 1999


def test_a_bucket_that_is_away_or_empty_removes_nothing(client: Client, stack: Stack, objects: Objects) -> None:
    objects.put(one="red", two="blue")
    run(client, objects.url, objects.options)
    away = {**objects.options, "endpoint_url": "http://127.0.0.1:9", "config_kwargs": {"retries": {"max_attempts": 1}}}
    for url, options in (
        (objects.url, away),
        ("s3://no-such-bucket-here/pictures", objects.options),
        ("nonsense://x/y", {}),
    ):
        with pytest.raises(SourceError):
            run(client, url, options)
    objects.fs.rm(f"{objects.name}/pictures", recursive=True)
    summary, _ = run(client, objects.url, objects.options)
    assert ("empty" in summary.refused, set(kept(stack))) == (True, {"one.png", "two.png"})


def test_503_and_half_objects(client: Client, objects: Objects, s3_url: str) -> None:
    objects.put(one="red", half="blue", two="green")

    def fault(path: str, before: int) -> str:
        """At first 503 for each object, then half of one."""
        if not path.endswith(".png"):
            return ""
        return "503" if not before else "half" if path.endswith("half.png") else ""

    with in_front_of(s3_url, fault) as url:
        _, seen = run(client, objects.url, {**objects.options, "endpoint_url": url})
    assert seen.told() == [("added", "one.png"), ("added", "two.png"), ("skipped", "half.png")], seen.changes
    assert run(client, objects.url, objects.options)[1].told() == [("added", "half.png")]


def test_other_file_systems_of_fsspec(client: Client) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe_file("/sync/one.png", picture("red"))
    try:
        assert run(client, "memory://sync")[1].told() == [("added", "one.png")]
        assert run(client, "memory://sync")[0].counts == {"unchanged": 1}
        memory.mv("/sync/one.png", "/sync/uno.png")
        assert run(client, "memory://sync")[1].told() == [("moved", "uno.png")]
    finally:
        memory.rm("/sync", recursive=True)


def test_the_command_follows_a_bucket(stack: Stack, objects: Objects, s3_url: str) -> None:
    objects.put(one="red")
    words = ["sync", objects.url, "--collection", "photos", "--url", stack.url, "--storage", f"endpoint_url={s3_url}"]
    ran = CliRunner().invoke(app, [*words, "--storage", "key=k", "--storage", "secret=s"])
    assert (ran.exit_code, set(kept(stack))) == (0, {"one.png"}), ran.output
    assert CliRunner().invoke(app, [*words, "--storage", "nonsense"]).exit_code == 2


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(SourceError, match=r"gs:// needs gcsfs: pip install"):
        Bucket("gs://bucket/prefix")


def test_names_in_a_bucket_stay_below_it(client: Client, objects: Objects) -> None:
    objects.fs.pipe_file(f"{objects.name}/pictures-of-others/one.png", picture("red"))
    objects.put(mine="blue")
    assert run(client, objects.url, objects.options)[1].told() == [("added", "mine.png")]


def test_names_that_would_change_a_terminal(stack: Stack, objects: Objects) -> None:
    objects.write("a\x1b[31m.png", picture("red"))
    words = ["sync", objects.url, "--collection", "photos", "--url", stack.url, "--dry-run"]
    for name, value in objects.options.items():
        words += ["--storage", f"{name}={value}"]
    ran = CliRunner().invoke(app, words)
    objects.fs.rm_file(f"{objects.name}/pictures/a\x1b[31m.png")  # the server can't delete it with others
    assert (ran.exit_code, "added    a\\x1b[31m.png" in ran.output, "\x1b[31m" in ran.output) == (0, True, False), ran
