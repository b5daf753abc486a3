"""The captioner as TorchServe calls it, by continuous batching: every call brings all requests that are under way.

A request's body comes with its first call; a request that comes no more has lost its client. One that is not
answered in a call is left out of what TorchServe is told, so that it can get one plain answer with its status later.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clip_core.endpoint_config import EndpointConfig
from clip_core.errors import ClipServeError, Forbidden, InferenceFailed, WorkerLost
from clip_core.inputs.request import AdminRequest
from clip_core.memory_use import resident_bytes
from clip_core.model_spec import ModelSpec
from clip_core.periodic import Periodic
from clip_core.serving.answers import Answer, failure, with_trace
from clip_core.serving.captions.answers import Piece, PieceKind, broken_off, refused
from clip_core.serving.captions.batch import CaptionBatch, Finished
from clip_core.serving.captions.request import CaptionCall, parse_caption_row
from clip_core.serving.metrics import SIZES, count_stages
from clip_core.serving.transport import JSON, NDJSON, headers_of, is_grpc, report
from clip_core.tracing.trace_context import NO_CALLERS, Callers

log = logging.getLogger("clipserve.handler")
_PAUSED_S = 1.0  # without a call, which TorchServe makes at once while anything is under way: caches are given back
_ABANDONED_S = 5.0  # all clients have left


@dataclass(frozen=True)
class HandledCaption:
    """A caption for the log."""

    done: Finished

    @property
    def seconds(self) -> float:
        return self.done.seconds

    @property
    def failed(self) -> bool:
        return self.done.code is not None

    def fields(self) -> dict[str, Any]:
        request = self.done.underway.request
        traces = [context.trace for context in request.callers.contexts]
        return {
            "request_ids": [request.request_id],
            "statuses": [self.done.status],
            "tokens": self.done.tokens,
            "ms": round(self.done.seconds * 1e3, 2),
            **({"code": self.done.code} if self.done.code else {}),
            **({"trace_ids": traces} if traces else {}),
        }

    def counts(self) -> Mapping[str, int]:
        return {"requests": 1, "tokens": self.done.tokens}


class CaptionBatchHandler:
    """Without `continuousBatching` in the endpoint's settings a batch is captioned to its end, and nothing streams."""

    def initialize(self, context: Any) -> None:
        """Load, and run the canaries. Raises BadModel, or ValueError about a setting: not ready."""
        from clip_core.caption_caches.choice import CacheChoice
        from clip_core.captions.calibration import calibrate, suits
        from clip_core.captions.captioner import Captioner
        from clip_core.captions.scheduler import Scheduler
        from clip_core.serving.admin import Admin
        from clip_core.serving.captions.canaries import check, pictures
        from clip_core.serving.captions.request import ACCEPTS
        from clip_core.serving.captions.usual_requests import check_usual
        from clip_core.serving.worker import Worker

        worker = Worker(context)
        settings, config = worker.settings, EndpointConfig.parse(context.model_yaml_config)
        self.continuous = bool((context.model_yaml_config or {}).get("continuousBatching"))
        model_dir = Path(context.system_properties["model_dir"])
        spec = ModelSpec.read(model_dir)
        cache = CacheChoice(
            config.caption_kv_cache,
            config.caption_kv_cache_block_size,
            absorbed=config.caption_weight_absorption,
            budget=config.caption_kv_cache_bytes,
        )
        captioner = Captioner.load(
            model_dir,
            precision=spec.precision,
            compiled=spec.compile,
            threads=config.threads,
            absorbed=cache.absorbed,
        )
        captioner.warm_up()
        agreed = check(captioner, spec.precision, model_dir)
        self.config, self.allow_cross_origin = config, settings.allow_cross_origin
        self.metrics, self.profiler, self.batch_log = worker.metrics, worker.profiler, worker.batch_log
        self.worker = worker.name
        drafts = config.caption_speculative_decoding and not cache.budget and suits(captioner)
        speculation = calibrate(captioner, pictures(captioner, model_dir)) if drafts else None
        self.scheduler = Scheduler(
            captioner, config.caption_max_sequences, config.caption_max_waiting, cache, speculation
        )
        check_usual(self.scheduler, config.caption_method)
        self.batch = CaptionBatch(worker.endpoint, spec, self.scheduler, config, self.continuous, self._finished)
        self.admin = Admin(settings.admin_token, None, ACCEPTS, self.worker, self.profiler)
        self._lock, self._called, self._counted, self._preempted = threading.Lock(), time.monotonic(), 0, 0
        worker.ready(context, lambda: self.scheduler.cache_bytes, "cpu")
        Periodic("abandoned", self._forget_abandoned, _PAUSED_S / 4).start()
        log.info("ready", extra={"fingerprint": spec.fingerprint, "canary_tokens": agreed})

    def handle(self, data: Sequence[Mapping[str, Any]], context: Any) -> list[bytes]:
        """What each request gets of this call; never raises, because that would fail all of them with 503."""
        with self._lock:
            ids = [context.request_ids[index] for index in range(len(data))]
            headers = [headers_of(context, index) for index in range(len(data))]
            self.batch.leave_only(set(ids))
            pieces, arrived = self._parsed(data, ids, headers)
            pieces |= self._profiled(arrived, len(ids))
            self._record(len(data), pieces)
            self._called = time.monotonic()
            return self._tell(context, ids, headers, pieces)

    def _parsed(
        self, data: Sequence[Mapping[str, Any]], ids: Sequence[str], headers: Sequence[dict[str, str]]
    ) -> tuple[dict[str, Piece], dict[str, CaptionCall]]:
        """Of the requests that are new: what is answered without the captioner, and what it is for."""
        pieces: dict[str, Piece] = {}
        arrived: dict[str, CaptionCall] = {}
        for id, row, own in zip(ids, data, headers, strict=True):
            if self.batch.knows(id):
                continue
            if _goes_on(row, own):
                pieces[id] = broken_off(WorkerLost("the captioner has lost what it had of this caption: ask again"))
                continue
            parsed = self._parse(row, own)
            if isinstance(parsed, CaptionCall):
                arrived[id] = parsed
            else:
                pieces[id] = Piece(with_trace(parsed, Callers.read(own.get("traceparent"))))
        return pieces, arrived

    def _parse(self, row: Mapping[str, Any], headers: dict[str, str]) -> CaptionCall | Answer:
        try:
            if "origin" in headers and not self.allow_cross_origin:
                raise Forbidden("TorchServe answers no web pages: let them call the gateway")
            request_id = headers.get("x-request-id")
            request = parse_caption_row(
                row, headers.get("content-type"), self.config.max_inputs, request_id, self.config.caption_method
            )
            if isinstance(request, AdminRequest):
                return self.admin.answer(request, headers.get("authorization"))
            if is_grpc(headers):  # TorchServe takes a gRPC client for gone after the first piece of a stream
                request = replace(request, in_pieces=False)
            if request.callers is NO_CALLERS and (given := headers.get("traceparent")) is not None:
                return replace(request, callers=Callers.read(given))
            return request
        except ClipServeError as error:
            return failure(error)
        except Exception:
            log.exception("request can't be parsed")
            return failure(InferenceFailed("the request can't be parsed; see the worker's log"))

    def _profiled(self, arrived: Mapping[str, CaptionCall], requests: int) -> dict[str, Piece]:
        def about() -> dict[str, Any]:
            stages = {name: round(seconds * 1e3, 3) for name, seconds in self.batch.tally.seconds.items()}
            return {"requests": requests, "items": len(arrived), "memory": resident_bytes(), "stages": stages}

        return self.profiler.run(lambda: self._called_for(arrived), about)

    def _called_for(self, arrived: Mapping[str, CaptionCall]) -> dict[str, Piece]:
        try:
            return self.batch.call(arrived)
        except Exception:
            log.exception("a call failed")
            error = InferenceFailed("the captioner failed on this request; see the worker's log")
            return {id: refused(error) for id in arrived}

    def _tell(
        self, context: Any, ids: Sequence[str], headers: Sequence[dict[str, str]], pieces: Mapping[str, Piece]
    ) -> list[bytes]:
        """TorchServe asks each criterion what its piece is, and hears nothing of requests that have none."""
        bodies, criteria = [], []
        for index, (id, own) in enumerate(zip(ids, headers, strict=True)):
            piece = pieces.get(id)
            if piece is None:
                context.request_ids.pop(index)
            else:
                report(context, index, piece.answer, grpc=False, content_type=NDJSON if piece.lines else JSON)
            grpc = is_grpc(own)
            if piece is not None and grpc and not self.continuous:
                context.set_response_header(index, "ts_stream_next", "false")
            criteria.append(_criterion(piece, grpc=grpc))
            bodies.append(b"" if piece is None else piece.answer.body)
        context.stopping_criteria = criteria if self.continuous else None
        return bodies

    def _finished(self, done: Finished) -> None:
        live = done.underway
        self.batch_log.add(HandledCaption(done))
        if done.status == 499:
            self.metrics.add("clipserve_captions_cancelled", 1)
        elif done.code is None and live.request.texts is None:
            self.metrics.add("clipserve_captions", 1)
            self.metrics.observe("clipserve_caption_seconds", done.seconds)
            if live.first:
                self.metrics.observe("clipserve_caption_first_token_seconds", live.first - live.came)

    def _record(self, requests: int, pieces: Mapping[str, Piece]) -> None:
        """What is counted never spoils an answer."""
        try:
            self.metrics.add("clipserve_batches", 1)
            self.metrics.add("clipserve_batch_requests", requests)
            self.metrics.observe("clipserve_batch_size", requests, SIZES)
            for code in (code for piece in pieces.values() for code in piece.answer.codes):
                self.metrics.add("clipserve_errors", 1, code)
            count_stages(self.metrics, self.batch.tally.take_seconds())
            self.metrics.add("clipserve_caption_tokens", self.scheduler.tokens_total - self._counted)
            self._counted = self.scheduler.tokens_total
            self.metrics.add("clipserve_captions_preempted", self.scheduler.counts.preempted - self._preempted)
            self._preempted = self.scheduler.counts.preempted
            self._show()
        except Exception:
            log.exception("a call can't be recorded")

    def _show(self) -> None:
        self.metrics.set("clipserve_caption_rows", self.scheduler.live_rows, self.worker)
        self.metrics.set("clipserve_caption_waiting", self.scheduler.waiting, self.worker)
        self.metrics.set("clipserve_caption_cache_bytes", self.scheduler.cache_bytes, self.worker)

    def _forget_abandoned(self) -> None:
        """When all clients have left at once, no call comes that would say so; nor when TorchServe is only slow."""
        with self._lock:
            quiet_s = time.monotonic() - self._called
            if quiet_s > _ABANDONED_S:
                self.batch.leave_only(frozenset())
            elif quiet_s > _PAUSED_S:
                self.scheduler.pause()
            else:
                return
            self._show()


def _goes_on(row: Mapping[str, Any], headers: Mapping[str, str]) -> bool:
    """Whether it is an older request's repeat: only these come without any field; an empty body is one."""
    return not row and not headers.get("content-type", "").startswith("multipart/")


def _criterion(piece: Piece | None, *, grpc: bool) -> Callable[[object], bool | None]:
    """None: a plain answer; False: a piece of a stream; True: its last. A gRPC call waits for a word in any case."""
    if piece is None or (piece.kind is PieceKind.WHOLE and not grpc):
        return lambda _: None
    return lambda _: piece.kind is not PieceKind.MORE
