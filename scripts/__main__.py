"""`clipserve` as it is started: Ctrl-C ends it with one line, also while its modules are still being imported."""

from __future__ import annotations

import sys


def main() -> None:
    """Exits with 130, as shells do, when it is interrupted."""
    try:
        from scripts.cli import main as run  # takes a second

        run()
    except KeyboardInterrupt:
        sys.exit(_stopped())


def _stopped() -> int:
    print("Stopped.", file=sys.stderr)
    return 130


if __name__ == "__main__":
    main()
