"""uvicorn's HTTP protocol without other protocols: after an offer of one, it would drop the body, and parse what
comes of it later as another request.
"""

from __future__ import annotations

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from clip_core.errors import InvalidRequest

_MESSAGE = "the index service speaks HTTP/1.1 only: send the request without `Upgrade`"


class PlainProtocol(HttpToolsProtocol):
    """Answers 400 to an offer to change the protocol, and to CONNECT, and closes."""

    _refused = False

    def data_received(self, data: bytes) -> None:
        if not self._refused:
            super().data_received(data)

    def on_headers_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _unsupported_upgrade_warning(self) -> None:
        self._refused = True
        self.send_400_response(_MESSAGE)

    def send_400_response(self, msg: str) -> None:
        body = orjson.dumps(InvalidRequest(msg).to_dict())
        head = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % len(body)
        self.transport.write(head + b"connection: close\r\n\r\n" + body)
        self.transport.close()
