"""Routes that FastAPI documents and Starlette runs."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable
from typing import Any, get_args, get_origin
from urllib.parse import parse_qsl

from fastapi.routing import APIRoute
from starlette.routing import Match, request_response
from starlette.types import Receive, Scope, Send

from clip_core.errors import InvalidRequest


class PlainRoute(APIRoute):
    """An endpoint that takes the request alone is called without FastAPI's dependencies, which it doesn't have."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        if list(inspect.signature(endpoint).parameters) == ["request"]:
            self.app = request_response(endpoint)


class StrictRoute(PlainRoute):
    """Takes the query parameters that its endpoint declares, each once, except those that are lists."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self._is_list = {field.alias: _is_list(field.field_info.annotation) for field in self.dependant.query_params}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises InvalidRequest that names the parameter."""
        if scope["query_string"] and scope["method"] in (self.methods or ()):
            self._check(scope["query_string"].decode("latin-1"))
        await super().handle(scope, receive, send)

    def _check(self, query: str) -> None:
        given = Counter(name for name, _ in parse_qsl(query, keep_blank_values=True))
        for name, times in given.items():
            if name not in self._is_list:
                raise InvalidRequest(f"there is no query parameter {name[:64]!r}", param=name[:64])
            if times > 1 and not self._is_list[name]:
                raise InvalidRequest(f"the query parameter `{name}` is given twice", param=name)


class BelowItemRoute(StrictRoute):
    """`…/items/{item_id}/thumbnail` and the like: an encoded slash, `%2Fthumbnail`, is a part of the item's id."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        ending = self.path[self.path.rindex("/") :].encode()
        if not (scope.get("raw_path") or scope["path"].encode()).endswith(ending):
            return Match.NONE, {}
        return super().matches(scope)


def _is_list(annotation: Any) -> bool:
    return any(get_origin(each) is list for each in (annotation, *get_args(annotation)))
