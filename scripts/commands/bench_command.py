"""`clipserve bench tune | precisions`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from scripts.commands.archive_command import Architecture, Checkpoint, Tokenizer
from scripts.commands.names import none_empty, not_empty
from scripts.commands.paths import existing_folder, named_path

bench = typer.Typer(help="Measure on this machine.", no_args_is_help=True)


@bench.command("tune")
def bench_tune(
    model: Annotated[
        str, typer.Argument(help="A directory under archive/, such as demo or vit-b-32.", callback=not_empty)
    ] = "demo",
    kind: Annotated[
        list[str] | None, typer.Option(help="text, image or multimodal; may be given again.", callback=none_empty)
    ] = None,
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


@bench.command("precisions")
def bench_precisions(
    model: Annotated[str, typer.Argument(help="As `archive build` takes it.", callback=not_empty)] = "demo",
    checkpoint: Checkpoint = None,
    architecture: Architecture = None,
    tokenizer: Tokenizer = None,
    eval_images: Annotated[
        Path | None,
        typer.Option(help="Pictures with captions (a.jpg, a.txt) to compare on.", parser=existing_folder),
    ] = None,
    compile: Annotated[
        bool | None,
        typer.Option("--compile/--no-compile", help="Compile the towers (default: as model.yaml says)."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, or cuda on a machine with a GPU.", callback=not_empty)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the report there: Markdown, or JSON for NAME.json.", parser=named_path)
    ] = None,
) -> None:
    """Compare a model in every precision with open_clip: speed, cosines, recall. Packs nothing, serves nothing.

    Example: clipserve bench precisions vit-b-32 --eval-images my-pictures --out precisions.md
    """
    from scripts.archive.resolver import resolve
    from scripts.archive.work_folders import end_on_sigterm
    from scripts.progress import WorkProgress

    given = {"architecture": architecture, "tokenizer": tokenizer, "compile": compile, "device": device}
    source = resolve(model, checkpoint, **given).source
    from scripts.tune.precision_report import report  # torch comes with it: the hub is asked before

    end_on_sigterm()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="clipserve-precisions-") as work:
        found = report(source, eval_images, Path(work), WorkProgress(console))
    found.show(console)
    if out:
        found.write(out)
        console.print(f"wrote {out}", highlight=False)
