"""What the hub, or the way to it, refused: one line each, with what to do."""

from __future__ import annotations

from clip_core.errors import BadModel

_ELSEWHERE = "or give a folder or file of weights instead"


def unreachable(error: Exception) -> bool:
    """Whether nobody answered, or a hub that is out of order: what is in the cache will do."""
    status = _status(error)
    return status >= 500 or status == 429 if status else not _is_about_the_name(error)


def refused(error: Exception, repository: str, revision: str) -> BadModel:
    """The error in one line."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    endpoint, page = constants.ENDPOINT, f"{constants.ENDPOINT}/{repository}"
    if isinstance(error, OfflineModeIsEnabled):
        return BadModel(f"{repository} is not in the local cache, and HF_HUB_OFFLINE forbids to ask {endpoint} for it")
    if isinstance(error, GatedRepoError):
        return BadModel(f"{repository} is gated: accept its terms at {page}, then set HF_TOKEN or run `hf auth login`")
    if isinstance(error, RevisionNotFoundError):
        return BadModel(f"{repository} has no revision {revision}: see {page}/tree/main for what it has")
    if isinstance(error, RepositoryNotFoundError):
        return BadModel(f"{endpoint} has no model {repository}, or it is private: then set HF_TOKEN")
    if isinstance(error, HFValidationError):
        return BadModel(f"{repository} is no name of a model on the hub: write ORG/NAME")
    status = _status(error)
    if status in (401, 403):
        return BadModel(f"{endpoint} refuses {repository} ({status}): set HF_TOKEN to a token that may read it")
    if status:
        return BadModel(f"{endpoint} answered {status} for {repository}: try again later, {_ELSEWHERE}")
    return BadModel(f"{endpoint} does not answer ({first_line(error)}): check the network or the proxy, {_ELSEWHERE}")


def _is_about_the_name(error: Exception) -> bool:
    from huggingface_hub.errors import HFValidationError

    return isinstance(error, HFValidationError)


def _status(error: Exception) -> int:
    """The HTTP status that was answered; 0 where there was none."""
    return int(getattr(getattr(error, "response", None), "status_code", 0) or 0)


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
