"""All caches say the same tokens, under any budget; and the paged one's tables against a naive reference."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
import torch

from clip_core.caption_caches.blocks import NOBODYS, BlockPool, BlockTables, OutOfBlocks
from clip_core.caption_caches.cache import CacheShape, TextCache
from clip_core.caption_caches.choice import KINDS, CacheChoice
from clip_core.caption_caches.pages import resident_bytes_of, zeros_on_demand
from clip_core.caption_caches.pictures import PictureCache
from clip_core.caption_caches.store import CacheStore
from clip_core.captions.ask import CaptionAsk as Ask
from clip_core.captions.captioner import Captioner
from clip_core.captions.scheduler import Scheduler
from clip_core.errors import InvalidRequest, Overloaded
from tests.captioners import pictures
from tests.clip_core.test_captions import finish

CHOICES = [
    *(CacheChoice(kind) for kind in KINDS if kind != "paged"),
    *(CacheChoice("paged", block, shares=shares) for block in (1, 4, 16) for shares in (True, False)),
]
ASKS = [
    Ask(beams=6, groups=1, max_tokens=24),
    Ask(method="greedy", max_tokens=20),
    Ask(method="sample", n=3, seed=3, top_k=50, max_tokens=16, temperature=1.5, prompt="a photo"),
    Ask(beams=6, groups=3, max_tokens=12),
    Ask(method="greedy", prompt="a photo", max_tokens=9),
    Ask(beams=4, groups=1, max_tokens=18, n=3),
] * 2


def scheduled(captioner: Captioner, choice: CacheChoice | None, rows: int = 32) -> tuple[list[object], Scheduler]:
    """What is said of each picture, in order."""
    scheduler = Scheduler(captioner, rows, cache=choice)
    for i, (picture, ask) in enumerate(zip(pictures(len(ASKS)), ASKS, strict=True)):
        scheduler.add(str(i), picture, ask)
    events = finish(scheduler, tokens=3)
    for i, ask in enumerate(ASKS):
        own, captions = events[str(i)], events[str(i)][-1].captions
        assert captions, own[-1].error
        if ask.streams:
            assert "".join(event.delta for event in own) == captions[0].text
    return [[caption.tokens for caption in events[str(i)][-1].captions or ()] for i in range(len(ASKS))], scheduler


@pytest.fixture(scope="module")
def said(captioner: Captioner) -> list[object]:
    return scheduled(captioner, None)[0]


@pytest.mark.parametrize("choice", CHOICES, ids=lambda each: f"{each.kind} {each.block} {each.shares}")
def test_all_caches_say_the_same_and_give_everything_back(
    captioner: Captioner, said: list[object], choice: CacheChoice
) -> None:
    tokens, scheduler = scheduled(captioner, choice)
    assert tokens == said
    assert scheduler.cache_bytes == 0
    assert scheduler.store.pool is None


@pytest.mark.parametrize("choice", CHOICES, ids=lambda each: f"{each.kind} {each.block} {each.shares}")
def test_a_preempted_caption_goes_on_with_the_same_tokens(
    captioner: Captioner, said: list[object], choice: CacheChoice
) -> None:
    """The budget is what the largest request needs alone."""
    most = 24 if choice.kind == "static-rows" or choice.kind == "static-tokens" else 0
    probe = CacheStore(choice, captioner.cache_shape, 32)
    budget = max(probe.alone(ask.rows, max(most, ask.max_tokens)) for ask in ASKS) + captioner.picture_bytes
    tokens, scheduler = scheduled(captioner, replace(choice, budget=budget))
    assert tokens == said
    assert scheduler.cache_bytes == 0
    if choice.kind in ("growing", "paged"):
        assert scheduler.counts.preempted > 0
    elif choice.kind.startswith("static"):
        assert scheduler.counts.preempted == 0


def test_an_absorbed_picture_is_a_fraction_and_says_the_same(folder: Path, captioner: Captioner) -> None:
    absorbed = Captioner.load(folder, absorbed=True)
    assert absorbed.picture_bytes * 2 * len(captioner.decoder.cross) == captioner.picture_bytes
    assert absorbed.remember(pictures(1))[0].cross.nbytes == absorbed.picture_bytes
    for choice in (None, CacheChoice("paged", 4)):
        assert scheduled(absorbed, choice)[0] == scheduled(captioner, None)[0]
    texts = ["a red circle", "!", "two blue squares"]
    expected = captioner.score(captioner.remember(pictures(1))[0], texts)
    assert absorbed.score(absorbed.remember(pictures(1))[0], texts) == pytest.approx(expected, abs=1e-3)


def test_the_budget_is_kept(captioner: Captioner) -> None:
    scheduler = Scheduler(captioner, 32, cache=CacheChoice("paged", 4, budget=200_000))
    for i, picture in enumerate(pictures(8)):
        scheduler.add(str(i), picture, Ask(beams=6, groups=1, max_tokens=24))
    most = 0
    while not scheduler.idle:
        assert not [event for event in scheduler.run(1) if event.error]
        assert scheduler.cache_bytes <= 200_000
        most = max(most, scheduler.live_requests)
    assert most > 1


def test_captions_that_wait_for_bytes_count_as_waiting(captioner: Captioner) -> None:
    ask, choice = Ask(method="greedy", max_tokens=24), CacheChoice("static-rows")
    alone = captioner.picture_bytes + CacheStore(choice, captioner.cache_shape, 32).alone(1, 24)
    scheduler = Scheduler(captioner, 32, most_waiting=2, cache=replace(choice, budget=alone))
    for i, picture in enumerate(pictures(3)):
        scheduler.add(str(i), picture, ask)
        scheduler.run(1)
    with pytest.raises(Overloaded):
        scheduler.add("more", pictures(1)[0], ask)
    scheduler.cancel("0")
    scheduler.add("more", pictures(1)[0], ask)
    assert len(finish(scheduler, tokens=3)) == 3


def test_nonsense_is_refused(captioner: Captioner) -> None:
    for bad in (
        {"kind": "ring"},
        {"block": 0},
        {"block": -4},
        {"block": True},
        {"budget": -1},
    ):
        with pytest.raises(ValueError, match="caption cache"):
            CacheChoice(**bad)
    with pytest.raises(ValueError, match="more than the model's context of 24"):
        Scheduler(captioner, cache=CacheChoice("paged", 25))
    for kind in KINDS:
        with pytest.raises(ValueError, match="caption_kv_cache_bytes"):
            Scheduler(captioner, cache=CacheChoice(kind, budget=8192))
        scheduler = Scheduler(captioner, cache=CacheChoice(kind, budget=40_000))
        with pytest.raises(InvalidRequest, match="40000"):
            scheduler.add("large", pictures(1)[0], Ask(max_tokens=24, beams=6, groups=1))
        assert scheduler.idle


SHAPE = CacheShape(layers=2, width=8, heads=2, dtype=torch.float32, context=12)


@pytest.mark.parametrize("choice", CHOICES, ids=lambda each: f"{each.kind} {each.block} {each.shares}")
def test_a_cache_gives_back_what_was_written(choice: CacheChoice) -> None:
    """Random appends, moves and drops in two places beside a list of tokens a row."""
    random, generator = Random(4), torch.Generator().manual_seed(4)
    lanes = 3
    cache: TextCache = CacheStore(replace(choice, block=min(choice.block, 12)), SHAPE, 64).texts(lanes)
    cache.resize([], 2, 12)
    rows: list[list[torch.Tensor]] = [[] for _ in range(2 * lanes)]
    for _ in range(150):
        place = random.randrange(2)
        mine = range(place * lanes, (place + 1) * lanes)
        length = len(rows[mine[0]])
        what = random.choice(["append", "append", "append", "alike", "move", "drop"])
        if what in ("append", "alike") and length < 12:
            new = torch.randn(2, 2, lanes, 8, generator=generator)
            leaders = list(mine)
            if what == "alike" and length == 0:
                new[:] = new[:, :, :1]
                leaders = [mine[0]] * lanes
            cache.append(new, list(mine), [length] * lanes, leaders)
            for lane, row in enumerate(mine):
                rows[row].append(new[:, :, lane])
        elif what == "move":
            parents = [random.randrange(lanes) for _ in range(lanes)]
            cache.reorder(place, parents)
            old = [list(rows[row]) for row in mine]
            for row, parent in zip(mine, parents, strict=True):
                rows[row] = list(old[parent])
        elif what == "drop":
            cache.clear(place)
            for row in mine:
                rows[row] = []
        past = cache.past(cache.span)
        whole = past if isinstance(past, torch.Tensor) else past.whole()
        for row, tokens in enumerate(rows):
            for position, token in enumerate(tokens):
                assert torch.equal(whole[position, :, :, row], token)
        if not isinstance(past, torch.Tensor):
            assert torch.equal(past.layer(1).reshape(whole[:, 1].shape), whole[:, 1])
    cache.resize([1], 1, 12)
    past = cache.past(8)
    whole = past if isinstance(past, torch.Tensor) else past.whole()
    for row, tokens in enumerate(rows[lanes:]):
        for position, token in enumerate(tokens[:8]):
            assert torch.equal(whole[position, :, :, row], token)


@pytest.mark.parametrize("seed", range(20))
def test_block_tables_against_a_naive_reference(seed: int) -> None:
    """Add, fork, reorder and free at random; each slot holds one token, and counts are those of the tables."""
    random = Random(seed)
    block, most = random.choice([1, 2, 3, 4, 8]), random.choice([6, 20, 60])
    pool = BlockPool(most)
    tables = BlockTables(pool, block, rows=6)
    naive: list[list[int]] = [[] for _ in range(6)]
    slots: dict[int, int] = {}
    for token in range(1, 400):
        row, other = random.randrange(6), random.randrange(6)
        what = random.choice(["add", "add", "add", "fork", "reorder", "free"])
        if what == "add":
            rows = [row] if random.random() < 0.5 else sorted({row, other})
            positions = [len(naive[each]) for each in rows]
            needed, free = tables.needed(rows, positions), pool.free
            if needed > free:
                before = [list(table) for table in tables.rows]
                with pytest.raises(OutOfBlocks):
                    tables.write(rows, positions)
                assert (before, free) == (tables.rows, pool.free)
                continue
            written = tables.write(rows, positions)
            assert free - pool.free == needed
            for old, new in written.copies:
                for offset in range(block):
                    slots[new * block + offset] = slots.get(old * block + offset, 0)
            for each, slot in zip(rows, written.slots, strict=True):
                slots[slot] = token * 10 + each
                naive[each].append(token * 10 + each)
        elif what == "fork":
            tables.fork(row, other)
            naive[row] = list(naive[other])
        elif what == "reorder":
            tables.reorder([row, other], [other, row])
            naive[row], naive[other] = naive[other], naive[row]
        else:
            tables.clear(row)
            naive[row] = []
        held: dict[int, int] = {}
        for table, tokens in zip(tables.rows, naive, strict=True):
            assert [slots[table[i // block] * block + i % block] for i in range(len(tokens))] == tokens
            assert len(table) == -(-len(tokens) // block)
            for each in table:
                held[each] = held.get(each, 0) + 1
        assert NOBODYS not in held
        assert all(pool.count(each) == count for each, count in held.items())
        assert pool.used == len(held)
    for row in range(6):
        tables.clear(row)
    assert (pool.used, pool.free) == (0, most)


def test_pages_come_when_they_are_written() -> None:
    tensor = zeros_on_demand((256, 1024), torch.float32)
    assert float(tensor.sum()) == 0
    assert resident_bytes_of(tensor) == 0
    tensor[:3] = 1
    assert resident_bytes_of(tensor) == 3 * 4096


def test_pictures_come_and_go_without_moving_the_others() -> None:
    memory = [torch.full((2, 2, 1, 1, 3, 4), float(place)) for place in range(20)]
    cache = PictureCache()
    for before, places in pairwise((0, 1, 2, 3, 4, 6, 8, 12)):
        cache.resize(range(before), places)
        cache.put(places - 1, memory[places])
        assert cache.tensor.shape == (2, 2, places, 1, 3, 4)
        assert cache.tensor.movedim(2, 0).is_contiguous()
        assert cache.tensor.data_ptr() == cache._stored.data_ptr()
    stored = cache._stored
    cache.resize([3, 7, 11], 8)
    assert cache._stored is stored
    assert cache.tensor[0, 0, :3, 0, 0, 0].tolist() == [4.0, 8.0, 12.0]
    whole = cache.bytes
    cache.resize([0, 1, 2], 3)
    assert cache.tensor[0, 0, :, 0, 0, 0].tolist() == [4.0, 8.0, 12.0]
    assert cache.bytes == whole / 4, "half of the places are gone: their memory is given back"
