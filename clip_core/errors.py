"""The error tree. Every failure that a caller may see is one of these, with its HTTP status and stable code.

ClipServeError                     500 internal_error
├─ BadInput                        400 bad_input
│  ├─ BadJson                      400 invalid_json
│  ├─ BadImage                     400 invalid_image
│  ├─ ImageTooLarge                413 image_too_large
│  ├─ BadText                      400 invalid_text
│  ├─ BadVector                    400 invalid_vector
│  ├─ BadFilter                    400 invalid_filter
│  ├─ InvalidRequest               400 invalid_request
│  ├─ FetchRefused                 400 fetch_refused
│  ├─ FetchFailed                  400 fetch_failed
│  ├─ NoCaptioner                  400 no_captioner
│  └─ TooLarge                     413 request_too_large
│     └─ HeadersTooLarge           431 headers_too_large
├─ Unauthorized                    401 invalid_api_key
├─ Forbidden                       403 cross_origin
│  ├─ HostNotAllowed               403 host_not_allowed
│  ├─ ScopeMissing                 403 scope_missing
│  ├─ NotLocal                     403 not_local
│  ├─ PathForbidden                403 path_forbidden
│  └─ CollectionForbidden          403 collection_forbidden
├─ NotFound                        404 not_found
│  ├─ UnknownCollection            404 collection_not_found
│  ├─ UnknownItem                  404 item_not_found
│  ├─ UnknownJob                   404 job_not_found
│  ├─ UnknownPicture               404 picture_not_found
│  └─ UnknownModel                 404 model_not_found
├─ MethodNotAllowed                405 method_not_allowed
├─ TooSlow                         408 request_timeout
├─ Conflict                        409 conflict
│  └─ FingerprintMismatch          409 fingerprint_mismatch
├─ UnsupportedMediaType            415 unsupported_media_type
├─ UnknownEncoding                 415 unknown_encoding
├─ Overloaded                      429 overloaded
│  ├─ RateLimited                  429 rate_limited
│  └─ BudgetSpent                  429 budget_spent
├─ BadModel                        500 bad_model
├─ UnknownPrice                    500 unknown_price
├─ AssistantFailed                 424 llm_failed
│  ├─ AssistantRefused             424 llm_refused
│  └─ AssistantUnauthorized        424 llm_unauthorized
├─ InferenceFailed                 424 inference_failed
├─ Unavailable                     503 unavailable
│  ├─ AssistantUnavailable         503 llm_unavailable
│  ├─ IndexUnavailable             503 index_unavailable
│  ├─ TorchServeUnavailable        503 torchserve_unavailable
│  │  └─ WorkerLost                503 worker_lost
│  ├─ NoModel                      503 no_model
│  ├─ DatabaseUnavailable          503 database_unavailable
│  └─ ShuttingDown                 503 shutting_down
├─ DeadlineExceeded                504 deadline_exceeded
└─ StorageFull                     507 storage_full
"""

from __future__ import annotations

from typing import Any


class ClipServeError(Exception):
    """Root of the tree: `status` is the HTTP status, `code` a stable machine-readable name."""

    status = 500
    code = "internal_error"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param

    def to_dict(self) -> dict[str, Any]:
        """The OpenAI envelope: {"error": {"message", "type", "param", "code"}}."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


class BadInput(ClipServeError):
    status = 400
    code = "bad_input"


class BadJson(BadInput):
    code = "invalid_json"


class BadImage(BadInput):
    code = "invalid_image"


class ImageTooLarge(BadInput):
    status = 413
    code = "image_too_large"


class BadText(BadInput):
    code = "invalid_text"


class BadVector(BadInput):
    code = "invalid_vector"


class BadFilter(BadInput):
    code = "invalid_filter"


class InvalidRequest(BadInput):
    code = "invalid_request"


class FetchRefused(BadInput):
    code = "fetch_refused"


class FetchFailed(BadInput):
    code = "fetch_failed"


class NoCaptioner(BadInput):
    """The model has no decoder that could write captions."""

    code = "no_captioner"


class TooLarge(BadInput):
    status = 413
    code = "request_too_large"


class HeadersTooLarge(TooLarge):
    status = 431
    code = "headers_too_large"


class Unauthorized(ClipServeError):
    status = 401
    code = "invalid_api_key"


class Forbidden(ClipServeError):
    status = 403
    code = "cross_origin"


class HostNotAllowed(Forbidden):
    code = "host_not_allowed"


class ScopeMissing(Forbidden):
    code = "scope_missing"


class NotLocal(Forbidden):
    """The caller did not show that it may read the gateway's own files."""

    code = "not_local"


