"""The demo captioner: its words, what captions say, what its losses leave out, and the committed model."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
import torch

from scripts.demo.captioner.evaluate import ARCHIVE, captions_of, drawn, shares
from scripts.demo.captioner.held_out import left_out, others_left_out, words_left_out
from scripts.demo.captioner.learner import CaptionLearner
from scripts.demo.captioner.lessons import patch_objects
from scripts.demo.captioner.model import new_model, write_config
from scripts.demo.captioner.told import one_kind, told, two_kinds
from scripts.demo.captioner.train import SpelledCaptions, mostly_from_the_left_or_top
from scripts.demo.captioner.vocabulary import tokenizer_of, words
from scripts.demo.claims import singular
from scripts.demo.scenes import COLORS, HELD_OUT, SHAPES, TEXTURES, TRAINED, UNSEEN, Object, Scene, make_scene

KINDS = ("single", "several", "relation")
STAR, RING = Object("star", "red", "striped"), Object("ring", "blue", "plain")
PAIR = Scene((STAR, RING), "medium", 2, "white", "left of", ((0.25, 0.5), (0.75, 0.5)), 1)
ONE = Scene((STAR,), "large", 1, "black", None, ((0.5, 0.5),), 1)


@pytest.fixture(scope="module")
def loaded() -> tuple[Any, Any, Any]:
    """The committed model, transform and tokenizer, as open_clip loads them."""
    import open_clip

    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{ARCHIVE}")
    return model.eval(), transform, tokenizer_of(ARCHIVE)


def test_the_reduced_vocabulary_cuts_the_scenes_words_as_clip_does(loaded: tuple[Any, Any, Any]) -> None:
    from open_clip.tokenizer import SimpleTokenizer

    whole, reduced = SimpleTokenizer(), loaded[2]
    assert [reduced.bpe(word) for word in words()] == [whole.bpe(word) for word in words()]
    assert reduced.decode(reduced.encode("an unheard-of hippopotamus")).split() == [
        "an",
        "unheard",
        "-",
        "of",
        "hippopotamus",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_every_caption_is_spelled_in_known_words_and_fits(kind: str, loaded: tuple[Any, Any, Any]) -> None:
    rng = Random(4)
    captions, tokenizer = SpelledCaptions(loaded[2]), loaded[2]
    scenes = [make_scene(rng, TRAINED, kind) for _ in range(50)]
    said = [scene.caption(rng) for scene in scenes]
    ids, _ = captions.encode(said, scenes)
    assert torch.equal(ids, tokenizer(said)[:, : ids.shape[1]])
    assert int(ids[:, -1].max()) == 0
    assert ids.shape[1] < loaded[0].context_length


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_canonical_caption_says_is_all_right(kind: str) -> None:
    for scene in drawn(kind, TRAINED, 5, 100):
        judge = two_kinds if scene.relation else one_kind
        assert all(judge(told(scene.canonical_caption()), scene).values()), scene.canonical_caption()


@pytest.mark.parametrize(
    ("caption", "wrong"),
    [
        ("a large red striped star on a black background", set()),
        ("there is a striped red large star on black", set()),
        ("a small red striped star on a black background", {"size", "all"}),
        ("a large red striped star", {"background", "all"}),
        ("a large red blue striped star on a black background", {"color", "all"}),
        ("two large red striped stars on a black background", {"count", "all"}),
        ("a large red striped star above a blue plain ring on a black background", {"count", "all"}),
        ("", {"shape", "color", "texture", "size", "background", "all"}),
    ],
)
def test_what_a_caption_gets_wrong_of_one_object(caption: str, wrong: set[str]) -> None:
    assert {name for name, right in one_kind(told(caption), ONE).items() if not right} == wrong


@pytest.mark.parametrize(
    ("caption", "wrong"),
    [
        ("a red striped star left of a blue plain ring on a white background", set()),
        ("a blue plain ring is right of a red striped star on white", set()),
        ("a blue plain ring left of a red striped star on a white background", {"relation", "all"}),
        ("a red striped star above a blue plain ring on a white background", {"relation", "all"}),
        ("a red striped ring left of a blue plain star on a white background", {"shapes", "all"}),
        (
            "a blue striped star left of a red plain ring on a white background",
            {"shapes", "textures", "relation", "all"},
        ),
        (
            "a red striped star left of a red plain ring on a white background",
            {"colors", "shapes", "textures", "relation", "all"},
        ),
        ("a red striped star on a white background", {"colors", "shapes", "textures", "relation", "all"}),
    ],
)
def test_what_a_caption_gets_wrong_of_two_objects(caption: str, wrong: set[str]) -> None:
    assert {name for name, right in two_kinds(told(caption), PAIR).items() if not right} == wrong


def test_a_relation_told_from_the_other_object_is_the_same_scene() -> None:
    rng = Random(6)
    scenes = drawn("relation", TRAINED, 8, 200)
    told_from = [mostly_from_the_left_or_top(scene, rng) for scene in scenes]
    for scene, other in zip(scenes, told_from, strict=True):
        assert all(two_kinds(told(other.canonical_caption()), scene).values())
    assert sum(each.relation in ("left of", "above") for each in told_from) > 160


def test_losses_leave_out_held_out_combinations_and_nothing_that_is_shown() -> None:
    table = left_out()
    assert int(table.sum()) == len(HELD_OUT)
    for shape, color, texture in TRAINED:
        parts = torch.tensor([SHAPES.index(shape), list(COLORS).index(color), TEXTURES.index(texture)])
        outs = others_left_out(parts, table)
        assert not any(bool(out[part]) for out, part in zip(outs, parts, strict=True))
        found = {SHAPES[i] for i in outs[0].nonzero()[:, 0]}
        assert found == {other for other in SHAPES if (other, color, texture) in HELD_OUT}


def test_words_left_out_stand_where_the_true_word_stands(loaded: tuple[Any, Any, Any]) -> None:
    captions, rng, found = SpelledCaptions(loaded[2]), Random(9), 0
    spelled = loaded[2].decoder
    for _ in range(300):
        scene = make_scene(rng, TRAINED, rng.choice(KINDS))
        caption = scene.caption(rng)
        pieces = [i for word in caption.split() for i in captions.words[word]]
        for place, token in words_left_out(caption, scene, captions.words):
            true, other = (_kind_of(spelled[i].removesuffix("</w>")) for i in (pieces[place], token))
            assert pieces[place] != token
            assert true == other
            found += 1
    assert found > 300


def _kind_of(piece: str) -> int:
    """Which of shape, colour and texture a word's first piece is."""
    names = (SHAPES, tuple(COLORS), TEXTURES)
    return next(i for i, kind in enumerate(names) if any(name.startswith(singular(piece)) for name in kind))


