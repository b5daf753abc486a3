"""Captions with drafts beside captions without: the same tokens, whatever is drafted and whoever comes and goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
import torch

from clip_core.caption_caches.choice import CacheChoice
from clip_core.captions.ask import CaptionAsk as Ask
from clip_core.captions.calibration import LEAST_SPREAD, calibrate
from clip_core.captions.caption import Caption, DraftUse
from clip_core.captions.captioner import Captioner
from clip_core.captions.samples import kept_by_k, kept_by_p
from clip_core.captions.scheduler import Scheduler
from clip_core.captions.speculation import Speculation
from clip_core.networks import int8
from clip_core.speculation.book import DraftBook
from clip_core.speculation.guard import kept_bounds, leads
from clip_core.speculation.pace import DraftPace, PassCosts, always
from tests.captioners import WORDS, pictures

PRECISIONS = ("fp32", "bf16", *(() if int8.unsupported() else ("int8",)))
GREEDY = Ask(method="greedy", max_tokens=24)
ASKS = (
    GREEDY,
    Ask(method="greedy", max_tokens=20, prompt="a photo of !", min_tokens=12),
    Ask(method="sample", max_tokens=24, seed=3, temperature=0.8),
    Ask(method="sample", max_tokens=24, seed=4, top_k=20, top_p=0.9),
    Ask(method="sample", max_tokens=9, seed=5, n=3),
    Ask(method="beam", max_tokens=12),
)
Drafts = Sequence[Sequence[str]]


@pytest.fixture(scope="module", params=PRECISIONS)
def captioner(folder: Path, request: pytest.FixtureRequest) -> Captioner:
    return Captioner.load(folder, precision=request.param)


@pytest.fixture(scope="module")
def spread(captioner: Captioner) -> float:
    return calibrate(captioner, pictures(4)).spread


def told(
    captioner: Captioner,
    asks: Sequence[Ask],
    drafts: Drafts,
    speculation: Speculation | None,
    *,
    rows: int = 64,
    cache: CacheChoice | None = None,
    cancelled: Sequence[int] = (),
    seed: int = 0,
) -> dict[str, tuple[tuple[Caption, ...], DraftUse | None]]:
    """Requests come a few at a time; those that are `cancelled` go while they are under way."""
    random, scheduler = Random(seed), Scheduler(captioner, rows, cache=cache, speculation=speculation)
    waiting, found = list(enumerate(zip(pictures(len(asks)), asks, drafts, strict=True))), {}
    while waiting or not scheduler.idle:
        for _ in range(random.randint(1, 3)):
            if waiting:
                i, (picture, ask, own) = waiting.pop(0)
                scheduler.add(str(i), picture, ask, own)
        for event in scheduler.run(random.randint(1, 3)):
            assert event.error is None
            if event.captions is not None:
                found[event.id] = event.captions, event.drafts
        for i in cancelled:
            scheduler.cancel(str(i))
    return found


def drafted(own: Sequence[Sequence[Caption]], seed: int = 0) -> Drafts:
    """Of each request: nothing, its own caption, another's, words by chance, or what is far too long."""
    random = Random(seed)
    by_chance = [" ".join(random.choices([*WORDS, "!", ""], k=random.randint(0, 12))) for _ in range(8)]
    kinds: list[Sequence[str]] = []
    for i, captions in enumerate(own):
        text, other = captions[0].text, own[(i + 1) % len(own)][0].text
        kinds.append([[], [text], [other, text], by_chance, [f"{text} {text} {text}", "word " * 400, "\0"]][i % 5])
    return kinds


def of(found: dict[str, tuple[tuple[Caption, ...], DraftUse | None]]) -> dict[str, list[tuple[int, ...]]]:
    return {id: [caption.tokens for caption in captions] for id, (captions, _) in found.items()}


@pytest.mark.parametrize(("rows", "width"), [(1, 16), (3, 2), (8, 16)])
def test_drafts_change_no_token(captioner: Captioner, spread: float, rows: int, width: int) -> None:
    if captioner.precision == "bf16" and rows > 1:
        pytest.skip("plain captions in bfloat16 differ with what shares their batch")
    asks = [ask for ask in ASKS for _ in range(3) if ask.rows <= rows]
    plain = [found for found, _ in _alone(captioner, asks)]
    found = told(captioner, asks, drafted(plain), Speculation(spread, always(width)), rows=rows)
    assert of(found) == {str(i): [caption.tokens for caption in each] for i, each in enumerate(plain)}
    uses = [use for _, use in found.values() if use is not None]
    assert sum(use.accepted for use in uses) > 0
    assert all(0 <= use.accepted <= use.drafted for use in uses)


