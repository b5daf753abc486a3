"""What signals do to `up`, in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

START = """
import ctypes, threading, time
from scripts.processes.stop_signals import Stopped, StopSignals
signals = StopSignals(last_s={last_s})
def up(): print("up", flush=True)
"""
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@contextmanager
def program(lines: str, last_s: float = 3600) -> Iterator[subprocess.Popen[str]]:
    """Runs `lines` after START, until they have printed "up"."""
    command = [sys.executable, "-c", START.format(last_s=last_s) + lines]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert said(process) == "up"
            yield process
            assert process.wait(30) == (1 if last_s == 0 else 0)
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


TWICE = """
up()
try:
    signals.pause(60)
except Stopped:
    print("stopped", flush=True)
deadline = time.monotonic() + 60
while not signals.hurried and time.monotonic() < deadline:
    time.sleep(0.01)
print("hurried", flush=True)
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_stops_and_the_second_hurries(number: signal.Signals) -> None:
    with program(TWICE) as process:
        process.send_signal(number)
        assert said(process) == "stopped"
        process.send_signal(number)
        assert said(process) == "hurried"


IN_A_FINALIZER = """
class Finalized:
    def __del__(self): wait()
Finalized()
"""
IN_A_CALLBACK = "ctypes.CFUNCTYPE(None)(wait)()\n"
IN_A_THREAD = "threading.Thread(target=wait).start()\n"
SWALLOWED = "try:\n    wait()\nexcept BaseException: pass\n"


@pytest.mark.parametrize("where", [IN_A_FINALIZER, IN_A_CALLBACK, IN_A_THREAD, SWALLOWED])
def test_a_signal_is_kept_wherever_it_arrives(where: str) -> None:
    lines = f"""
arrived = threading.Event()
def wait():
    up()
    while not signals._asked.is_set(): time.sleep(0.01)
{where}
try: signals.pause(60)
except Stopped: print("stopped", flush=True)
"""
    with program(lines) as process:
        process.send_signal(signal.SIGTERM)
        assert said(process) == "stopped"


@pytest.mark.parametrize("stuck", ["lock.acquire(timeout=60)", "time.sleep(60)"])
def test_the_second_ends_a_process_that_is_stuck(stuck: str) -> None:
    lines = f"""
lock = threading.Lock()
lock.acquire()
up()
{stuck}
"""
    with program(lines, last_s=0) as process:
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)  # Linux makes one of two that are alike and come at once


BUILD = """
from scripts.stack.building import run_to_end
child = '''
import signal, time
try:
    if {stubborn}: signal.signal(signal.SIGINT, signal.SIG_IGN)
    print("up", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("removed", flush=True)
'''
try: run_to_end([__import__("sys").executable, "-c", child], 0o022, signals)
except Stopped: print("stopped", flush=True)
"""


def test_a_build_that_is_stopped_removes_what_is_half_built() -> None:
    with program(BUILD.replace("{stubborn}", "False")) as process:
        process.send_signal(signal.SIGTERM)
        assert (said(process), said(process)) == ("removed", "stopped")


def test_a_build_that_goes_on_is_killed_by_the_second() -> None:
    with program(BUILD.replace("{stubborn}", "True")) as process:
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        assert said(process) == "stopped"


def test_it_can_not_be_suspended_and_outlives_a_terminal_under_nohup() -> None:
    code = "import signal as s; from scripts.processes.stop_signals import StopSignals as S; S(); "
    code += "print([s.getsignal(n) is s.SIG_IGN for n in (s.SIGTSTP, s.SIGHUP, s.SIGTERM)])"
    for before, ignored in (["nohup"], [True, True, False]), ([], [True, False, False]):
        done = subprocess.run([*before, sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.strip() == str(ignored)
