"""Does the demo model tell plain drawings apart that its renderer never made, and answer the documents' searches?

    python -m benchmarks.drawings

Sets of twelve drawings by Pillow, matplotlib and Chromium, eight of each kind (`kinds.py`); a drawing counts as right
if its query finds it first among the twelve. Then the best score in the demo collection of each text that nothing
there answers, beside those of short searches and of captions. The last line is one JSON document.
"""

from __future__ import annotations

import statistics
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.drawings.measure import measure
from benchmarks.lib.reports import finish, head, judge, options, show
from scripts.demo.evaluate import ARCHIVE

BARS = {"plain_drawings_right_of_12": (11.0, "≥"), "readme_searches_right": (1.0, "≥")}


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--directory", type=Path, default=ARCHIVE, help="a checkpoint")
    given, console = parser.parse_args(), Console()
    found = measure(given.directory, console)
    table = Table("twelve drawings by", "right", "worst set")
    for name, counts in found["sets"].items():
        table.add_row(name, f"{statistics.mean(counts):.2f}", str(min(counts)))
    console.print(table)
    show(found["figures"], BARS, console)
    finish({**head("drawings"), **found, "bars": judge(found["figures"], BARS)}, given.save)


if __name__ == "__main__":
    main()
