"""What signals do to `up`, in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import time
from scripts.stop_signals import Stopped, StopSignals
signals = StopSignals()
try:
    print("up", flush=True)
    time.sleep(60)
except Stopped:
    print("stopped", flush=True)
deadline = time.monotonic() + 60
while not signals.hurried and time.monotonic() < deadline:
    time.sleep(0.01)
print("hurried", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_stops_and_the_second_hurries(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in ("up\n", "stopped\n"):
            assert process.stdout.readline() == line
            process.send_signal(number)
        assert process.stdout.readline() == "hurried\n"
    assert process.returncode == 0


def test_it_can_not_be_suspended_and_outlives_a_terminal_under_nohup() -> None:
    code = "import signal as s; from scripts.stop_signals import StopSignals as S; S(); "
    code += "print([s.getsignal(n) is s.SIG_IGN for n in (s.SIGTSTP, s.SIGHUP, s.SIGTERM)])"
    for before, ignored in (["nohup"], [True, True, False]), ([], [True, False, False]):
        done = subprocess.run([*before, sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.strip() == str(ignored)
