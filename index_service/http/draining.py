"""How the index service stops: as the gateway does, without a cut connection (the two share no code by design)."""

from __future__ import annotations

from types import FrameType

import uvicorn
from starlette.applications import Starlette

from index_service.http.protocol import PlainProtocol

LINGER_S = 0.2  # callers are on this machine or next to it


class DrainingIndexServer(uvicorn.Server):
    """The first SIGTERM or SIGINT begins the drain and is noted in `app.state.draining`; a second one ends it."""

    def __init__(self, config: uvicorn.Config, app: Starlette) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            self.force_exit = True
        self._app.state.draining = True
        super().handle_exit(sig, frame)


class DrainingIndexProtocol(PlainProtocol):
    """An idle connection stays open for a moment of the drain: a request that comes then is answered."""

    _drains = False

    def shutdown(self) -> None:
        self._drains = True
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(LINGER_S, self._close_if_idle)
        else:
            self.cycle.keep_alive = False

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self._drains and self.cycle is not None:
            self.cycle.keep_alive = False

    def _close_if_idle(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
