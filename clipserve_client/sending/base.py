"""What both clients are made of: where calls go, their time limit and their retries."""

from __future__ import annotations

from clipserve_client.answers.answers import Limits
from clipserve_client.calls.exchange import Target
from clipserve_client.retries import Retries


class BaseClient:
    """`url` and `api_key` are by default those of CLIPSERVE_URL and CLIPSERVE_API_KEY.

    A call ends within `timeout_s`, its retries included. Every call raises ApiError, ConnectionFailed or CallTimedOut.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout_s: float = 60.0,
        retries: Retries | None = None,
        verify: bool = True,
    ) -> None:
        self.target, self.timeout_s = Target.of(url, api_key, verify), timeout_s
        self.retries = retries or Retries()
        self._limits: Limits | None = None
        self._open()

    def _open(self) -> None:
        """Make the connection pool."""
        raise NotImplementedError
