"""One admission controller for each TorchServe endpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from gateway.admission.adaptive_limit import AdaptiveLimit
from gateway.admission.controller import AdmissionCall, AdmissionController
from gateway.trace import current_trace


class EndpointAdmissions:
    """One AdmissionController for each endpoint, made at the first use."""

    def __init__(self, most: int, wait_s: float, on_refused: Callable[[str], None]) -> None:
        self._most, self._wait_s, self._on_refused = most, wait_s, on_refused
        self._at: dict[str, AdmissionController] = {}

    def at(self, endpoint: str) -> AdmissionController:
        made = self._at.get(endpoint)
        if made is None:
            refused = partial(self._on_refused, endpoint)
            made = self._at[endpoint] = AdmissionController(AdaptiveLimit(self._most), self._wait_s, on_refused=refused)
        return made

    def check(self, endpoints: Iterable[str]) -> None:
        """Raises Overloaded unless the current request can run or wait at each of these endpoints.

        Background work and streamed requests may always wait.
        """
        trace = current_trace()
        if trace.caller and not trace.patient:
            for endpoint in endpoints:
                self.at(endpoint).check(trace.caller)

    def call(self) -> AdmissionCall:
        """A new call of the current request at one endpoint."""
        trace = current_trace()
        return AdmissionCall(trace.caller, trace.patient or not trace.caller)
