"""Requests that manage a worker instead of asking for vectors: `{"admin": {"cache": "clear" | "forget" | "stats"}}`,
or `{"admin": {"profile": "start" | "fetch"}}` (`profiler.py`). A clear is of all models that share a Redis, or of this
one's vectors with `"scope": "model"`.

They need the token of `CLIPSERVE_HANDLER_ADMIN_TOKEN`, as `Authorization: Bearer …` or beside `cache` in the body;
without that setting there are none. TorchServe hands a request to one worker: what it clears or forgets reaches the
others through Redis within a second; without Redis they go on until they are asked, or replaced by the management API.
Where Redis is set and does not confirm, the answer is 503: this worker did it, Redis and the others may not have.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from clip_core.encode.encoders import Encoders
from clip_core.errors import BadInput, ClipServeError, Unauthorized
from clip_core.inputs.items import parse_items
from clip_core.inputs.request import Accepts, AdminRequest, Item
from clip_core.serving.answers import Answer, failure
from clip_core.serving.profiler import Profiler

ACTIONS = ("clear", "forget", "stats")
SCOPES = ("all", "model")


@dataclass(frozen=True)
class Admin:
    """`token` is empty where there are no such requests; a captioner has no `encoders`, and so no cache of vectors."""

    token: str
    encoders: Encoders | None
    accepts: Accepts
    worker: str
    profiler: Profiler | None = None

    def answer(self, request: AdminRequest, authorization: str | None) -> Answer:
        """Never raises."""
        try:
            self._authorize(request.body.get("token"), authorization)
            if self.profiler is not None and "profile" in request.body:
                return Answer(200, orjson.dumps({"profile": _profile(self.profiler, request.body)}))
            return Answer(200, orjson.dumps({"worker": self.worker, "cache": self._run(request.body)}))
        except ClipServeError as error:
            return failure(error)

    def _authorize(self, in_body: object, authorization: str | None) -> None:
        given = in_body if isinstance(in_body, str) else (authorization or "").removeprefix("Bearer ")
        if not self.token or not hmac.compare_digest(given.encode(), self.token.encode()):
            raise Unauthorized("admin requests need the token of CLIPSERVE_HANDLER_ADMIN_TOKEN")

    def _run(self, body: Mapping[str, Any]) -> dict[str, Any]:
        action = body.get("cache")
        if self.encoders is None or action not in ACTIONS:
            known = f'{{"cache": one of {", ".join(ACTIONS)}}}' if self.encoders else '{"profile": "start" or "fetch"}'
            raise BadInput(f"`admin` is {known}", param="admin")
        cache = self.encoders.cache
        done: dict[str, Any] = {}
        if action == "clear":
            own_model = _scope(body) == "model"
            done = {"cleared": cache.stats.entries}
            cache.clear(own_model=own_model)
        elif action == "forget":
            done = {"forgotten": self._forget(self.encoders, body.get("input"))}
        return {**done, **asdict(cache.stats)}

    def _forget(self, encoders: Encoders, inputs: object) -> int:
        """The number of parts that were held somewhere."""
        items = parse_items(inputs if isinstance(inputs, list) else [inputs], self.accepts)
        for item in items:
            if isinstance(item, ClipServeError):
                raise item
        parts = [part for item in items if isinstance(item, Item) for part in item.parts if part.kind != "vector"]
        return len(encoders.cache.discard_many(list({encoders.key(part) for part in parts})))


def _scope(body: Mapping[str, Any]) -> str:
    scope = body.get("scope", SCOPES[0])
    if scope not in SCOPES:
        raise BadInput(f"`scope` is one of {', '.join(SCOPES)}", param="scope")
    return str(scope)


def _profile(profiler: Profiler, body: Mapping[str, Any]) -> dict[str, Any]:
    if body["profile"] == "start":
        return profiler.start(body)
    if body["profile"] == "fetch":
        return profiler.fetch(body.get("id"))
    raise BadInput('`admin` is {"profile": "start"}, or {"profile": "fetch", "id": …}', param="admin")
