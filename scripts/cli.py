"""The `clipserve` command line: parses, calls one program, prints what it gives."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from clip_core.errors import ClipServeError
from scripts.commands.index_command import index
from scripts.commands.keys_command import keys
from scripts.commands.model_command import model
from scripts.commands.reindex_command import reindex
from scripts.commands.up_command import up

app = typer.Typer(
    name="clipserve",
    help="CLIP embeddings and semantic image search served by TorchServe.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
archive = typer.Typer(help="Build, list and verify TorchServe model archives (.mar).", no_args_is_help=True)
app.add_typer(archive, name="archive")
bench = typer.Typer(help="Measure on this machine.", no_args_is_help=True)
app.add_typer(bench, name="bench")
app.add_typer(keys, name="keys")
app.add_typer(model, name="model")
app.add_typer(index, name="index")

app.command()(up)
app.command()(reindex)

Url = Annotated[str, typer.Option(envvar="CLIPSERVE_URL", help="Address of the gateway.")]
Key = Annotated[str | None, typer.Option(envvar="CLIPSERVE_API_KEY", help="API key, when the gateway asks for one.")]
DEFAULT_URL = "http://127.0.0.1:8000"


@archive.command("build")
def archive_build(
    model: Annotated[str, typer.Argument(help="A directory under archive/, such as demo or vit-b-32.")] = "demo",
    checkpoint: Annotated[
        Path | None, typer.Option(help="Local weights in the hub's layout, instead of a download.")
    ] = None,
    prefix: Annotated[
        str, typer.Option(help="Endpoints are named PREFIX_text, PREFIX_image, PREFIX_multimodal.")
    ] = "clip",
    model_store: Annotated[Path | None, typer.Option(help="Where the .mar files go (default: model_store/).")] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="fp32, bf16, int8, int8-static, or auto: measure them here, take the fastest that passes."),
    ] = None,
    compile: Annotated[
        bool | None,
        typer.Option("--compile/--no-compile", help="Compile the towers now (default: as model.yaml says)."),
    ] = None,
    gate_images: Annotated[
        Path | None,
        typer.Option(
            help="Pictures with captions (a.jpg, a.txt) to judge precisions with.", file_okay=False, exists=True
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="Compile for cpu, or for cuda on a machine with a GPU (default: as model.yaml says)."),
    ] = None,
    force: Annotated[bool, typer.Option(help="Build again even when nothing has changed.")] = False,
) -> None:
    """Pack a model into three archives: text, image and multimodal.

    Example: clipserve archive build demo

    Example: clipserve archive build vit-b-32 --precision auto
    """
    from scripts.archive.build import build
    from scripts.archive.places import MODEL_STORE
    from scripts.archive.precision_choice import show
    from scripts.archive.work_folders import end_on_sigterm

    end_on_sigterm()
    console = Console()
    paths = build(
        model,
        checkpoint=checkpoint,
        prefix=prefix,
        model_store=model_store or MODEL_STORE,
        precision=precision,
        compile=compile,
        gate_images=gate_images,
        device=device,
        force=force,
        report=console.print,
        show=lambda judged, chosen: show(judged, chosen, console),
    )
    for path in paths:
        console.print(f"{path.name}  {path.stat().st_size / 1e6:.1f} MB", highlight=False)


@archive.command("list")
def archive_list(model_store: Annotated[Path | None, typer.Option(help="Where the .mar files lie.")] = None) -> None:
    """Show the models that can be built and the archives that were."""
    from scripts.archive.mar_files import read_spec
    from scripts.archive.places import MODEL_STORE, models

    console = Console()
    console.print("models:", ", ".join(models()))
    table = Table("archive", "model", "towers", "dim", "precision", "fingerprint", "MB")
    for path in sorted((model_store or MODEL_STORE).glob("*.mar")):
        spec = read_spec(path)
        facts = (
            (spec.name, spec.kind, str(spec.dim), spec.precision, spec.fingerprint)
            if spec
            else ("[red]damaged[/red]", *"----")
        )
        table.add_row(path.name, *facts, f"{path.stat().st_size / 1e6:.1f}")
    console.print(table)


@archive.command("verify")
def archive_verify(
    archives: Annotated[
        list[Path] | None, typer.Argument(help="The .mar files (default: all in model_store/).")
    ] = None,
) -> None:
    """Unpack archives in a clean process, run their canaries and print each cosine to open_clip in fp32."""
    from scripts.archive.places import MODEL_STORE
    from scripts.archive.verify import verify
    from scripts.archive.work_folders import end_on_sigterm

    end_on_sigterm()
    console = Console()
    paths = archives or sorted(MODEL_STORE.glob("*.mar"))
    if not paths:
        raise typer.BadParameter("no archives to verify: run `clipserve archive build demo`")
    table = Table("archive", "towers", "fingerprint", "precision", "canary cosines", "floor")
    for path in paths:
        seen = verify(path)
        towers = ", ".join(f"{name}: {kind}" for name, kind in seen.towers.items())
        cosines = " ".join(f"{cosine:.7f}" for cosine in seen.cosines)
        table.add_row(path.name, towers, seen.fingerprint, seen.precision, cosines, str(seen.floor))
    console.print(table)


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


@app.command()
def ingest(
    directory: Annotated[Path, typer.Argument(help="A folder of pictures.", exists=True, file_okay=False)],
    collection: Annotated[str, typer.Option(help="Collection to fill; made when it does not exist.")],
    url: Url = DEFAULT_URL,
    api_key: Key = None,
) -> None:
    """Embed every picture below DIRECTORY and put it into a collection.

    Example: clipserve ingest ~/Pictures --collection holidays
    """
    from scripts.collections.ingest import find_pictures
    from scripts.collections.ingest import ingest as run
    from scripts.public_api import PublicApi

    api, console = PublicApi(url, api_key), Console()
    pictures = find_pictures(directory)
    api.call("PUT", f"/v1/collections/{collection}", {})
    failed = run(api, collection, pictures, console)
    for line in failed:
        console.print(f"[yellow]not ingested[/yellow] {line}")
    console.print(f"{len(pictures) - len(failed)} of {len(pictures)} pictures are in {collection}")
    if failed:
        raise typer.Exit(1)


@app.command()
def search(
    text: Annotated[str, typer.Argument(help="What to look for.")],
    collection: Annotated[str, typer.Option(help="Where to look.")] = "demo",
    k: Annotated[int, typer.Option(help="How many hits.")] = 5,
    url: Url = DEFAULT_URL,
    api_key: Key = None,
) -> None:
    """Search a collection by words and show the hits as a table.

    Example: clipserve search "two small blue stars"
    """
    from scripts.demo.search_table import show_search
    from scripts.public_api import PublicApi

    show_search(PublicApi(url, api_key), Console(), text, collection, k)


@app.command()
def embed(
    texts: Annotated[list[str], typer.Argument(help="Texts to embed.")], url: Url = DEFAULT_URL, api_key: Key = None
) -> None:
    """Print the vectors of texts, one JSON list a line."""
    from scripts.public_api import PublicApi

    answer = PublicApi(url, api_key).call("POST", "/v1/embeddings", {"input": texts, "encoding_format": "float"})
    for item in answer["data"]:
        typer.echo(json.dumps(item["embedding"]))


def main() -> None:
    """Run, and print an error of ours as one line with a status of 1."""
    try:
        app()
    except ClipServeError as error:
        Console(stderr=True).print(f"[red]error[/red] {error.message}", highlight=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
