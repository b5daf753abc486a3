"""Routes that FastAPI documents and Starlette runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from fastapi.routing import APIRoute
from starlette.routing import request_response


class PlainRoute(APIRoute):
    """An endpoint that takes the request alone is called without FastAPI's dependencies, which it doesn't have."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        if list(inspect.signature(endpoint).parameters) == ["request"]:
            self.app = request_response(endpoint)
