"""`clipserve profile`: where the time of a worker's batches goes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from clip_core.errors import BadInput
from scripts.profiling.reading import cost, difference, read_profile, stages
from scripts.profiling.taking import ProfileTaker, ceiling_gflops, write_profile


def profile(
    what: Annotated[list[str], typer.Argument(metavar="ENDPOINT | diff A B", help="An endpoint, or two profiles.")],
    batches: Annotated[int, typer.Option(help="Batches to profile, at most 200.")] = 20,
    seconds: Annotated[float, typer.Option(help="Seconds after which it ends with fewer, at most 60.")] = 10.0,
    out: Annotated[Path, typer.Option(help="Folder for index.html, trace.json and profile.json.")] = Path("profile"),
    url: Annotated[str, typer.Option(help="TorchServe's inference API.")] = "http://127.0.0.1:8080",
    token: Annotated[
        str, typer.Option(envvar="CLIPSERVE_HANDLER_ADMIN_TOKEN", help="The workers' admin token.", show_default=False)
    ] = "",
) -> None:
    """Profile one worker of an endpoint while it serves, or compare two profiles: `clipserve profile diff A B`."""
    console = Console()
    if what[0] == "diff":
        _compare(what[1:], console)
        return
    if len(what) != 1:
        raise BadInput("`clipserve profile` takes one endpoint, or `diff` and two profiles")
    with console.status(f"profiling a worker of {what[0]}"):
        taken = ProfileTaker(url, token).take(what[0], batches, seconds)
    if not taken["batches"]:
        raise BadInput("no batch came to this worker meanwhile: profile it under load, or for longer")
    write_profile(taken, out, ceiling_gflops(int(taken["threads"])))
    _show(taken, console)
    console.print(f"[bold]{out / 'index.html'}[/bold] shows more; open {out / 'trace.json'} in Perfetto")


def _show(taken: dict[str, object], console: Console) -> None:
    table = Table("stage", "ms a batch", "share", "what would change it")
    for row in stages(taken):
        table.add_row(row.name, f"{row.ms:.2f}", f"{row.share:.0%}", row.knob)
    console.print(table)
    found = cost(taken)
    if found["p99_before"] and found["p99_during"]:
        console.print(f"batches took {found['p99_during'] / found['p99_before']:.2f} times as long at p99 meanwhile")


def _compare(paths: list[str], console: Console) -> None:
    if len(paths) != 2:
        raise BadInput("`clipserve profile diff` takes two profiles: the earlier one, and the later one")
    old, new = (read_profile(Path(path)) for path in paths)
    table = Table("stage", "ms before", "ms after", "change")
    for name, before, after in difference(old, new):
        table.add_row(name, f"{before:.2f}", f"{after:.2f}", f"{after - before:+.2f}")
    console.print(table)
