"""`clipserve profile`: where the time of a worker's batches goes, or that of a service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from clip_core.errors import BadInput
from clip_core.serving.torchserve_tokens import KEY_FILE
from scripts.commands.names import not_empty
from scripts.commands.paths import named_path
from scripts.profiling.reading import cost, difference, read_profile, stages
from scripts.profiling.taking import (
    SERVICES,
    ProfileTaker,
    ceiling_gflops,
    check_folder,
    take_service,
    write_profile,
    write_service_profile,
)

_INFERENCE = "http://127.0.0.1:8080"


def profile(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="ENDPOINT | gateway | index | diff A B", help="An endpoint, a service, or two profiles."
        ),
    ],
    batches: Annotated[int, typer.Option(help="Of an endpoint: batches to profile, at most 200.")] = 20,
    seconds: Annotated[
        int, typer.Option(help="Seconds after which it ends, at most 60 of an endpoint and 20 of a service.")
    ] = 10,
    memory: Annotated[
        bool, typer.Option("--memory", help="Of a service: what is allocated meanwhile, too; it serves slower.")
    ] = False,
    out: Annotated[
        Path, typer.Option(help="Folder for index.html, profile.json and trace.json.", parser=named_path)
    ] = Path("profile"),
    url: Annotated[
        str | None,
        typer.Option(help="TorchServe's inference API, or the service; the usual port here.", callback=not_empty),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(envvar="CLIPSERVE_HANDLER_ADMIN_TOKEN", help="The workers' admin token.", callback=not_empty),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(envvar="CLIPSERVE_API_KEY", help="Of the gateway: a key of scope admin.", callback=not_empty),
    ] = None,
    data_dir: Annotated[
        Path,
        typer.Option(help="The stack's data folder, with the tokens of `up --token-authorization`.", parser=named_path),
    ] = Path("data"),
) -> None:
    """Profile one worker of an endpoint while it serves, or the gateway or the index service.

    `clipserve profile diff A B` compares two profiles of workers.
    """
    console = Console()
    if what[0] == "diff":
        _compare(what[1:], console)
        return
    if len(what) != 1:
        raise BadInput("`clipserve profile` takes one endpoint, `gateway`, `index`, or `diff` and two profiles")
    check_folder(out)
    with console.status(f"profiling {escape(what[0])}"):
        if what[0] in SERVICES:
            address = url or SERVICES[what[0]].url
            write_service_profile(what[0], take_service(what[0], address, api_key, seconds, memory=memory), out)
        else:
            taker = ProfileTaker(url or _INFERENCE, token or "", data_dir / "run" / KEY_FILE)
            _profile_worker(what[0], taker, batches, seconds, out, console)
    console.print(f"[bold]{escape(str(out / 'index.html'))}[/bold] shows where the time went")


def _profile_worker(
    endpoint: str, taker: ProfileTaker, batches: int, seconds: int, out: Path, console: Console
) -> None:
    taken = taker.take(endpoint, batches, seconds)
    if not taken["batches"]:
        raise BadInput("no batch came to this worker meanwhile: profile it under load, or for longer")
    write_profile(taken, out, ceiling_gflops(int(taken["threads"])))
    _show(taken, console)
    console.print(f"Perfetto opens {escape(str(out / 'trace.json'))}")


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
