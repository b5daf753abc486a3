"""What the SDK raises → our tree. What a provider says is cut short, and keys in it are left out."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

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
_NO_VISION = "; a model that reads words only needs CLIPSERVE_GATEWAY_LLM_VISION=false"
_KEY = re.compile(r"\bsk-[\w*-]+")
_RETRY_S, _MOST_RETRY_S = 5.0, 24 * 3600.0
_LOST = ("ReadError", "RemoteProtocolError")  # of the HTTP client: the provider had the request


def failure_of(error: Exception, own_key: str = "") -> ClipServeError:
    """Of any exception that a call of the SDK ends with. `own_key` is left out of what the provider says."""
    import openai

    if isinstance(error, openai.APITimeoutError | TimeoutError):
        return DeadlineExceeded("the language model's provider did not answer in time")
    if isinstance(error, openai.APIStatusError):
        return _of_status(error, own_key)
    if isinstance(error, openai.APIConnectionError) and type(error.__cause__).__name__ not in _LOST:
        return AssistantUnavailable("the language model's provider can't be reached")
    return AssistantFailed(f"the language model's provider broke off its answer ({type(error).__name__})")


def failure_of_waiting(refusal: Any) -> ClipServeError:
    """Of a question whose time is over; `refusal` is the provider's answer where the SDK waited to ask again."""
    if refusal is None:
        return DeadlineExceeded("the language model's provider did not answer in time")
    if refusal.status_code == 429:
        return Overloaded(
            "the language model's provider is busy for longer than this may take", retry_after=_retry_after(refusal)
        )
    return AssistantUnavailable(f"the language model's provider failed (status {refusal.status_code})")


def masked(said: str, own_key: str) -> str:
    """What a provider says, cut short and without keys, also where it repeats the one that it was sent."""
    whole = said.replace(own_key, "***") if own_key else said
    return _KEY.sub("sk-***", without_keys(whole))[:_LONGEST]


def _of_status(error: openai.APIStatusError, own_key: str) -> ClipServeError:
    status, said = error.status_code, _said(error, own_key)
    if status in (401, 403):
        return AssistantUnauthorized(
            f"the language model's provider refuses the key of this gateway (status {status}): "
            "set CLIPSERVE_GATEWAY_LLM_API_KEY"
        )
    if status == 429:
        return Overloaded(f"the language model's provider is busy: {said}", retry_after=_retry_after(error.response))
    if status >= 500:
        return AssistantUnavailable(f"the language model's provider failed (status {status}): {said}")
    hint = _NO_VISION if _ABOUT_PICTURES.search(said) else ""
    refused = AssistantFailed(f"the language model's provider refused the request (status {status}): {said}{hint}")
    refused.use = TokenUse()  # nothing was billed
    return refused


def _said(error: openai.APIStatusError, own_key: str) -> str:
    body = error.body
    message = body.get("message") if isinstance(body, dict) else None
    return masked(str(message or error.message), own_key)


def _retry_after(response: Any) -> float:
    """A day at most; what is no number of seconds is none."""
    with suppress(ValueError):
        seconds = float(response.headers.get("retry-after", ""))
        return _RETRY_S if math.isnan(seconds) else min(max(1.0, seconds), _MOST_RETRY_S)
    return _RETRY_S
