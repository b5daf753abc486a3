"""Whether a captioner's settings leave room for what callers ask who say nothing: else all of these would get 400."""

from __future__ import annotations

from clip_core.captions.ask import CaptionAsk
from clip_core.captions.scheduler import Scheduler


def check_usual(scheduler: Scheduler, method: str) -> None:
    """A beam search of the usual size, and `method`, how callers caption who do not say it.

    Raises ValueError that names the setting.
    """
    beam = CaptionAsk(max_tokens=min(CaptionAsk.max_tokens, scheduler.captioner.context_length), min_tokens=0)
    given, needed = scheduler.store.choice.budget, scheduler.bytes_alone(beam)
    if 0 < given < needed:
        raise ValueError(
            f"caption_kv_cache_bytes: {given} do not hold one beam search, a picture and {beam.rows} texts of "
            f"{beam.max_tokens} tokens, {needed} do"
        )
    if method == "beam" and scheduler.most_rows < beam.rows:
        raise ValueError(
            f"caption_max_sequences: {scheduler.most_rows} is less than a beam search takes, which is {beam.rows}"
        )
