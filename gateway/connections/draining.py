"""How the gateway stops: no new connections, answers for what is in flight, then `Connection: close` and the end.

uvicorn closes every idle kept-alive connection the moment it is told to stop. A client that sends its next request at
that moment would see a cut connection; here it gets its answer.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LINGER_S = 0.5


class GatewayServer(uvicorn.Server):
    """The first SIGTERM or SIGINT begins the drain and calls `on_drain`; a second one ends it at once."""

    def __init__(self, config: uvicorn.Config, on_drain: Callable[[], None] = lambda: None) -> None:
        super().__init__(config)
        self._on_drain = on_drain

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            self.force_exit = True
        self._on_drain()
        super().handle_exit(sig, frame)


def draining(protocol: type[HttpToolsProtocol]) -> type[HttpToolsProtocol]:
    """`protocol` with idle connections that stay open for a moment of the drain."""

    class Draining(protocol):  # type: ignore[misc, valid-type]
        _drains = False

        def shutdown(self) -> None:
            self._drains = True
            if self.cycle is None or self.cycle.response_complete:
                self.loop.call_later(LINGER_S, self._close_if_idle)
            else:
                self.cycle.keep_alive = False

        def on_headers_complete(self) -> Any:
            super().on_headers_complete()
            if self._drains and self.cycle is not None:
                self.cycle.keep_alive = False

        def _close_if_idle(self) -> None:
            if self.cycle is None or self.cycle.response_complete:
                self.transport.close()

    return Draining
