"""`--precision auto`: what this machine can compute in is built, judged and timed; the fastest that passes is used."""

from __future__ import annotations

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
from scripts.archive.tower_build import BuiltTowers, Judge, Judged, Report, build_towers

CANDIDATES = ("fp32", "bf16", "fp16", "int8", "int8-static", "fp8")


def choose(
    source: ModelSource, loaded: LoadedSource, gate: GateSet, directory: Path | None, report: Report
) -> tuple[BuiltTowers, list[Judged]]:
    """The fastest towers that pass the gates of `source`, and all that were judged. Raises BadModel when none pass."""
    judge = Judge(loaded, gate)
    judged: list[Judged] = []
    best: BuiltTowers | None = None
    for precision in CANDIDATES:
        reason = unavailable(precision, source.device)
        if reason is not None:
            judged.append(Judged(precision, failed=reason))
            continue
        try:
            towers = build_towers(loaded, precision, gate, directory, report, source.device)
        except BadModel as error:
            judged.append(Judged(precision, failed=error.message))
            continue
        judged.append(gated(judge.judge(towers), source, judge.recall))
        if judged[-1] is fastest(judged):
            best = towers
    if best is None:
        raise BadModel(f"no precision passes: {'; '.join(f'{each.precision}: {each.failed}' for each in judged)}")
    return best, judged


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
