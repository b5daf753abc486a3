"""POST /v1/classify: zero-shot classification, as in the CLIP paper (Radford et al., 2021, section 3.1)."""

from __future__ import annotations

from fastapi import APIRouter, Request

from clip_core.errors import InvalidRequest, TooLarge
from gateway.encode.served_model import check_model
from gateway.encode.similarity import Head, ranking
from gateway.errors import JsonResponse
from gateway.inputs.source import Source
from gateway.routes.bodies import checked, read_body
from gateway.routes.plain_route import StrictRoute
from gateway.schemas.openapi import ENCODES, answers, takes
from gateway.schemas.ranking import ClassifyAnswer, ClassifyRequest
from gateway.search.searching import Found
from gateway.services import services

router = APIRouter(route_class=StrictRoute, tags=["classify"])
_FORM = {"image": "file", "labels": "string", "templates": "string"}


@router.post(
    "/v1/classify",
    responses=answers(ClassifyAnswer, *ENCODES),
    openapi_extra=takes(ClassifyRequest, form=_FORM),
)
async def classify(request: Request) -> JsonResponse:
    """How well each label fits the image: a softmax over all labels or a sigmoid for each, as the model was trained."""
    given = services(request)
    wanted = checked(ClassifyRequest, await read_body(request, given.parser))
    check_prompts(wanted, given.settings.max_items, given.settings.max_body_bytes)
    image = Source("image", given.parser.image(wanted.image, "image"), "image")
    encoder = await given.models.named(wanted.model)
    encoded, picture, labels = await given.labels.encode(encoder, image, wanted.labels, wanted.templates)
    served = encoded.model()
    check_model(wanted.model, served)
    found = Found([], encoded.encode_ms, queue_ms=encoded.queue_ms)
    head = Head.of(served, wanted.logit_scale)
    ranked = ranking(labels @ picture, head)
    return JsonResponse(
        {
            "labels": [{"label": wanted.labels[entry.pop("index")], **entry} for entry in ranked],
            "activation": head.activation,
            "model": served.model,
            "fingerprint": served.fingerprint,
            "timing": found.timing(),
        }
    )


def check_prompts(wanted: ClassifyRequest, most: int, most_characters: int) -> None:
    """Raises BadInput for a template without a place for the label, or for too many or too long prompts."""
    for place, template in enumerate(wanted.templates):
        if "{}" not in template:
            raise InvalidRequest("a template holds `{}` for the label", param=f"templates[{place}]")
    prompts = len(wanted.labels) * len(wanted.templates)
    if prompts > most:
        raise TooLarge(f"{prompts} labels times templates in one call; at most {most}", param="labels")
    places = sum(template.count("{}") for template in wanted.templates)
    characters = places * sum(map(len, wanted.labels)) + len(wanted.labels) * sum(map(len, wanted.templates))
    if characters > most_characters:
        raise TooLarge(f"the prompts have {characters} characters; at most {most_characters} go", param="templates")
