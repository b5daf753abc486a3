"""What requests wait for at each TorchServe endpoint: their admission, and room for large answers before that."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from gateway.admission.adaptive_limit import AdaptiveLimit
from gateway.admission.answer_room import AnswerRoom
from gateway.admission.controller import AdmissionController
from gateway.admission.queued_request import AdmissionCall
from gateway.demand import Demand
from gateway.trace import current_trace


class EndpointAdmissions:
    """One AdmissionController and one AnswerRoom for each endpoint, made at the first use."""

    def __init__(
        self,
        most: int,
        wait_s: float,
        on_refused: Callable[[str], None],
        *,
        answer_bytes: int,
        max_large_answers: int,
        demand: Demand | None = None,
        on_wait: Callable[[str, str, float], None] = lambda *_: None,
    ) -> None:
        """`answer_bytes` is one answer's size, `max_large_answers` how many of them may be under way at an endpoint.

        `on_refused` is called with the endpoint; `demand` counts what is asked; `on_wait` is called with the endpoint,
        what a request waited for (admission or queue), and the seconds.
        """
        self.demand, self.on_wait = demand or Demand(), on_wait
        self._most, self._wait_s, self._on_refused = most, wait_s, on_refused
        self._answer_bytes, self._large_answers = answer_bytes, max_large_answers
        self._at: dict[str, AdmissionController] = {}
        self._rooms: dict[str, AnswerRoom] = {}

    def at(self, endpoint: str) -> AdmissionController:
        made = self._at.get(endpoint)
        if made is None:
            made = self._at[endpoint] = AdmissionController(
                AdaptiveLimit(self._most),
                self._wait_s,
                on_refused=partial(self._on_refused, endpoint),
                on_turned_away=partial(self.demand.refuse, endpoint, 1),
            )
        return made

    def room_at(self, endpoint: str) -> AnswerRoom:
        made = self._rooms.get(endpoint)
        if made is None:
            refused = partial(self._on_refused, endpoint)
            made = AnswerRoom(self._answer_bytes, self._large_answers, self._wait_s, refused)
            self._rooms[endpoint] = made
        return made

    def check(self, endpoints: Iterable[str]) -> None:
        """Raises Overloaded unless the current request can run or wait at each of these endpoints.

        Background work and streamed requests may always wait.
        """
        trace = current_trace()
        if trace.caller and not trace.patient:
            for endpoint in endpoints:
                self.at(endpoint).check(trace.caller)

    def load(self, endpoint: str) -> tuple[int, int, int]:
        """Items that run, items that wait, and how many may run."""
        found = self._at.get(endpoint)
        return (0, 0, 0) if found is None else (found.concurrency.items, found.waiting, int(found.concurrency.limit))

    def forget(self, endpoint: str) -> None:
        """It is served no more; its calls under way end as they would have."""
        self._at.pop(endpoint, None)
        self._rooms.pop(endpoint, None)
        self.demand.forget(endpoint)

    def call(self) -> AdmissionCall:
        """A new call of the current request, for one controller or room."""
        trace = current_trace()
        return AdmissionCall(trace.caller, trace.patient or not trace.caller)
