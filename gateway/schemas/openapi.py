"""/openapi.json: the routes read their bodies themselves, so their schemas are put in here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from clip_core.errors import (
    ClipServeError,
    Conflict,
    Forbidden,
    InferenceFailed,
    InvalidRequest,
    Overloaded,
    StorageFull,
    TooLarge,
    Unauthorized,
    Unavailable,
    UnknownCollection,
    UnknownItem,
    UnknownModel,
    UnknownPicture,
    _tree,
)
from gateway.schemas.asking import AskRequest, CollectionCaptionsRequest
from gateway.schemas.base import ErrorEnvelope
from gateway.schemas.captions import AssistantCaptionsRequest, CaptionsRequest, ItemPicture, ScoreRequest
from gateway.schemas.chat import ChatRequest, ResponseRequest
from gateway.schemas.collections import AliasSpec, CollectionSpec
from gateway.schemas.dialects import CohereRequest, VoyageRequest
from gateway.schemas.embeddings import EmbeddingRequest
from gateway.schemas.inference import InferenceRequest
from gateway.schemas.items import (
    CopyItemsRequest,
    DeleteItemsRequest,
    ItemsRequest,
    PatchItemRequest,
    PatchItemsRequest,
)
from gateway.schemas.jobs import JobRequest
from gateway.schemas.pictures import FolderRequest
from gateway.schemas.ranking import ClassifyRequest, RankRequest
from gateway.schemas.search import BatchSearchRequest, SearchRequest

_REF = "#/components/schemas/{model}"
_BODIES: list[type[BaseModel]] = [
    EmbeddingRequest,
    SearchRequest,
    BatchSearchRequest,
    AskRequest,
    ChatRequest,
    ResponseRequest,
    CollectionCaptionsRequest,
    CollectionSpec,
    AliasSpec,
    ItemsRequest,
    DeleteItemsRequest,
    CopyItemsRequest,
    PatchItemRequest,
    PatchItemsRequest,
    ClassifyRequest,
    RankRequest,
    AssistantCaptionsRequest,
    CaptionsRequest,
    ItemPicture,
    ScoreRequest,
    CohereRequest,
    VoyageRequest,
    InferenceRequest,
    JobRequest,
    FolderRequest,
]
_FASTAPI_OWN = ("HTTPValidationError", "ValidationError")
_Errors = tuple[type[ClipServeError], ...]
_ALWAYS: _Errors = (InvalidRequest, Unauthorized, Forbidden, TooLarge, Overloaded, ClipServeError, Unavailable)
ENCODES: _Errors = (UnknownModel, Conflict, InferenceFailed)
READS: _Errors = (UnknownCollection,)
WRITES: _Errors = (UnknownCollection, Conflict, StorageFull)
Responses = dict[int | str, dict[str, Any]]


def answers(model: type[BaseModel], *errors: type[ClipServeError], status: int = 200) -> Responses:
    """The `responses=` of a route: its answer, what any call may meet, and what `errors` add to that."""
    statuses = sorted({error.status for error in (*_ALWAYS, *errors)})
    return {status: {"model": model}, **{failed: _failure(failed) for failed in statuses}}


def answers_picture() -> Responses:
    """The `responses=` of a route that shows an item's picture."""
    errors: _Errors = (*_ALWAYS, *READS, UnknownItem, UnknownPicture)
    statuses = sorted({error.status for error in errors})
    shown: Responses = {200: {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}}
    shown[304] = {"description": "The caller's copy is still the same."}
    return {**shown, **{failed: _failure(failed) for failed in statuses}}


def _failure(status: int) -> dict[str, Any]:
    codes = ", ".join(f"`{cls.code}`" for cls in _tree(ClipServeError) if cls.status == status)
    return {"model": ErrorEnvelope, "description": f"One of {codes}."}


def takes(model: type[BaseModel], form: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The `openapi_extra=` of a route whose body is `model`, or a form with these fields (JSON schema types)."""
    content: dict[str, Any] = {"application/json": {"schema": {"$ref": _REF.format(model=model.__name__)}}}
    if form is not None:
        content["multipart/form-data"] = {"schema": {"type": "object", "properties": _fields(form)}}
    return {"requestBody": {"required": True, "content": content}}


def takes_lines(*items: dict[str, Any]) -> dict[str, Any]:
    """The `openapi_extra=` of a route that takes NDJSON."""
    example = "".join(orjson.dumps(item).decode() + "\n" for item in items)
    media = {"schema": {"type": "string"}, "example": example}
    return {"requestBody": {"required": True, "content": {"application/x-ndjson": media}}}


def _fields(form: Mapping[str, str]) -> dict[str, Any]:
    file = {"type": "string", "format": "binary"}
    kinds = {"file": file, "files": {"type": "array", "items": file}}
    return {name: kinds.get(kind, {"type": kind}) for name, kind in form.items()}


class DocumentedApp(FastAPI):
    """A FastAPI whose /openapi.json holds the bodies too, and the keys when `secured`."""

    secured = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As Starlette does it: TelemetryMiddleware is what measures here, and not FastAPI's own telemetry."""
        await Starlette.__call__(self, scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = _document(self, self.secured)
        return self.openapi_schema


def _document(app: FastAPI, secured: bool) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    components = document.setdefault("components", {})
    bodies = models_json_schema([(model, "validation") for model in _BODIES], ref_template=_REF)[1]
    components["schemas"] = {**bodies.get("$defs", {}), **components.get("schemas", {})}
    for name in _FASTAPI_OWN:
        components["schemas"].pop(name, None)
    for path in document["paths"].values():
        for operation in path.values():
            operation.get("responses", {}).pop("422", None)
    if secured:
        components["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
        document["security"] = [{"bearer": []}, {"key": []}]
    return document