class PathForbidden(Forbidden):
    """A path that is not below a root of the server's allow-list."""

    code = "path_forbidden"


class CollectionForbidden(Forbidden):
    code = "collection_forbidden"


class NotFound(ClipServeError):
    status = 404
    code = "not_found"


class UnknownCollection(NotFound):
    code = "collection_not_found"


class UnknownItem(NotFound):
    code = "item_not_found"


class UnknownJob(NotFound):
    code = "job_not_found"


class UnknownPicture(NotFound):
    code = "picture_not_found"


class UnknownModel(NotFound):
    code = "model_not_found"


class MethodNotAllowed(ClipServeError):
    status = 405
    code = "method_not_allowed"


class TooSlow(ClipServeError):
    status = 408
    code = "request_timeout"


class Conflict(ClipServeError):
    status = 409
    code = "conflict"


class FingerprintMismatch(Conflict):
    code = "fingerprint_mismatch"

    @staticmethod
    def ways_out(collection: str, model: str) -> str:
        """How a collection whose model isn't served becomes searchable again."""
        return (
            f"serve {model} again (`clipserve up --model {model}`), or embed the collection again with what is served "
            f"(`clipserve reindex {collection} NEW`); until then it is searched by vectors only"
        )


class UnsupportedMediaType(ClipServeError):
    status = 415
    code = "unsupported_media_type"


class UnknownEncoding(ClipServeError):
    status = 415
    code = "unknown_encoding"


class Overloaded(ClipServeError):
    """`retry_after` is in seconds."""

    status = 429
    code = "overloaded"

    def __init__(self, message: str, *, param: str | None = None, retry_after: float = 1.0) -> None:
        super().__init__(message, param=param)
        self.retry_after = retry_after


class RateLimited(Overloaded):
    code = "rate_limited"


class BudgetSpent(Overloaded):
    """What may be spent on answers in a day is spent; `retry_after` is until the next day."""

    code = "budget_spent"


class BadModel(ClipServeError):
    code = "bad_model"


class UnknownPrice(ClipServeError):
    """Spending is capped, and nobody said what the model costs."""

    code = "unknown_price"


class AssistantFailed(ClipServeError):
    """The language model's answer is none that may be passed on. `use` and `cost_usd`: what was billed all the same."""

    status = 424  # not 502, which clients send again: each try may be billed
    code = "llm_failed"
    use: object = None
    cost_usd: float = 0.0


class AssistantRefused(AssistantFailed):
    code = "llm_refused"


class AssistantUnauthorized(AssistantFailed):
    """Its provider refuses the gateway's own key."""

    code = "llm_unauthorized"


class InferenceFailed(ClipServeError):
    status = 424
    code = "inference_failed"


class Unavailable(ClipServeError):
    status = 503
    code = "unavailable"


class AssistantUnavailable(Unavailable):
    """The provider of the language model can't be reached, or fails."""

    code = "llm_unavailable"


class IndexUnavailable(Unavailable):
    code = "index_unavailable"


class TorchServeUnavailable(Unavailable):
    code = "torchserve_unavailable"


class WorkerLost(TorchServeUnavailable):
    """The worker ended while it had the request, which may or may not be the reason."""

    code = "worker_lost"


class NoModel(Unavailable):
    """Nothing is served that could encode."""

    code = "no_model"


class DatabaseUnavailable(Unavailable):
    """Of the database that gateways share."""

    code = "database_unavailable"


class ShuttingDown(Unavailable):
    code = "shutting_down"


class DeadlineExceeded(ClipServeError):
    status = 504
    code = "deadline_exceeded"


class StorageFull(ClipServeError):
    status = 507
    code = "storage_full"


def _tree(cls: type[ClipServeError]) -> list[type[ClipServeError]]:
    return [cls, *(leaf for child in cls.__subclasses__() for leaf in _tree(child))]


def from_dict(body: object, status: int = 500) -> ClipServeError:
    """Rebuild an error from the envelope another process answered with; unknown codes keep their status."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        error = {"message": f"upstream answered {status}: {str(body)[:200]}"}
    known = {cls.code: cls for cls in _tree(ClipServeError) if "code" in vars(cls)}  # others are their parents, abroad
    code = str(error.get("code"))
    rebuilt = known.get(code, ClipServeError)(str(error.get("message")), param=error.get("param"))
    if code not in known:
        rebuilt.status = status
    return rebuilt
