"""`--precision auto`: what this machine can compute in is built, judged and timed; the fastest that passes is used."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from clip_core.errors import BadModel
from clip_core.inputs.preprocessing import Preprocessing
from clip_core.networks.precision import unavailable
from scripts.archive.assembly.parts import LoadedSource
from scripts.archive.canary_images import canary_images
from scripts.archive.gate_set import GateSet
from scripts.archive.model_source import ModelSource
from scripts.archive.tower_build import BuiltTowers, Judge, Judged, build_towers
from scripts.costs import whole
from scripts.progress import WorkProgress, clock_time

CANDIDATES = ("fp32", "bf16", "fp16", "int8", "int8-static", "fp8")


def choose(
    source: ModelSource, loaded: LoadedSource, gate: GateSet, directory: Path | None, progress: WorkProgress
) -> tuple[BuiltTowers, list[Judged]]:
    """The fastest towers that pass the gates of `source`, and a row for each candidate, in their order.

    Raises BadModel when none pass.
    """
    with progress.step("encoding with open_clip in fp32, for comparison"):
        judge = Judge(loaded, gate)
    best: BuiltTowers | None = None
    judged: list[Judged] = []
    for row, towers in compared(source, loaded, gate, judge, directory, progress):
        judged.append(row)
        if row is fastest(judged):
            best = towers
    if best is None:
        raise BadModel(f"no precision passes: {'; '.join(f'{each.precision}: {each.failed}' for each in judged)}")
    return best, in_order(judged)


def compared(
    source: ModelSource,
    loaded: LoadedSource,
    gate: GateSet,
    judge: Judge,
    directory: Path | None,
    progress: WorkProgress,
) -> Iterator[tuple[Judged, BuiltTowers | None]]:
    """Each candidate as it was judged, with its towers; those that can't be built here have none."""
    reasons = {precision: unavailable(precision, source.device) for precision in CANDIDATES}
    yield from ((Judged(precision, failed=reason), None) for precision, reason in reasons.items() if reason is not None)
    round_ = _Round([precision for precision in CANDIDATES if reasons[precision] is None], loaded, directory, progress)
    for precision in round_:
        try:
            towers = build_towers(loaded, precision, gate, directory, progress, source.device)
            with progress.step(f"judging {precision}"):
                row = gated(judge.judge(towers), source, judge.recall)
        except BadModel as error:
            yield Judged(precision, failed=error.message), None
            continue
        yield row, towers


def in_order(judged: list[Judged]) -> list[Judged]:
    """As the candidates are."""
    return sorted(judged, key=lambda each: CANDIDATES.index(each.precision))


class _Round:
    """The precisions to try, one after the other; says what all of them cost, and the time left before each."""

    def __init__(
        self, precisions: list[str], loaded: LoadedSource, directory: Path | None, progress: WorkProgress
    ) -> None:
        parameters = sum(int(tensor.numel()) for tensor in loaded.model.state_dict().values())
        self._precisions, self._progress = precisions, progress
        self._cost = whole(parameters, len(precisions), compile=directory is not None)

    def __iter__(self) -> Iterator[str]:
        started, count = time.monotonic(), len(self._precisions)
        self._progress.say(f"comparing {count} precisions ({', '.join(self._precisions)}): {self._cost}")
        for done, precision in enumerate(self._precisions):
            passed = time.monotonic() - started
            left = passed / done * (count - done) if done else self._cost.seconds
            self._progress.say(f"{done + 1} of {count}: {precision}; about {clock_time(left)} left for all")
            yield precision


def check_floor(towers: BuiltTowers, source: ModelSource, loaded: LoadedSource) -> None:
    """Raises BadModel when the towers bring a canary below the model's floor: no worker would start with them."""
    from torch import inference_mode, stack
    from torch.nn.functional import cosine_similarity

    preprocessing = Preprocessing.of_model(loaded.model)
    pixels = stack([preprocessing.uint8(image) for _, image in canary_images()])
    ids = loaded.tokenizer(list(source.canary_texts))
    with inference_mode():
        texts = cosine_similarity(towers.text(ids), loaded.model.encode_text(ids))
        images = cosine_similarity(towers.image(pixels), loaded.model.encode_image(preprocessing.normalize(pixels)))
    least = min(float(texts.min()), float(images.min()))
    if not least >= source.cosine_floor:
        raise BadModel(
            f"{towers.precision} brings a canary of {source.name} to the cosine {least:.5f}, below its floor "
            f"{source.cosine_floor}: choose another precision, such as bf16 or auto"
        )


def gated(judged: Judged, source: ModelSource, reference_recall: float) -> Judged:
    """`judged` with the gate that it fails, if it fails one."""
    assert judged.quality is not None, "only what was built is judged"
    loss = reference_recall - judged.quality.recall_at_10
    if judged.quality.cosine < source.cosine_floor:
        return replace(judged, failed=f"cosine {judged.quality.cosine:.5f} below {source.cosine_floor}")
    if loss > source.recall_loss_limit:
        return replace(judged, failed=f"recall@10 loss {loss:.4f} above {source.recall_loss_limit}")
    return judged


def fastest(judged: list[Judged]) -> Judged | None:
    """By the product of both towers' rates: what matters to neither at the other's cost."""
    passed = [each for each in judged if each.failed is None]
    return max(passed, key=lambda each: each.images_per_s * each.texts_per_s, default=None)


def show(judged: list[Judged], chosen: str, console: Console) -> None:
    table = Table("precision", "images /s", "short texts /s", "least cosine", "recall@10", "")
    for each in judged:
        figures = ["", "", "", ""]
        if each.quality is not None:
            rates = (f"{each.images_per_s:.1f}", f"{each.texts_per_s:.1f}")
            figures = [*rates, f"{each.quality.cosine:.6f}", f"{each.quality.recall_at_10:.3f}"]
        table.add_row(
            each.precision, *figures, "[bold]chosen[/bold]" if each.precision == chosen else each.failed or ""
        )
    console.print(table)
