"""What ends a bulk run as a whole, and what ends a shard until the next run."""

from __future__ import annotations

from clipserve_client.errors import ClientError
from clipserve_client.sources.entries import SourceError


class BulkRefused(ClientError):
    """What is asked for does not fit what is there: another model, another layout, a second driver."""


class BulkFailed(ClientError):
    """It can't go on: the output can't be written, or no worker starts."""


class Away(SourceError):
    """A source that may be there again later."""


def why(error: BaseException) -> str:
    """Its words on one line, or its kind where it has none."""
    return " ".join(str(error).split())[:300] or type(error).__name__
