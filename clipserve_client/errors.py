"""The error tree. Every failure of a call is one of these.

ClientError
├─ ConnectionFailed                no answer came; the message says what to do
├─ CallTimedOut                    the call's own deadline is over
├─ BadAddress                      what should be a gateway's address is none; a ValueError, too
├─ BadKey                          what should be an API key can't be sent as one; a ValueError, too
├─ BadName                         what should be a collection's or an alias's name is none; a ValueError, too
└─ ApiError                        the gateway answered with an error: status, code, param, request_id, retry_after
   ├─ BadInput                     400 bad_input
   │  ├─ BadJson                   400 invalid_json
   │  ├─ BadImage                  400 invalid_image
   │  ├─ ImageTooLarge             413 image_too_large
   │  ├─ BadText                   400 invalid_text
   │  ├─ BadVector                 400 invalid_vector
   │  ├─ BadFilter                 400 invalid_filter
   │  ├─ InvalidRequest            400 invalid_request
   │  ├─ FetchRefused              400 fetch_refused
   │  ├─ FetchFailed               400 fetch_failed
   │  ├─ NoCaptioner               400 no_captioner
   │  └─ TooLarge                  413 request_too_large
   │     └─ HeadersTooLarge        431 headers_too_large
   ├─ Unauthorized                 401 invalid_api_key
   ├─ Forbidden                    403 cross_origin
   │  ├─ HostNotAllowed            403 host_not_allowed
   │  ├─ ScopeMissing              403 scope_missing
   │  ├─ NotLocal                  403 not_local
   │  ├─ PathForbidden             403 path_forbidden
   │  └─ CollectionForbidden       403 collection_forbidden
   ├─ NotFound                     404 not_found
   │  ├─ UnknownCollection         404 collection_not_found
   │  ├─ UnknownItem               404 item_not_found
   │  ├─ UnknownJob                404 job_not_found
   │  ├─ UnknownPicture            404 picture_not_found
   │  └─ UnknownModel              404 model_not_found
   ├─ MethodNotAllowed             405 method_not_allowed
   ├─ TooSlow                      408 request_timeout
   ├─ Conflict                     409 conflict
   │  └─ FingerprintMismatch       409 fingerprint_mismatch
   ├─ UnsupportedMediaType         415 unsupported_media_type
   ├─ UnknownEncoding              415 unknown_encoding
   ├─ Overloaded                   429 overloaded
   │  ├─ RateLimited               429 rate_limited
   │  └─ BudgetSpent               429 budget_spent
   ├─ BadModel                     500 bad_model
   ├─ UnknownPrice                 500 unknown_price
   ├─ AssistantFailed              424 llm_failed
   │  ├─ AssistantRefused          424 llm_refused
   │  └─ AssistantUnauthorized     424 llm_unauthorized
   ├─ InferenceFailed              424 inference_failed
   ├─ Unavailable                  503 unavailable
   │  ├─ AssistantUnavailable      503 llm_unavailable
   │  ├─ IndexUnavailable          503 index_unavailable
   │  ├─ TorchServeUnavailable     503 torchserve_unavailable
   │  │  └─ WorkerLost             503 worker_lost
   │  ├─ NoModel                   503 no_model
   │  ├─ DatabaseUnavailable       503 database_unavailable
   │  └─ ShuttingDown              503 shutting_down
   ├─ DeadlineExceeded             504 deadline_exceeded
   └─ StorageFull                  507 storage_full
"""

from __future__ import annotations

import json
from typing import Any, ClassVar


class ClientError(Exception):
    """Root of the tree; `message` is for people."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ConnectionFailed(ClientError):
    """No answer came. `sent` is False when the request surely never reached the gateway."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class CallTimedOut(ClientError):
    """The call's deadline was over before an answer came."""


class BadAddress(ClientError, ValueError):
    """What should be a gateway's address is no http(s) URL."""


class BadKey(ClientError, ValueError):
    """What should be an API key has characters that no header can carry."""


class BadName(ClientError, ValueError):
    """What should be the name of a collection or an alias can be none."""


class ApiError(ClientError):
    """`code` is stable, `param` names the field at fault, `request_id` is in the gateway's log."""

    known_code: ClassVar[str] = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        status: int = 500,
        code: str | None = None,
        param: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param = status, code or self.known_code, param
        self.request_id, self.retry_after = request_id, retry_after

    def __str__(self) -> str:
        about = f" ({self.param})" if self.param else ""
        request = f" [request {self.request_id}]" if self.request_id else ""
        return f"{self.status} {self.code}{about}: {self.message}{request}"


class BadInput(ApiError):
    known_code = "bad_input"


class BadJson(BadInput):
    known_code = "invalid_json"


class BadImage(BadInput):
    known_code = "invalid_image"


class ImageTooLarge(BadInput):
    known_code = "image_too_large"


