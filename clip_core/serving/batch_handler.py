"""TorchServe's side of things: `initialize` and `handle`. Its peculiarities are dealt with here and nowhere else."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from clip_core.encode.embedding_cache import CacheStats
from clip_core.endpoint_config import EndpointConfig
from clip_core.errors import ClipServeError, Forbidden, InferenceFailed
from clip_core.inputs.parsing import parse_row
from clip_core.inputs.request import Accepts, AdminRequest, Request
from clip_core.memory_use import resident_bytes
from clip_core.serving.answers import Answer, bounded, failure, with_trace
from clip_core.serving.batch_log import HandledBatch, items, request_ids
from clip_core.serving.batch_trace import begin_batch
from clip_core.serving.metrics import SIZES, count_cache, count_passes, count_stages
from clip_core.serving.transport import headers_of, is_grpc, report
from clip_core.tracing.trace_context import NO_CALLERS, Callers

log = logging.getLogger("clipserve.handler")


class BatchHandler:
    """Subclasses name what they take: `kinds` of part, and the `bare` kind of a plain string or raw body."""

    kinds: frozenset[str] = frozenset()
    bare = "text"

    def initialize(self, context: Any) -> None:
        """Load, warm up, and run the canaries through the path that will serve. Raises BadModel: not ready."""
        from clip_core.encode import canaries, shared_cache
        from clip_core.encode.encoders import Encoders
        from clip_core.index.search_client import SearchClient
        from clip_core.serving.admin import Admin
        from clip_core.serving.batch import answer
        from clip_core.serving.worker import Worker
        from clip_core.serving.worker_memory import device_of

        worker = Worker(context)
        settings, config = worker.settings, EndpointConfig.parse(context.model_yaml_config)
        model_dir = Path(context.system_properties["model_dir"])
        self.accepts = Accepts(self.kinds, self.bare, config.max_inputs)
        gpu_id = context.system_properties.get("gpu_id")
        towers = Encoders.load(model_dir, config, gpu_id, cuda_graphs=settings.cuda_graphs)
        towers.warm_up()
        cosines = canaries.check(towers, model_dir)
        spec = towers.spec
        self.encoders = towers.with_cache(shared_cache.from_settings(settings, config, spec.dim, spec.fingerprint))
        self.most_bytes, self.allow_cross_origin = settings.max_answer_bytes, settings.allow_cross_origin
        self.index = SearchClient(settings.index_url, settings.index_timeout_s)
        self._answer = answer
        self.endpoint, self.worker = worker.endpoint, worker.name
        self.profiler, self.metrics, self.batch_log = worker.profiler, worker.metrics, worker.batch_log
        self.admin = Admin(settings.admin_token, self.encoders, self.accepts, self.worker, self.profiler)
        worker.ready(context, lambda: self.encoders.cache.stats.bytes, device_of(self.encoders))
        log.info("ready", extra={"fingerprint": self.encoders.spec.fingerprint, "canary_cosine": min(cosines)})

    def handle(self, data: Sequence[Mapping[str, Any]], context: Any) -> list[bytes]:
        """One answer for each row; never raises, because that would fail the whole batch with 503."""
        came_ns, started, before = time.time_ns(), time.perf_counter(), self.encoders.cache.stats
        headers = [headers_of(context, index) for index in range(len(data))]
        parsed = [self._parse(row, each) for row, each in zip(data, headers, strict=True)]
        requests = [each for each in parsed if not isinstance(each, Answer)]
        computed = iter(self._traced_answers(requests, came_ns))
        answers = [each if isinstance(each, Answer) else next(computed) for each in parsed]
        answers = [_traced(*each) for each in zip(bounded(answers, self.most_bytes), parsed, headers, strict=True)]
        for index, (answer, each) in enumerate(zip(answers, headers, strict=True)):
            report(context, index, answer, grpc=is_grpc(each))
        self._record(requests, answers, time.perf_counter() - started, before)
        return [answer.body for answer in answers]

    def _traced_answers(self, requests: Sequence[Request | ClipServeError], came_ns: int) -> list[Answer]:
        trace = begin_batch(self.endpoint, requests, came_ns)
        if trace is None:
            return self._profiled_answers(requests)
        answers = trace.run(lambda: self._profiled_answers(requests))
        trace.end(answers)
        return answers

    def _profiled_answers(self, requests: Sequence[Request | ClipServeError]) -> list[Answer]:
        def about() -> dict[str, Any]:
            stages = {name: round(seconds * 1e3, 3) for name, seconds in self.encoders.tally.seconds.items()}
            counted = {"requests": len(requests), "items": items(requests), "memory": resident_bytes()}
            return {**counted, "stages": stages}

        return self.profiler.run(lambda: self._answers(requests), about) if requests else []

    def _answers(self, requests: Sequence[Request | ClipServeError]) -> list[Answer]:
        try:
            return self._answer(requests, self.encoders, self.index, self._observe)
        except Exception:
            log.exception("batch failed, trying one by one", extra={"request_ids": request_ids(requests)})
            return [self._answer_alone(request) for request in requests]

    def _observe(self, name: str, seconds: float) -> None:
        """What is measured never spoils an answer."""
        try:
            self.metrics.observe(name, seconds)
            if name == "clipserve_search_seconds":
                self.encoders.tally.add_seconds("index", seconds)
        except Exception:
            log.exception("a time can't be recorded")

    def _record(
        self,
        requests: Sequence[Request | ClipServeError],
        answers: Sequence[Answer],
        seconds: float,
        before: CacheStats,
    ) -> None:
        """What is counted and logged never spoils an answer."""
        try:
            batch = HandledBatch(requests, answers, seconds, before, self.encoders.cache.stats)
            self._count(batch)
            self.batch_log.add(batch)
        except Exception:
            log.exception("a batch can't be recorded")

    def _count(self, batch: HandledBatch) -> None:
        self.metrics.add("clipserve_batches", 1)
        self.metrics.add("clipserve_batch_requests", len(batch.requests))
        self.metrics.add("clipserve_batch_items", items(batch.requests))
        for code in (code for answer in batch.answers for code in answer.codes):
            self.metrics.add("clipserve_errors", 1, code)
        self.metrics.observe("clipserve_batch_size", len(batch.requests), SIZES)
        count_stages(self.metrics, self.encoders.tally.take_seconds())
        count_passes(self.metrics, self.encoders.tally.take())
        count_cache(self.metrics, batch.before, batch.after, self.worker)

    def _answer_alone(self, request: Request | ClipServeError) -> Answer:
        try:
            return self._answer([request], self.encoders, self.index, self._observe)[0]
        except Exception:
            log.exception("request failed", extra={"request_ids": request_ids([request])})
            return failure(InferenceFailed("the model failed on this request; see the worker's log"))

    def _parse(self, row: Mapping[str, Any], headers: Mapping[str, str]) -> Request | ClipServeError | Answer:
        """What an admin request asks for is done at once, before its batch."""
        try:
            if "origin" in headers and not self.allow_cross_origin:
                raise Forbidden("TorchServe answers no web pages: let them call the gateway")
            request = parse_row(row, headers.get("content-type"), self.accepts, headers.get("x-request-id"))
            if isinstance(request, AdminRequest):
                return self.admin.answer(request, headers.get("authorization"))
            return _with_caller(request, headers.get("traceparent"))
        except ClipServeError as error:
            return error
        except Exception:
            log.exception("request can't be parsed")
            return InferenceFailed("the request can't be parsed; see the worker's log")


def _with_caller(request: Request, traceparent: object) -> Request:
    """The header counts where the body says nothing; a multipart field of that name is no header."""
    if traceparent is None or request.callers is not NO_CALLERS:
        return request
    return replace(request, callers=Callers.read(traceparent))


def _traced(answer: Answer, parsed: Request | ClipServeError | Answer, headers: Mapping[str, object]) -> Answer:
    callers = parsed.callers if isinstance(parsed, Request) else Callers.read(headers.get("traceparent"))
    return with_trace(answer, callers)
