"""The error that only the index service has; every other is in `clip_core.errors`."""

from __future__ import annotations


class IndexStartError(Exception):
    """The service can't start; printed as one line on stderr by `__main__`, never answered to a client."""
