"""The past of each endpoint: rates by the minute, kept on disk, and the forecast that they give."""

from __future__ import annotations

import asyncio
import logging
import math
from pathlib import Path

from scaler.forecast.forecaster import Forecast, forecast_now, needed
from scaler.series.minutes import MinuteRates
from scaler.series.readings import Interval

_LONGEST_HORIZON = 35  # minutes
_SAVED_EVERY = 10  # minutes
_log = logging.getLogger("scaler.past")


class Past:
    """Of one endpoint. A file that can't be read or written is said; the past in memory goes on."""

    def __init__(self, path: Path, minute_s: float) -> None:
        self._path, self._minute_s = path, minute_s
        self._rates = MinuteRates(needed(_LONGEST_HORIZON) + 1)
        self._saved = self._forecast_at = -1
        self.forecast: Forecast | None = None
        try:
            self._rates.load(path)
        except (OSError, ValueError) as error:
            _log.warning("the past can't be read, and begins anew: %s", error)

    def add(self, seen: Interval, wall_s: float) -> None:
        """What was asked in the interval that ends at `wall_s`, in seconds since 1970."""
        self._rates.add(int(wall_s // self._minute_s), seen.rate, seen.seconds)

    async def renew(self, quantile: float, start_s: float) -> None:
        """The forecast of this minute, once a minute; in a thread, since it takes a moment."""
        minute = self._rates.last
        if minute is None or minute == self._forecast_at:
            return
        self._forecast_at = minute
        horizon = min(_LONGEST_HORIZON, horizon_minutes(start_s / self._minute_s))
        try:
            self.forecast = await asyncio.to_thread(forecast_now, self._rates.whole(), quantile, horizon)
        except Exception:  # the reactive rule goes on by itself
            self.forecast = None
            _log.exception("there is no forecast")
        if abs(minute - self._saved) >= _SAVED_EVERY:
            self._saved = minute
            await asyncio.to_thread(self.save)

    def save(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._rates.save(self._path)
        except OSError as error:
            _log.warning("the past can't be kept in %s: %s", self._path, error)


def horizon_minutes(start_minutes: float) -> int:
    """A decision holds for the minute that is under way, and until a worker that starts now is ready."""
    return 1 + max(1, math.ceil(start_minutes))