@pytest.mark.parametrize("cache", [CacheChoice("paged", block=4), CacheChoice("static-rows", absorbed=True)])
def test_drafts_change_no_token_in_any_cache(folder: Path, cache: CacheChoice) -> None:
    captioner = Captioner.load(folder, absorbed=cache.absorbed)
    asks = [ASKS[i % 4] for i in range(8)]
    plain = [found for found, _ in _alone(captioner, asks)]
    found = told(captioner, asks, drafted(plain), Speculation(1e-2, always(8)), rows=4, cache=cache, cancelled=(3,))
    assert of(found) == {id: [caption.tokens for caption in plain[int(id)]] for id in found}
    assert len(found) >= 7


def test_drafts_are_left_alone_where_bytes_are_bounded(folder: Path) -> None:
    captioner = Captioner.load(folder)
    cache, speculation = CacheChoice("paged", block=4, budget=10_000_000), Speculation(1e-3, always(8))
    found = told(captioner, [GREEDY], [["a red circle"]], speculation, cache=cache)
    assert found["0"][1] is None


def _alone(captioner: Captioner, asks: Sequence[Ask]) -> list[tuple[tuple[Caption, ...], DraftUse | None]]:
    """Plainly, one after the other."""
    found = told(captioner, asks, [()] * len(asks), None, rows=max(ask.rows for ask in asks), seed=1)
    return [found[str(i)] for i in range(len(asks))]


def test_requests_that_leave_change_nothing_for_others(captioner: Captioner, spread: float) -> None:
    asks = [ASKS[i % 4] for i in range(12)]
    plain = [found for found, _ in _alone(captioner, asks)]
    found = told(
        captioner, asks, drafted(plain), Speculation(spread, always(8)), rows=4, cancelled=(1, 4, 7, 10), seed=2
    )
    assert len(found) >= 8
    assert of(found) == {id: [caption.tokens for caption in plain[int(id)]] for id in found}


def test_an_own_caption_takes_fewer_passes(folder: Path) -> None:
    captioner = Captioner.load(folder)
    (plain, _), *_ = _alone(captioner, [GREEDY])
    (_, use) = told(captioner, [GREEDY], [[plain[0].text]], Speculation(1e-3, always(32)))["0"]
    assert use is not None
    assert use.accepted + use.passes == len(plain[0].tokens) - 1 > use.passes + 3


def test_drafts_that_are_no_texts_are_no_captions_error(folder: Path) -> None:
    captioner, pace = Captioner.load(folder), always(8)
    plain = [found for found, _ in _alone(captioner, [GREEDY] * 2)]
    drafts = [["", " " * 2000], ["\ud800", " ", plain[1][0].text]]
    found = told(captioner, [GREEDY] * 2, drafts, Speculation(1e-3, pace), rows=1)
    assert of(found) == {str(i): [caption.tokens for caption in captions] for i, captions in enumerate(plain)}
    nothing, some = (found[id][1] for id in "01")
    assert nothing is not None
    assert some is not None
    assert (nothing.passes, some.accepted > 0) == (0, True)


def test_captions_that_were_paused_say_the_same(folder: Path) -> None:
    captioner = Captioner.load(folder)
    plain = [found for found, _ in _alone(captioner, ASKS)]
    scheduler, found = Scheduler(captioner, speculation=Speculation(1e-3, always(8))), {}
    for i, (picture, ask) in enumerate(zip(pictures(len(ASKS)), ASKS, strict=True)):
        scheduler.add(str(i), picture, ask, [plain[i][0].text])
    for steps in (2, 4, 7, 100):
        found |= {event.id: event.captions for event in scheduler.run(steps) if event.captions}
        scheduler.pause()
        assert (scheduler.live_rows, scheduler.cache_bytes) == (0, 0)
    assert scheduler.idle
    assert [[each.tokens for each in found[str(i)]] for i in range(len(ASKS))] == [
        [each.tokens for each in captions] for captions in plain
    ]


