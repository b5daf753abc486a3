"""The scaler's own Prometheus metrics, made from its last decisions."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from scaler.scaler import ScaledEndpoint, Scaler


class ScalerMetrics(Collector):
    """What is not known is left out."""

    def __init__(self, scaler: Scaler) -> None:
        self._scaler = scaler

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for name, text, read in _GAUGES:
            family = GaugeMetricFamily(f"clipserve_scaler_{name}", text, labels=["endpoint"])
            for endpoint, each in self._scaler.endpoints.items():
                value = read(each)
                if value is not None:
                    family.add_metric([endpoint], float(value))
            yield family


def _of_decision(name: str, each: ScaledEndpoint) -> float | None:
    found = getattr(each.decision, name, None)
    return None if found is None else float(found)


_GAUGES = (
    ("size", "Workers or replicas that should be there.", lambda each: _of_decision("size", each)),
    ("demand", "Busy workers that the demand needs.", lambda each: _of_decision("demand", each)),
    (
        "forecast",
        "Busy workers that are expected at most until a start is ready.",
        lambda each: _of_decision("point", each),
    ),
    ("forecast_upper", "The same at the quantile of the settings.", lambda each: _of_decision("upper", each)),
    (
        "forecast_on",
        "1 while a season forecasts better than the last value.",
        lambda each: float(each.past.forecast is not None and each.past.forecast.is_on),
    ),
    ("ready", "Workers that serve.", lambda each: each.count and each.count.ready),
    (
        "demand_known",
        "0 while no gateway says what is asked: sizes stay.",
        lambda each: float(_of_decision("demand", each) is not None),
    ),
)
