"""A server that gives prepared answers over real HTTP, and remembers what came."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.gateway.fakes import serving


@dataclass
class Answering:
    """Each answer is (status, body, headers); the last one is given again and again."""

    answers: list[tuple[int, Any, dict[str, str]]]
    requests: list[Request] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: Request) -> Response:
        await request.body()
        self.requests.append(request)
        status, body, headers = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        text = body if isinstance(body, str) else json.dumps(body)
        return Response(text, status, headers)


@contextlib.contextmanager
def answering(*answers: tuple[int, Any, dict[str, str]]) -> Iterator[Answering]:
    made = Answering(list(answers))
    methods = ["GET", "PUT", "POST", "PATCH", "DELETE"]
    with serving(Starlette(routes=[Route("/{path:path}", made.answer, methods=methods)])) as url:
        made.url = url
        yield made


def failure(code: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": f"{code} it is", "type": "x", "param": None, "code": code, **more}}
