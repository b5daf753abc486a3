"""The encoder benchmark on a CPU: ours in every precision beside open_clip, ONNX Runtime and OpenVINO."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from benchmarks.encoders import gemm
from benchmarks.encoders.bars import judge
from benchmarks.encoders.peers import peers
from benchmarks.encoders.rounds import REFERENCE, Forward, Key, ModelJob, Row
from benchmarks.encoders.towers import towers

SETTLE_S = 0.1  # before each timing: the threads of the engine before spin for a while on cores that it needs


class Cpu:
    def candidates(self, job: ModelJob) -> dict[Key, Forward]:
        plan, subject = job.plan, job.subject
        model, made = subject.loaded.model, dict[Key, Forward]()
        ours = towers(subject, job.directory, plan.precisions, job.say)
        job.say("exporting for the peers")
        images: dict[str, Callable[[Tensor], Tensor]] = {REFERENCE: model.encode_image}
        images |= peers(model, subject.normal[:2], job.directory, plan.threads)
        for batch in plan.batches:
            for name, image in images.items():
                made["image", name, batch] = partial(image, subject.normal[:batch])
            for name, each in ours.items():
                made["image", name, batch] = partial(each.image, subject.pixels[:batch])
            for what, ids in {"short text": subject.short, "full text": subject.full}.items():
                made[what, REFERENCE, batch] = partial(model.encode_text, ids[:batch])
                for name, each in ours.items():
                    made[what, name, batch] = partial(each.text, ids[:batch])
        return made

    def seconds(self, forward: Forward) -> float:
        time.sleep(SETTLE_S)
        started = time.perf_counter()
        forward()
        return time.perf_counter() - started

    def ceilings(self) -> dict[str, float]:
        return gemm.ceilings()

    def facts(self) -> dict[str, Any]:
        return {}

    def bars(self, report: dict[str, Any]) -> list[Row]:
        return judge(report["rows"], report["gemm_gflops"], report["serving"] or None, report["model"])
