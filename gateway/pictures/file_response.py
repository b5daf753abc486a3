"""The answer that carries an original: from a file that may be gone or replaced at any moment."""

from __future__ import annotations

from starlette.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

from clip_core.errors import UnknownPicture


class OriginalResponse(FileResponse):
    """Nothing is sent before the file is open: until then it raises UnknownPicture where there is none any more."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False
        held: list[Message] = []

        async def send_once_open(message: Message) -> None:
            nonlocal begun
            held.append(message)
            if message["type"] == "http.response.start":
                return
            begun = True
            while held:
                await send(held.pop(0))

        try:
            await super().__call__(scope, receive, send_once_open)
        except (OSError, RuntimeError) as error:  # Starlette's own for what is no file
            if begun:
                raise
            raise UnknownPicture("the picture was there a moment ago, and is gone", param="id") from error
