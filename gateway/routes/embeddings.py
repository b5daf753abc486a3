"""POST /v1/embeddings: OpenAI's dialect, with Infinity's `modality`, Jina's items and vLLM's `messages`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from clip_core.errors import BadText, InvalidRequest
from gateway.encode.embedding import FORMATS, Embedded, Options, check_number, choice, embed, written
from gateway.errors import JsonResponse
from gateway.inputs.chat_content import messages_source
from gateway.inputs.parser import InputParser, renamed
from gateway.inputs.source import Kind, Source
from gateway.routes.bodies import Body, read_inputs
from gateway.routes.plain_route import PlainRoute
from gateway.schemas.embeddings import EmbeddingAnswer, EmbeddingRequest
from gateway.schemas.openapi import ENCODES, answers, takes
from gateway.services import services

router = APIRouter(route_class=PlainRoute, tags=["embeddings"])
_MODALITIES = ("text", "image")
_FORM = {"image": "file"}
_LEFT_OUT = {
    "model": "default/not-specified",
    "dimensions": 0,
}  # what infinity_client says where its caller said nothing


@router.post("/embeddings", include_in_schema=False)  # where Infinity has it by default
@router.post(
    "/v1/embeddings",
    responses=answers(EmbeddingAnswer, *ENCODES),
    openapi_extra=takes(EmbeddingRequest, form=_FORM),
)
async def create_embeddings(request: Request) -> JsonResponse:
    """Vectors of texts and images, in the order of `input`; one bad input fails the call and is named."""
    given = services(request)
    body = told(await read_inputs(request, given.parser))
    sources = parse_inputs(body, given.parser, given.settings.max_embedding_inputs)
    kind = _format(body)
    options = Options(body.get("model"), body.get("dimensions"), _truncate(body))
    encoder = await given.models.named(options.model)
    return JsonResponse(await openai_answer(await embed(encoder, sources, options), kind))


def told(body: Body) -> Body:
    """Without what only fills a place."""
    return {name: value for name, value in body.items() if name not in _LEFT_OUT or value != _LEFT_OUT[name]}


def parse_inputs(body: Body, parser: InputParser, max_inputs: int) -> list[Source]:
    """Raises BadInput whose `param` is `input`, or `input[3]` in a list."""
    if "messages" in body and "input" not in body:
        return [messages_source(body["messages"], parser)]
    if "input" not in body and "image" in body:
        body = {**body, "input": {name: body[name] for name in ("text", "image") if name in body}}
    kind: Kind = "image" if choice(body.get("modality"), "modality", _MODALITIES, "text") == "image" else "text"
    value = body.get("input")
    if not isinstance(value, list):
        return [_parse(value, "input", kind, parser)]
    check_number(value, max_inputs, "input")
    if all(isinstance(token, int) for token in value):
        raise _token_ids("input")
    return [_parse(item, f"input[{place}]", kind, parser) for place, item in enumerate(value)]


def _parse(value: object, param: str, kind: Kind, parser: InputParser) -> Source:
    if isinstance(value, str):
        return parser.of_kind(kind, value, param)
    if isinstance(value, dict):
        with renamed(param):
            source = parser.source(value, param, ("text", "image"))
        return Source(source.kind, source.value, param)
    if isinstance(value, list):
        raise _token_ids(param)
    raise InvalidRequest("`input` is text, an image, or a list of these", param=param)


def _token_ids(param: str) -> BadText:
    return BadText(
        "token ids are not accepted, since they belong to another tokenizer: send the text itself "
        "(LangChain: check_embedding_ctx_length=False)",
        param=param,
    )


def _format(body: Body) -> str:
    """OpenAI's `encoding_format`, or Jina's `embedding_type`, which may also be a list of one."""
    wanted = body.get("embedding_type")
    if isinstance(wanted, list) and len(wanted) == 1:
        wanted = wanted[0]
    default = choice(wanted, "embedding_type", FORMATS, "float")
    return choice(body.get("encoding_format"), "encoding_format", ("float", "base64"), default)


def _truncate(body: Body) -> str | None:
    """Ours is "end" or "error"; other dialects send other things under this name, which are ignored."""
    value = body.get("truncate")
    return value if value in ("end", "error") else None


async def openai_answer(embedded: Embedded, kind: str) -> dict[str, Any]:
    """OpenAI's list; `truncated` stands beside a vector whose text was longer than the model reads."""
    data = [
        {"object": "embedding", "index": place, "embedding": vector, **notes(cut)}
        for place, (vector, cut) in enumerate(
            zip(await written(embedded.vectors, kind), embedded.truncated, strict=True)
        )
    ]
    usage = {"prompt_tokens": embedded.tokens, "total_tokens": embedded.tokens}
    return {"object": "list", "data": data, "model": embedded.served.model, "usage": usage}


def notes(truncated: bool) -> dict[str, bool]:
    """`truncated` when a text's end was cut off; nothing otherwise."""
    return {"truncated": True} if truncated else {}