def test_what_is_never_clear_is_read_again_by_plain_steps(folder: Path) -> None:
    captioner = Captioner.load(folder)
    asks = [ASKS[i % 4] for i in range(4)]
    plain = [found for found, _ in _alone(captioner, asks)]
    found = told(captioner, asks, drafted(plain), Speculation(1e9, always(8)), rows=1)
    assert [found[str(i)][0][0].tokens for i in range(4)] == [captions[0].tokens for captions in plain]
    assert found["0"][0] == plain[0]  # which ends by itself: to the bit, its log-probability, too
    assert all(use.guarded >= use.passes - 1 > 0 for _, use in found.values() if use is not None)


def test_a_spread_is_measured_for_each_precision(captioner: Captioner, spread: float) -> None:
    assert LEAST_SPREAD[captioner.precision] <= spread < 8
    if captioner.precision == "fp32":
        assert spread < 0.01


def test_choices_that_rounding_could_turn_are_not_clear() -> None:
    scores = torch.tensor([1.0, 3.0, 2.9, float("-inf")])
    assert leads(scores, 0.05)
    assert not leads(scores, 0.15)
    assert not leads(torch.tensor([2.0, 2.0]), 0.0)
    assert not leads(torch.full((3,), float("-inf")), 0.0)


def test_what_is_surely_kept_is_kept_under_any_rounding() -> None:
    generator, spread = torch.Generator().manual_seed(0), 0.05
    sure = unsure = 0
    for _ in range(300):
        scores = torch.randn(12, generator=generator) * 3
        near = scores + (torch.rand(12, generator=generator) - 0.5) * spread
        for count, share in ((0, 0.3), (0, 0.95), (4, 1.0), (5, 0.8)):
            surely, possibly = kept_bounds(scores, count, share, spread)
            kept = kept_by_p(kept_by_k(near, count), share).isfinite()
            assert not bool((surely & ~kept).any())
            assert not bool((kept & ~possibly).any())
            sure += int(surely.sum())
            unsure += int((possibly & ~surely).sum())
    assert sure > unsure > 0


def test_a_tree_joins_parts_of_drafts_and_is_cut_to_its_room() -> None:
    book = DraftBook([[0, 1, 2, 3, 9], [0, 4, 2, 5, 9]], never=(0,))
    tree = book.tree([0], 32, 3)
    assert max(tree.depths) == 3
    node: int | None = 0
    for token in (1, 2, 5):  # begins as the first draft, goes on as the second
        assert node is not None
        node = tree.child(node, token)
    assert node is not None
    assert len(book.tree([0], 4, 8)) == 4
    assert len(book.tree([7], 8, 8)) == len(book.tree([0], 8, 0)) == len(DraftBook([]).tree([0], 8, 8)) == 1


def test_drafts_are_left_alone_where_they_do_not_pay() -> None:
    passes = {1: {8: 1.4, 16: 1.6}, 4: {8: 1.8}, 8: {8: 4.0}}
    pace = DraftPace({places: PassCosts(2.0, widths) for places, widths in passes.items()})
    kind = "greedy"
    assert pace.width(1, [kind], 1) == 16
    assert pace.width(3, [kind] * 3, 3) == 8
    assert pace.width(4, [kind], 4) == pace.width(8, [kind] * 8, 8) == pace.width(9, [kind], 1) == 0
    assert pace.width(1, [], 1) == 0
    assert (pace.pays(1, kind), pace.pays(8, kind), pace.pays(99, kind)) == (True, False, False)
    for _ in range(100):
        pace.learn(kind, 16, 1)
    tries = [pace.width(1, [kind], 1) for _ in range(1000)]
    assert 0 < sum(map(bool, tries)) < 20
    assert pace.width(1, ["sample at 1.0"], 1)
    for _ in range(100):
        pace.learn(kind, 16, 3)
    assert pace.width(1, [kind], 1)


def test_useless_drafts_of_one_origin_lower_no_other_ones_gain() -> None:
    pace = DraftPace({1: PassCosts(2.0, {16: 1.6}), 8: PassCosts(2.0, {16: 4.0})})
    for _ in range(100):
        pace.learn("greedy from here", 16, 1)
    assert (pace.width(1, ["greedy from here"], 1), pace.width(1, ["greedy from there"], 1)) == (0, 16)
    assert pace.disappoints(1, "greedy from here")
    assert not pace.disappoints(1, "greedy from there")
    assert not pace.disappoints(8, "greedy from here"), "good drafts would not pay there, either"
    for n in range(3000):
        pace.learn(f"greedy from {n}", 16, 1)
    assert len(pace.quality) <= 1024
    assert "greedy from 2999" in pace.quality
