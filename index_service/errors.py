"""The errors that only the index service makes.

BadInput
└─ InvalidRequest                  400 invalid_request
ClipServeError
└─ MethodNotAllowed                405 method_not_allowed
StartError                         the service can't start; its message says what to do
"""

from __future__ import annotations

from clip_core.errors import BadInput, ClipServeError


class InvalidRequest(BadInput):
    """The request itself is malformed: a field of the wrong kind, a body that is no object."""

    code = "invalid_request"


class MethodNotAllowed(ClipServeError):
    """The path exists and the method doesn't."""

    status = 405
    code = "method_not_allowed"


class StartError(Exception):
    """Printed as one line on stderr by `__main__`; never answered to a client."""
