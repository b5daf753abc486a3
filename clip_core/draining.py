"""How both services stop: no new connections, answers for what is in flight, then `Connection: close` and the end.

uvicorn closes every idle kept-alive connection the moment it is told to stop. A client that sends its next request at
that moment would see a cut connection; here it gets its answer. Nothing here imports uvicorn: archives carry this file.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FrameType
from typing import Any


def draining_server(server: type[Any], on_drain: Callable[[], None]) -> type[Any]:
    """A uvicorn.Server whose first SIGTERM or SIGINT begins the drain and calls `on_drain`; a second one ends it."""

    class DrainingServer(server):  # type: ignore[misc]
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            if self.should_exit:
                self.force_exit = True
            on_drain()
            super().handle_exit(sig, frame)

    return DrainingServer


def draining_protocol(protocol: type[Any], linger_s: float) -> type[Any]:
    """A uvicorn HttpToolsProtocol whose idle connections stay open for `linger_s` seconds of the drain."""

    class DrainingProtocol(protocol):  # type: ignore[misc]
        _drains = False

        def shutdown(self) -> None:
            self._drains = True
            if self.cycle is None or self.cycle.response_complete:
                self.loop.call_later(linger_s, self._close_if_idle)
            else:
                self.cycle.keep_alive = False

        def on_headers_complete(self) -> Any:
            super().on_headers_complete()
            if self._drains and self.cycle is not None:
                self.cycle.keep_alive = False

        def _close_if_idle(self) -> None:
            if self.cycle is None or self.cycle.response_complete:
                self.transport.close()

    return DrainingProtocol
