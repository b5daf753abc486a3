"""Request bodies: JSON or a multipart form → one dict, checked by a pydantic model where a route asks for it."""

from __future__ import annotations

from codecs import BOM_UTF8
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from clip_core.errors import BadJson, InvalidRequest
from clip_core.old_names.table import OLD_CAPTION_WRITERS
from clip_core.wire import load_json
from gateway.errors import invalid_request
from gateway.inputs.forms import read_form
from gateway.inputs.parser import InputParser
from gateway.inputs.value_limits import VALUES_EACH, check_values
from gateway.schemas.base import old_name_of
from gateway.services import services

Body = dict[str, Any]
Model = TypeVar("Model", bound=BaseModel)
CAPTION_WRITERS = ("captioner", "llm", *OLD_CAPTION_WRITERS)
_TEXT_FIELDS = {"collection", "text", "id", "model", "modality", "encoding_format", "truncate", "prompt", "method"}
_TEXTS_OR_JSON = {"like", "question", "cursor", "consistency", "by", "detail"}  # plain, or in quotation marks
_JSON_OR_TEXTS = {"exact", "vector", "input"}  # plain where they are no JSON
_JSON = 'write numbers as 3, texts as "a", lists as ["a", "b"] and objects as {"n": 1}'
FEW = 8  # items whose values suffice for bodies without inputs
_MANY = "images"  # the one field that may come again: files, each an item named by its file


async def read_body(request: Request, parser: InputParser, most_items: int | None = None) -> Body:
    """JSON whatever its Content-Type says, or multipart/form-data. JSON has values for so many items.

    In a form, files become base64, and fields that are not plain text (`k`, `filter`, `metadata`, …) are JSON.
    """
    if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        form = await read_form(request)
        try:
            return await _from_form(form, parser)
        finally:
            await form.close()
    return await read_json(request, most_items)


async def read_inputs(request: Request, parser: InputParser) -> Body:
    """The body of an embeddings call, which may have many inputs, but of few values each, since none is a vector."""
    return await read_body(request, parser, max(1, services(request).settings.max_embedding_inputs // 8))


async def read_json(request: Request, most_items: int | None = None, empty: Body | None = None) -> Body:
    """An object, or `empty` where nothing came. By default it has values for as many items as a call has inputs.

    Raises TooLarge for more.
    """
    content = b"".join([piece async for piece in request.stream()])  # which the request does not keep
    if not content and empty is not None:
        return empty
    check_values(content, VALUES_EACH * (most_items or services(request).settings.max_inputs))
    return parse_json(content)


def parse_json(content: bytes) -> Body:
    """Raises BadJson, or InvalidRequest when it is JSON but no object."""
    if not content:
        raise BadJson("the body is not JSON: the body is empty")
    body = load_json(content.removeprefix(BOM_UTF8))  # as some editors and .NET write it
    if not isinstance(body, dict):
        raise InvalidRequest("the body is a JSON object")
    return body


async def read_model(request: Request, model: type[Model], most_items: int | None = FEW) -> Model:
    """A JSON body as `model`. Raises InvalidRequest that names the field."""
    return checked(model, await read_json(request, most_items))


def checked(model: type[Model], body: Body) -> Model:
    try:
        return model.model_validate(body)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False)
        raise invalid_request(problems, old_name_of(body, problems[0]["loc"])) from error


async def _from_form(form: FormData, parser: InputParser) -> Body:
    body: Body = {}
    for name, value in form.multi_items():
        if name == _MANY and isinstance(value, UploadFile):
            picture = {"id": value.filename or "", "image": parser.upload(await value.read(), name)}
            body.setdefault(name, []).append(picture)
            continue
        if name in body:
            raise InvalidRequest(f"the form holds `{name}` twice", param=name)
        if isinstance(value, UploadFile):
            body[name] = _content(name, value, await value.read(), parser)
        else:
            body[name] = value if _is_plain(name, value) else _field(name, value)
    return body


def _is_plain(name: str, value: str) -> bool:
    """Whether a form's field is text and no JSON; `caption`, `rerank` and some others may be either."""
    if name == "caption":
        return value in CAPTION_WRITERS
    if name in _TEXTS_OR_JSON:
        return not value.lstrip().startswith('"') and value != "null"
    if name == "rerank":
        return not value.lstrip().startswith(("{", '"', "null"))
    return name in _TEXT_FIELDS or name == "image"


def _content(name: str, part: UploadFile, content: bytes, parser: InputParser) -> str:
    """Of a part that was sent as a file: a text where the field is one, else a picture.

    A part `image` without a file's name is a picture, too, unless it is base64 or a URL.
    """
    written = not part.filename and content.isascii() and not (part.content_type or "").startswith("image/")
    if name not in _TEXT_FIELDS and not (name == "image" and written):
        return parser.upload(content, name)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the form's field `{name}` is text, but not in UTF-8", param=name) from error


def _field(name: str, value: str) -> Any:
    try:
        return load_json(value)
    except BadJson as error:
        if name in _JSON_OR_TEXTS and not value.lstrip().startswith(("[", "{", '"')):
            return value
        raise InvalidRequest(f"the form's field `{name}` is not JSON: {error}; {_JSON}", param=name) from error