class BadText(BadInput):
    known_code = "invalid_text"


class BadVector(BadInput):
    known_code = "invalid_vector"


class BadFilter(BadInput):
    known_code = "invalid_filter"


class InvalidRequest(BadInput):
    known_code = "invalid_request"


class FetchRefused(BadInput):
    known_code = "fetch_refused"


class FetchFailed(BadInput):
    known_code = "fetch_failed"


class NoCaptioner(BadInput):
    known_code = "no_captioner"


class TooLarge(BadInput):
    known_code = "request_too_large"


class HeadersTooLarge(TooLarge):
    known_code = "headers_too_large"


class Unauthorized(ApiError):
    known_code = "invalid_api_key"


class Forbidden(ApiError):
    known_code = "cross_origin"


class HostNotAllowed(Forbidden):
    known_code = "host_not_allowed"


class ScopeMissing(Forbidden):
    known_code = "scope_missing"


class NotLocal(Forbidden):
    known_code = "not_local"


class PathForbidden(Forbidden):
    known_code = "path_forbidden"


class CollectionForbidden(Forbidden):
    known_code = "collection_forbidden"


class NotFound(ApiError):
    known_code = "not_found"


class UnknownCollection(NotFound):
    known_code = "collection_not_found"


class UnknownItem(NotFound):
    known_code = "item_not_found"


class UnknownJob(NotFound):
    known_code = "job_not_found"


class UnknownPicture(NotFound):
    known_code = "picture_not_found"


class UnknownModel(NotFound):
    known_code = "model_not_found"


class MethodNotAllowed(ApiError):
    known_code = "method_not_allowed"


class TooSlow(ApiError):
    known_code = "request_timeout"


class Conflict(ApiError):
    known_code = "conflict"


class FingerprintMismatch(Conflict):
    known_code = "fingerprint_mismatch"


class UnsupportedMediaType(ApiError):
    known_code = "unsupported_media_type"


class UnknownEncoding(ApiError):
    known_code = "unknown_encoding"


class Overloaded(ApiError):
    known_code = "overloaded"


class RateLimited(Overloaded):
    known_code = "rate_limited"


class BudgetSpent(Overloaded):
    known_code = "budget_spent"


class BadModel(ApiError):
    known_code = "bad_model"


class UnknownPrice(ApiError):
    known_code = "unknown_price"


class AssistantFailed(ApiError):
    known_code = "llm_failed"


class AssistantRefused(AssistantFailed):
    known_code = "llm_refused"


class AssistantUnauthorized(AssistantFailed):
    known_code = "llm_unauthorized"


class InferenceFailed(ApiError):
    known_code = "inference_failed"


class Unavailable(ApiError):
    known_code = "unavailable"


class AssistantUnavailable(Unavailable):
    known_code = "llm_unavailable"


class IndexUnavailable(Unavailable):
    known_code = "index_unavailable"


class TorchServeUnavailable(Unavailable):
    known_code = "torchserve_unavailable"


class WorkerLost(TorchServeUnavailable):
    known_code = "worker_lost"


class NoModel(Unavailable):
    known_code = "no_model"


class DatabaseUnavailable(Unavailable):
    known_code = "database_unavailable"


class ShuttingDown(Unavailable):
    known_code = "shutting_down"


class DeadlineExceeded(ApiError):
    known_code = "deadline_exceeded"


class StorageFull(ApiError):
    known_code = "storage_full"


def _tree(cls: type[ApiError]) -> list[type[ApiError]]:
    return [cls, *(leaf for child in cls.__subclasses__() for leaf in _tree(child))]


_BY_CODE = {cls.known_code: cls for cls in _tree(ApiError)}
_BY_STATUS: dict[int, type[ApiError]] = {  # for answers without an envelope, such as a proxy's
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    408: TooSlow,
    413: TooLarge,
    429: Overloaded,
    502: Unavailable,
    503: Unavailable,
    504: DeadlineExceeded,
    507: StorageFull,
}


def _shown(body: object) -> str:
    return (body if isinstance(body, str) else json.dumps(body, default=str))[:200]


def api_error(
    status: int, body: object, *, request_id: str | None = None, retry_after: float | None = None
) -> ApiError:
    """The exception for an answer: by the code of its envelope, else by its status."""
    told: Any = body.get("error") if isinstance(body, dict) else None
    if not isinstance(told, dict):
        told = {"message": f"the answer is no error of a gateway: {_shown(body)}"}
    code = told.get("code")
    kind = _BY_CODE.get(code) if isinstance(code, str) else None
    return (kind or _BY_STATUS.get(status, ApiError))(
        str(told.get("message")),
        status=status,
        code=code if isinstance(code, str) else None,
        param=told.get("param"),
        request_id=request_id,
        retry_after=retry_after,
    )
