"""One endpoint: what was asked of it, what is forecast, and how many workers it should have."""

from __future__ import annotations

from dataclasses import dataclass

from scaler.forecast.forecaster import Forecast
from scaler.series.readings import Interval
from scaler.settings import ScalerSettings
from scaler.sizing.rule import TOLERANCE, allowed_utilization, desired_workers, workers
from scaler.sizing.stabilization import StabilizationWindow
from scaler.sizing.work_time import WorkTime

_MOMENT_S = 1e-3
_FEW = 0.5  # items: a forecast of fewer keeps nothing awake


@dataclass(frozen=True)
class Decision:
    """`demand`, `point` and `upper` are in busy workers; None: not known, or no forecast. `reason` is for people.

    `method`: what the forecast takes the future for: the last value, the day or the week before.
    """

    size: int
    reason: str
    demand: float | None = None
    point: float | None = None
    upper: float | None = None
    method: str | None = None


class EndpointScaler:
    """Decides from one interval after the other; times are seconds of a clock that never jumps."""

    def __init__(self, settings: ScalerSettings) -> None:
        self._settings = settings
        self._work, self._window = WorkTime(), StabilizationWindow(settings.stabilization_window_s)
        self._asked_at = float("-inf")
        self._counted = False
        self._size: int | None = None  # the last one that was decided from a demand

    def decide(
        self, seen: Interval | None, forecast: Forecast | None, now: float, *, size: int | None, complete: bool = True
    ) -> Decision | None:
        """`seen`: since the last decision, None where that isn't known; `forecast` in items a second.

        `size`: workers that are wanted now, None where TorchServe doesn't say. Without `complete` more may have been
        asked than was seen: then the size doesn't shrink. None while neither the demand nor a size is known.
        """
        if size is not None and not self._counted:
            self._count(size, now)
        before = self._size if self._size is not None else size
        if seen is not None:
            if self._size is None:
                self._asked_at = now
            found = self._decided(seen, forecast, now, self._bounded(before or 0), complete)
            self._size = found.size
            return found
        return None if before is None else Decision(before, "the demand is not known: the size stays")

    def _count(self, size: int, now: float) -> None:
        """What is there when it is first known counts as needed a moment ago, by a demand that was not seen."""
        self._counted = True
        self._window.largest(self._bounded(size), now - _MOMENT_S)
        if self._size is not None:
            self._size = max(self._size, self._bounded(size))

    def _decided(self, seen: Interval, forecast: Forecast | None, now: float, before: int, complete: bool) -> Decision:
        demand = self._demand(seen, now)
        floor, reason = self._floor(forecast)
        target = float(
            allowed_utilization(demand, floor, self._settings.target_utilization, self._settings.max_utilization)
        )
        reactive = float(desired_workers(demand, before, 0.0, target, TOLERANCE))
        if reactive >= floor:
            reason = f"demand of {demand:.1f} busy workers, each busy for {target:.0%} at most"
        wanted = self._bounded(round(min(max(reactive, floor, self._awake(now)), self._settings.max_replicas)))
        size = self._window.largest(wanted, now)
        if size > wanted:
            reason = f"{wanted} would do; {size} were needed in the last {self._settings.stabilization_window_s:.0f} s"
        if not complete and size < before:
            size, reason = before, "a gateway does not answer: the size does not shrink"
        told = (None, None, None) if forecast is None else (*self._busy(forecast), forecast.by)
        return Decision(size, reason, demand, *told)

    def _demand(self, seen: Interval, now: float) -> float:
        """Busy workers, with those that the waiting items need."""
        if seen.stay_s is not None:
            self._work.see(seen.stay_s)
        if seen.items or seen.item_seconds:
            self._asked_at = now
        return seen.rate * self._work.with_waiting(seen.stay_s) / self._settings.items_per_replica

    def _floor(self, forecast: Forecast | None) -> tuple[float, str]:
        """Workers for what is forecast, 0 where that is off; and how it is said."""
        if forecast is None or not forecast.is_on or forecast.upper * self._settings.series_step_s < _FEW:
            return 0.0, ""
        _, upper = self._busy(forecast)
        text = f"by the {forecast.by} before, {upper:.1f} busy workers at most ({self._settings.quantile:.0%})"
        return float(workers(upper, self._settings.max_utilization)), text

    def _busy(self, forecast: Forecast) -> tuple[float, float]:
        each = self._work.seconds / self._settings.items_per_replica
        return forecast.point * each, forecast.upper * each

    def _awake(self, now: float) -> int:
        """One worker until nothing was asked for a while."""
        return int(now - self._asked_at < self._settings.scale_to_zero_after_s)

    def _bounded(self, size: int) -> int:
        return min(max(size, self._settings.min_replicas), self._settings.max_replicas)
