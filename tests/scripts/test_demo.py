"""Scenes, their words, the gallery, and the committed model."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image, ImageChops
from rich.console import Console

from scripts.demo.attributes import HEADS, IGNORE, labels
from scripts.demo.claims import true_of
from scripts.demo.evaluate import ARCHIVE, distinct_scenes, evaluate
from scripts.demo.probe_drawings import probe_set
from scripts.demo.render import render
from scripts.demo.render_gallery import LISTING, gallery_scenes, render_gallery
from scripts.demo.scenes import COMBINATIONS, HELD_OUT, TRAINED, UNSEEN, make_scene
from scripts.demo.search_table import show_search
from scripts.demo.shown_searches import ShownSearch, pages, shown_searches
from scripts.demo.sketch import sketch
from scripts.demo.sketch_scenes import make_sketch

KINDS = ("single", "several", "relation")


@pytest.mark.parametrize("kind", KINDS)
def test_a_scene_is_drawn_alike_every_time(kind: str) -> None:
    one, other = (make_scene(Random(7), COMBINATIONS, kind) for _ in range(2))
    assert one == other
    assert ImageChops.difference(render(one, 320, 240), render(other, 320, 240)).getbbox() is None


@pytest.mark.parametrize("kind", KINDS)
def test_everything_lies_in_the_central_square(kind: str) -> None:
    for seed in range(20):
        scene = make_scene(Random(seed), COMBINATIONS, kind)
        image = render(scene, 400, 240)
        edge = image.crop((0, 0, 78, 240)).convert("HSV").getchannel("S")
        low, high = edge.getextrema()
        assert high - low < 40, scene.canonical_caption()


def test_held_out_combinations_are_a_tenth_and_never_trained_on() -> None:
    assert 0.07 < len(HELD_OUT) / len(COMBINATIONS) < 0.14
    assert not HELD_OUT & set(TRAINED)
    rng = Random(3)
    scenes = [make_scene(rng, TRAINED, kind) for kind in KINDS for _ in range(500)]
    assert not [scene for scene in scenes if any(each.combination in HELD_OUT for each in scene.objects)]


def test_captions_name_the_shape_and_vary() -> None:
    rng = Random(5)
    for kind in KINDS:
        scene = make_scene(rng, COMBINATIONS, kind)
        captions = {scene.caption(rng) for _ in range(200)}
        assert len(captions) > 20
        assert all(each.shape in caption for caption in captions for each in scene.objects)


def test_evaluation_scenes_differ_in_their_captions() -> None:
    captions = {scene.canonical_caption() for scene in distinct_scenes("single", UNSEEN, 101)}
    assert len(captions) == 200


def test_a_gallery_is_whole_or_made_again(tmp_path: Path) -> None:
    gallery = tmp_path / "gallery"
    assert render_gallery(gallery, 12)
    assert not render_gallery(gallery, 12)
    rows = [json.loads(line) for line in (gallery / LISTING).read_text().splitlines()]
    assert len({row["caption"] for row in rows}) == 12
    for row in rows:
        with Image.open(gallery / row["file"]) as picture:
            assert picture.width != picture.height
    (gallery / LISTING).write_text("")
    assert render_gallery(gallery, 12)
    (gallery / rows[5]["file"]).unlink()
    assert render_gallery(gallery, 12)
    assert not render_gallery(gallery, 12)
    assert render_gallery(gallery, 12, seed=1)
    assert [path.name for path in tmp_path.iterdir()] == ["gallery"]


def test_a_gallery_never_replaces_files_of_others(tmp_path: Path) -> None:
    (tmp_path / "holiday.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holiday\.txt"):
        render_gallery(tmp_path, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.txt"]


def test_the_gallery_has_what_the_documents_search_for() -> None:
    searches, scenes = shown_searches(pages()), gallery_scenes()
    assert len(searches) >= 4
    for search in searches:
        assert any(search.allows(scene) and search.answered_by(scene) for scene in scenes), search


def test_searches_are_found_in_every_form_of_the_documents(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        """clipserve search "a red ring" --collection demo
        clipserve search "a dog" --collection photos
        client.search("demo", "a lime star")
        -d '{"collection": "demo", "text": "a moon", "filter": {"color": "red"}}'
        -d '{"input": ["a heart", "a moon"], "search": {"collection": "demo", "k": 2}}'
        -d '{"collection": "mine", "text": "a cross"}'"""
    )
    found = [(search.text, search.filter) for search in shown_searches([page])]
    assert found == [
        ("a red ring", ""),
        ("a lime star", ""),
        ("a moon", '{"color": "red"}'),
        ("a heart", ""),
        ("a moon", ""),
    ]


def test_a_search_is_answered_by_what_it_says() -> None:
    scenes = {scene.canonical_caption(): scene for scene in gallery_scenes()}
    pair = scenes["two small blue plain stars on a white background"]
    assert ShownSearch("two small blue stars", '{"background": {"$ne": "black"}}').answered_by(pair)
    assert not ShownSearch("", '{"background": {"$ne": "white"}}').allows(pair)
    for other in ("a blue star", "two large blue stars", "two blue striped stars", "two red stars"):
        assert not ShownSearch(other).answered_by(pair), other


@pytest.mark.parametrize("kind", KINDS)
def test_a_sketch_is_drawn_alike_every_time_and_varies(kind: str) -> None:
    scene = make_scene(Random(7), COMBINATIONS, kind)
    one, other, third = (sketch(scene, Random(seed)) for seed in (1, 1, 2))
    assert one.tobytes() == other.tobytes() != third.tobytes()


def test_sketches_keep_to_the_combinations_that_are_trained_on() -> None:
    rng = Random(4)
    scenes = [make_sketch(rng, TRAINED) for _ in range(500)]
    assert {each.combination for scene in scenes for each in scene.objects} <= set(TRAINED)
    nameless = [scene for scene in scenes if not scene.background]
    assert 150 < len(nameless) < 350
    assert not any("background" in scene.caption(rng) or " on " in scene.canonical_caption() for scene in nameless)
    assert all(labels(scene)[list(HEADS).index("background")] == IGNORE for scene in nameless)


def test_a_caption_with_a_background_is_not_true_of_a_sketch_without_one() -> None:
    scene = replace(make_scene(Random(7), COMBINATIONS, "single"), background="")
    words = scene.canonical_caption()
    assert true_of([scene, scene], [words, f"{words} on a white background"]).tolist() == [[True, False], [True, True]]


def test_probe_drawings_have_twelve_captions() -> None:
    for seed in range(10):
        captions, pictures = probe_set(seed)
        assert len(set(captions)) == len(pictures) == 12


def test_the_committed_model_finds_what_it_never_saw() -> None:
    fresh = evaluate()
    assert fresh["one object, unseen combinations"]["text_to_image_recall_at_1"] >= 0.90
    assert fresh["searches that README and docs show, on the gallery"]["right_at_1"] == 1
    committed = json.loads((ARCHIVE / "evaluation.json").read_text())["recalls"]
    for group, recalls in fresh.items():
        for name, value in recalls.items():
            assert value == pytest.approx(committed[group][name], abs=0.015), (group, name)


def test_the_weights_fit_in_git() -> None:
    assert (ARCHIVE / "open_clip_model.safetensors").stat().st_size <= 8_000_000


def test_hits_are_shown_as_they_are_named() -> None:
    hit = SimpleNamespace(score=0.5, id="[/a]", metadata={"caption": "[bold]b[/x]"})
    client: Any = SimpleNamespace(search=lambda *_, **__: SimpleNamespace(hits=[hit], raw={"timing": {}}, rerank=None))
    console = Console(file=StringIO(), width=100)
    show_search(client, console, "demo", "[/red]")
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(name in shown for name in ("[/a]", "[bold]b[/x]", "[/red]"))
