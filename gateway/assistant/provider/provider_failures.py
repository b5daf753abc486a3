"""What the SDK raises → our tree. What a provider says is cut short, and keys in it are left out."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from clip_core.errors import (
    AssistantFailed,
    AssistantUnauthorized,
    AssistantUnavailable,
    ClipServeError,
    DeadlineExceeded,
    Overloaded,
)
from gateway.assistant.provider.prompt import TokenUse
from gateway.key_masking import without_keys

if TYPE_CHECKING:
    import openai

_LONGEST = 300
_ABOUT_PICTURES = re.compile(r"\b(?:image|images|image_url|vision|visual|multimodal|mmproj)\b", re.IGNORECASE)
_NO_VISION = "; a model that reads words only needs CLIPSERVE_GATEWAY_ASSISTANT_VISION=false"
_KEY = re.compile(r"\bsk-[\w*-]+")
_RETRY_S = 5.0


def failure_of(error: Exception) -> ClipServeError:
    """Of any exception that a call of the SDK ends with."""
    import openai

    if isinstance(error, openai.APITimeoutError | TimeoutError):
        return DeadlineExceeded("the assistant's provider did not answer in time")
    if isinstance(error, openai.APIStatusError):
        return _of_status(error)
    if isinstance(error, openai.APIConnectionError):
        return AssistantUnavailable("the assistant's provider can't be reached")
    return AssistantFailed(f"the assistant's provider broke off its answer ({type(error).__name__})")


def _of_status(error: openai.APIStatusError) -> ClipServeError:
    status, said = error.status_code, _said(error)
    if status in (401, 403):
        return AssistantUnauthorized(
            f"the assistant's provider refuses the key of this gateway (status {status}): "
            "set CLIPSERVE_GATEWAY_ASSISTANT_API_KEY"
        )
    if status == 429:
        return Overloaded(f"the assistant's provider is busy: {said}", retry_after=_retry_after(error))
    if status >= 500:
        return AssistantUnavailable(f"the assistant's provider failed (status {status}): {said}")
    hint = _NO_VISION if _ABOUT_PICTURES.search(said) else ""
    refused = AssistantFailed(f"the assistant's provider refused the request (status {status}): {said}{hint}")
    refused.use = TokenUse()  # nothing was billed
    return refused


def _said(error: openai.APIStatusError) -> str:
    body = error.body
    message = body.get("message") if isinstance(body, dict) else None
    return _KEY.sub("sk-***", without_keys(str(message or error.message)))[:_LONGEST]


def _retry_after(error: openai.APIStatusError) -> float:
    with suppress(ValueError):
        return max(1.0, float(error.response.headers.get("retry-after", "")))
    return _RETRY_S
