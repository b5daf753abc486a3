"""Starts a process that ends with its parent: `python launch/ PARENT -m MODULE …`, or `… PARENT COMMAND …`.

Python puts the folder that it runs first on `sys.path`. This one holds nothing else, so no file of the current folder
is imported in place of ours; `python -m` would put the current folder there.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Never returns with a COMMAND: the process becomes that command."""
    parent, *command = sys.argv[1:]
    _end_with(int(parent))
    if command[0] != "-m":
        os.execvp(command[0], command)
    sys.argv = command[1:]
    runpy.run_module(command[1], run_name="__main__", alter_sys=True)


def _end_with(parent: int) -> None:
    """Linux sends SIGKILL when the thread that started this process ends; elsewhere nothing does."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the line above
            os._exit(1)


if __name__ == "__main__":
    main()