def test_short_texts_are_encoded_as_open_clip_encodes_padded_ones(tmp_path: Any) -> None:
    write_config(tmp_path)
    learner = CaptionLearner(new_model(tmp_path, None)).eval()
    tokenizer = tokenizer_of(tmp_path)
    ids = tokenizer(["a small red plain star on a white background", "a ring"])
    vectors, tokens = learner.encode_text(ids[:, :13])
    whole_vectors, whole_tokens = learner.model._encode_text(ids, normalize=False)
    assert torch.allclose(vectors, whole_vectors, atol=1e-5)
    assert torch.allclose(tokens[:, :4], whole_tokens[:, :4], atol=1e-5)


def test_patches_know_the_object_that_covers_them() -> None:
    discs = torch.tensor([[[0.25, 0.5, 0.15], [0.75, 0.5, 0.1], [9.0, 9.0, 0.0]]])
    nearest, inside = patch_objects(discs, torch.zeros(1, 2), 8)
    found = torch.where(inside, nearest, -1).reshape(8, 8)
    assert found[4].tolist() == [-1, 0, 0, -1, -1, 1, 1, -1]
    assert found[0].tolist() == [-1] * 8
    moved, inside = patch_objects(discs, torch.tensor([[0.125, 0.0]]), 8)
    assert torch.where(inside, moved, -1).reshape(8, 8)[4].tolist() == [-1, -1, 0, 0, -1, -1, 1, 1]


def test_the_committed_captioner_is_small_and_says_what_its_evaluation_says(loaded: tuple[Any, Any, Any]) -> None:
    model, transform, tokenizer = loaded
    assert (ARCHIVE / "open_clip_model.safetensors").stat().st_size <= 8_000_000
    said = json.loads((ARCHIVE / "evaluation.json").read_text(encoding="utf-8"))["shares"]
    for kind, name, attribute in (
        ("single", "one object", "all"),
        ("relation", "two objects in a relation", "relation"),
    ):
        scenes = drawn(kind, UNSEEN, 901, 60)
        found = shares(scenes, captions_of(model, transform, tokenizer, scenes))
        assert abs(found[attribute] - said[f"{name}, unseen combinations"][attribute]) < 0.15
