"""Every arm over a gallery: which share of its first pictures is right, by kind of query, and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from benchmarks.drawings.demo_model import DemoModel
from benchmarks.rerank.arms import CANDIDATES, MOST_CANDIDATES, TEMPLATES, ArmJudge, ArmOutcome, SearchedQuery
from benchmarks.rerank.fit import fitted_texts
from benchmarks.rerank.gallery import Gallery
from benchmarks.rerank.queries import KnownQuery, queries
from benchmarks.rerank.statistics import paired, share
from clip_core.captions.captioner import Captioner

BLOCK = 252  # queries of one gallery, six pictures each
Makers = dict[str, Callable[[Random], KnownQuery]]


@dataclass
class JudgedArms:
    """By arm, one outcome a query; `kinds` are those of the queries."""

    kinds: list[str] = field(default_factory=list)
    outcomes: dict[str, list[ArmOutcome]] = field(default_factory=dict)

    def right(self, arm: str, kind: str | None = None) -> list[bool]:
        pairs = zip(self.outcomes[arm], self.kinds, strict=True)
        return [outcome.right for outcome, own in pairs if kind in (None, own)]

    def add(self, kind: str, outcomes: dict[str, ArmOutcome]) -> None:
        self.kinds.append(kind)
        for arm, outcome in outcomes.items():
            self.outcomes.setdefault(arm, []).append(outcome)

    def recall(self) -> dict[str, float]:
        return {arm: round(share(self.right(arm)), 4) for arm in self.outcomes}

    def by_kind(self) -> dict[str, dict[str, float]]:
        kinds = dict.fromkeys(self.kinds)
        return {kind: {arm: round(share(self.right(arm, kind)), 4) for arm in self.outcomes} for kind in kinds}

    def costs(self) -> dict[str, dict[str, float]]:
        """Means a query."""
        names = ("tokens", "pictures", "texts_encoded")
        return {
            arm: {name: round(sum(getattr(each, name) for each in own) / len(own), 1) for name in names}
            for arm, own in self.outcomes.items()
        }

    def against(self, one: str, other: str, kind: str | None = None) -> dict[str, float]:
        difference, low, high = paired(self.right(one, kind), self.right(other, kind))
        return {"difference": round(difference, 4), "low": round(low, 4), "high": round(high, 4)}

    def report(self) -> dict[str, Any]:
        return {
            "queries": len(self.kinds),
            "recall_at_1": self.recall(),
            "by_kind": self.by_kind(),
            "costs": self.costs(),
            "tree_minus": {arm: self.against("tree", arm) for arm in self.outcomes if arm not in ("tree", "oracle")},
            "tree_minus_generative_more_by_kind": {
                kind: self.against("tree", "generative_more", kind) for kind in dict.fromkeys(self.kinds)
            },
        }


def judge_gallery(
    makers: Makers, number: int, seed: int, judge: ArmJudge, clip: DemoModel, captioner: Captioner, console: Console
) -> JudgedArms:
    """`number` queries, in galleries of `BLOCK` queries each."""
    judged, seen = JudgedArms(), fitted_texts()
    for first in range(0, number, BLOCK):
        known = queries(makers, min(BLOCK, number - first), seed + first, seen)
        gallery = Gallery.drawn(known, clip, captioner)
        judge_block(known, gallery, judge, clip, judged, Random(seed + first))
        console.print(f"{len(judged.kinds)} of {number}: {judged.recall()}", soft_wrap=True)
    return judged


def judge_block(
    known: Sequence[KnownQuery], gallery: Gallery, judge: ArmJudge, clip: DemoModel, judged: JudgedArms, rng: Random
) -> None:
    texts = [query.text for query in known]
    most = min(MOST_CANDIDATES, len(gallery.memories))
    found, similarities = gallery.found(clip.texts(texts), most)
    ensembled, _ = gallery.found(ensemble(clip, texts), 1)
    for place, query in enumerate(known):
        right = gallery.right[place]
        searched = SearchedQuery(query.text, found[place], similarities[place][:CANDIDATES], right)
        outcomes = judge.outcomes(searched, gallery, rng)
        outcomes["ensemble"] = ArmOutcome(ensembled[place][0] in right, texts_encoded=len(TEMPLATES))
        judged.add(query.kind, outcomes)


def ensemble(clip: DemoModel, texts: Sequence[str]) -> Tensor:
    """(N, D), of unit norm: the mean over templates."""
    vectors = torch.stack([clip.texts([template.format(text) for text in texts]) for template in TEMPLATES]).mean(dim=0)
    return torch.nn.functional.normalize(vectors, dim=1)
