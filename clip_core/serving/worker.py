"""What every worker has beside its model: settings, a name, metrics, a profiler, a log of its batches."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import Any

from clip_core.logs import configure_logging
from clip_core.periodic import Periodic
from clip_core.serving.batch_log import BatchLog
from clip_core.serving.metrics import WorkerMetrics, declared
from clip_core.serving.profiler import Profiler
from clip_core.serving.torchserve_log_filter import silence_unread_lines
from clip_core.serving.transport import worker_name
from clip_core.serving.worker_memory import INTERVAL_S, WorkerMemory
from clip_core.settings import HandlerSettings
from clip_core.tracing.configure import configure_tracing

log = logging.getLogger("clipserve.handler")


class Worker:
    """Made before its model is loaded, and after the libraries are: what comes between is the model's memory."""

    def __init__(self, context: Any) -> None:
        self.settings = settings = HandlerSettings.from_env()
        configure_logging(
            context.model_name,
            json_lines=settings.log_json,
            level=settings.log_level,
            stream=sys.stdout,
            logger="clipserve",
        )
        configure_tracing(context.model_name)
        self.endpoint, self.name = context.model_name, worker_name(sys.argv)
        self.profiler = Profiler(self.endpoint, self.name)
        self.metrics = WorkerMetrics(declared(context), (self.endpoint,), settings.metrics_interval_s)
        self.batch_log = BatchLog(log, settings.log_interval_s, settings.log_slow_s)
        self._memory = WorkerMemory()

    def ready(self, context: Any, cache_bytes: Callable[[], int], device: str) -> None:
        """The model is loaded and warm: report from now on. `device`: where it is, `cpu` or `cuda:0` and so on."""
        self.metrics.set("clipserve_worker_start_time_seconds", int(time.time()), self.name)
        self.metrics.start()
        self._memory.loaded()

        def show_memory() -> None:
            self._memory.show(self.metrics, self.name, cache_bytes(), device)

        Periodic("memory", show_memory, INTERVAL_S).start()
        Periodic("batch-log", self.batch_log.report, self.settings.log_interval_s or 1.0).start()
        silence_unread_lines(context, logging.getLogger())
