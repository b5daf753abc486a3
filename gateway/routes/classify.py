"""POST /v1/classify: zero-shot classification, as in the CLIP paper (Radford et al., 2021, section 3.1)."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter, Request

from clip_core.errors import InvalidRequest, TooLarge
from clip_core.wire import FloatArray, unit
from gateway.bodies import checked, read_body
from gateway.encoder import Ask, Encoded, check_model
from gateway.errors import JsonResponse
from gateway.inputs import Source
from gateway.openapi import ENCODES, answers, takes
from gateway.schemas import ClassifyAnswer, ClassifyRequest
from gateway.searching import Found
from gateway.services import services

router = APIRouter(tags=["classify"])
_FORM = {"image": "file", "labels": "string", "templates": "string"}


@router.post(
    "/v1/classify", responses=answers(ClassifyAnswer, *ENCODES), openapi_extra=takes(ClassifyRequest, form=_FORM)
)
async def classify(request: Request) -> JsonResponse:
    """How well each label fits the image: a softmax over the similarities."""
    given = services(request)
    wanted = checked(ClassifyRequest, await read_body(request, given.parser))
    texts = prompts(wanted, given.settings.max_items)
    image = Source("image", given.parser.image(wanted.image, "image"), "image")
    sources = [image, *(Source("text", text, "labels") for text in texts)]
    encoded = await given.encoder.run([Ask(source) for source in sources])
    vectors = _vectors(encoded)
    served = encoded.model()
    check_model(wanted.model, served)
    scores = label_scores(vectors[0], vectors[1:], len(wanted.labels))
    return JsonResponse(
        {
            "labels": ranked(wanted.labels, scores, wanted.logit_scale),
            "model": served.model,
            "fingerprint": served.fingerprint,
            "timing": Found([], encoded.encode_ms, queue_ms=encoded.queue_ms).timing(),
        }
    )


def prompts(wanted: ClassifyRequest, most: int) -> list[str]:
    """Every label in every template, label by label. Raises BadInput."""
    for place, template in enumerate(wanted.templates):
        if "{}" not in template:
            raise InvalidRequest("a template holds `{}` for the label", param=f"templates[{place}]")
    texts = [template.replace("{}", label) for label in wanted.labels for template in wanted.templates]
    if len(texts) > most:
        raise TooLarge(f"{len(texts)} labels times templates in one call; at most {most}", param="labels")
    return texts


def label_scores(image: FloatArray, texts: FloatArray, labels: int) -> FloatArray:
    """(D,), (labels * templates, D) → (labels,) cosines of the image with each label's averaged texts."""
    averaged = unit(texts.reshape(labels, -1, texts.shape[1]).mean(axis=1))
    scores: FloatArray = averaged @ image
    return scores


def ranked(labels: Sequence[str], scores: FloatArray, logit_scale: float) -> list[dict[str, Any]]:
    """Most probable first; the probabilities add up to 1."""
    logits = scores.astype(np.float64) * logit_scale
    weights = np.exp(logits - logits.max())
    probabilities = weights / weights.sum()
    return [
        {"label": labels[i], "probability": float(probabilities[i]), "score": float(scores[i])}
        for i in np.argsort(-probabilities, kind="stable")
    ]


def _vectors(encoded: Encoded) -> FloatArray:
    return np.stack([np.frombuffer(b64decode(entry["embedding"]), "<f4") for entry in encoded.entries()])
