"""`clipserve bench tune`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

bench = typer.Typer(help="Measure on this machine.", no_args_is_help=True)


@bench.command("tune")
def bench_tune(
    model: Annotated[str, typer.Argument(help="A directory under archive/, such as demo or vit-b-32.")] = "demo",
    kind: Annotated[list[str] | None, typer.Option(help="text, image or multimodal; may be given again.")] = None,
    p99_ms: Annotated[float, typer.Option(help="Highest 99th percentile that the winner may have.")] = 500.0,
    clients: Annotated[int, typer.Option(help="Requests at once under load.")] = 32,
    seconds: Annotated[float, typer.Option(help="Length of each trial's load.")] = 5.0,
    write: Annotated[bool | None, typer.Option("--write/--no-write", help="Write the winner, or not, unasked.")] = None,
) -> None:
    """Try workers, threads, batch sizes and delays under load; write the best into archive/MODEL/KIND.yaml.

    Example: clipserve bench tune demo --kind text --write
    """
    from scripts.tune import tuner as program

    console = Console()
    for each in kind or ("text", "image"):
        best, trials = program.tune(model, each, program.Effort(clients, seconds), p99_ms, console)
        program.show(trials, best, p99_ms, console)
        if typer.confirm(f"write archive/{model}/{each}.yaml?") if write is None else write:
            console.print(f"wrote {program.write(model, each, best)}; rebuild with `clipserve archive build {model}`")
