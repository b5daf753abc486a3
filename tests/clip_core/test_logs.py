from __future__ import annotations

import io
import json
import logging
import signal
from collections.abc import Iterator

import pytest

from clip_core.logs import configure_logging, switch_level_by_signal


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("clipserve-test")
    yield logger
    logger.handlers = []


def test_a_json_line_carries_the_extra_fields(logger: logging.Logger) -> None:
    stream = io.StringIO()
    configure_logging("gateway", json_lines=True, stream=stream, logger=logger.name)
    logger.info("served", extra={"request_id": "r1", "ms": 2})
    line = json.loads(stream.getvalue())
    assert (line["service"], line["message"], line["request_id"], line["ms"]) == ("gateway", "served", "r1", 2)
    assert line["time"].endswith("Z")


def test_an_exception_stays_on_one_json_line(logger: logging.Logger) -> None:
    stream = io.StringIO()
    configure_logging("gateway", json_lines=True, stream=stream, logger=logger.name)
    try:
        raise ValueError("broken")
    except ValueError:
        logger.exception("failed")
    (line,) = stream.getvalue().splitlines()
    assert "ValueError: broken" in json.loads(line)["exception"]


def test_text_lines_show_the_same_fields(logger: logging.Logger) -> None:
    stream = io.StringIO()
    configure_logging("index", json_lines=False, stream=stream, logger=logger.name)
    logger.info("served", extra={"request_id": "r1"})
    assert "index served request_id=r1" in stream.getvalue()


def test_what_is_logged_begins_no_line_of_its_own(logger: logging.Logger) -> None:
    stream = io.StringIO()
    configure_logging("index", json_lines=False, stream=stream, logger=logger.name)
    hostile = "a\n12:00:00 INFO index forged\r\x1b[31m\x85\u2028b"
    try:
        raise ValueError("broken")
    except ValueError:
        logger.exception("no %s", hostile, extra={"file": hostile})
    line, *traceback = stream.getvalue().split("\n")
    assert line.isprintable()
    assert line.count(r"a\n12:00:00 INFO index forged\r\x1b[31m\x85\u2028b") == 2
    assert traceback[-2] == "ValueError: broken"


def test_a_signal_switches_to_debug_and_back(logger: logging.Logger) -> None:
    before = signal.getsignal(signal.SIGUSR1)
    logger.setLevel("WARNING")
    try:
        switch_level_by_signal("WARNING", logger.name)
        levels = []
        for _ in range(2):
            signal.raise_signal(signal.SIGUSR1)
            levels.append(logging.getLevelName(logger.level))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert levels == ["DEBUG", "WARNING"]
