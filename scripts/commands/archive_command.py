"""`clipserve archive build | list | verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from scripts.commands.names import not_empty
from scripts.commands.old_flags import TakesOldFlags
from scripts.commands.paths import existing_folder, named_path

if TYPE_CHECKING:
    from scripts.archive.tower_build import Judged

archive = typer.Typer(help="Build, list and verify TorchServe model archives (.mar).", no_args_is_help=True)
Checkpoint = Annotated[
    Path | None, typer.Option(help="A file or folder of weights, instead of the model's own.", parser=named_path)
]
Architecture = Annotated[
    str | None,
    typer.Option(help="open_clip's architecture, or its JSON file, where the weights can't tell.", callback=not_empty),
]
Tokenizer = Annotated[
    Path | None,
    typer.Option(help="A folder with a Hugging Face tokenizer, where the weights lack one.", parser=named_path),
]


@archive.command("build", cls=TakesOldFlags)
def archive_build(
    model: Annotated[
        str,
        typer.Argument(
            help="A given name (demo, vit-b-32), ARCH/TAG, hf-hub:ORG/NAME[@REVISION], a file or a folder.",
            callback=not_empty,
        ),
    ] = "demo",
    checkpoint: Checkpoint = None,
    architecture: Architecture = None,
    tokenizer: Tokenizer = None,
    name: Annotated[
        str | None, typer.Option(help="The model's name in answers (default: the last part).", callback=not_empty)
    ] = None,
    prefix: Annotated[
        str, typer.Option(help="Endpoints are named PREFIX_text, PREFIX_image, PREFIX_multimodal, PREFIX_caption.")
    ] = "clip",
    model_store: Annotated[
        Path | None, typer.Option(help="Where the .mar files go (default: model_store/).", parser=named_path)
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="fp32, bf16, int8, int8-static, or auto: measure them here, take the fastest that passes.",
            callback=not_empty,
        ),
    ] = None,
    compile: Annotated[
        bool | None,
        typer.Option("--compile/--no-compile", help="Compile the towers now (default: as model.yaml says)."),
    ] = None,
    eval_images: Annotated[
        Path | None,
        typer.Option(help="Pictures with captions (a.jpg, a.txt) to evaluate precisions with.", parser=existing_folder),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="Compile for cpu, or for cuda on a machine with a GPU (default: as model.yaml says).",
            callback=not_empty,
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="fp32 and not compiled: takes seconds, and serves more slowly.")
    ] = False,
    captions: Annotated[
        bool, typer.Option("--captions/--no-captions", help="Build the captioner's archive, where the model has one.")
    ] = True,
    line_every: Annotated[float, typer.Option(help="Seconds between lines on long steps.", hidden=True)] = 30.0,
    force: Annotated[bool, typer.Option(help="Build again even when nothing has changed.")] = False,
) -> None:
    """Pack a model into three archives: text, image and multimodal, and its captioner, if it has one, into a fourth.

    Example: clipserve archive build demo

    Example: clipserve archive build vit-b-32 --precision auto

    Example: clipserve archive build logs/run/checkpoints/epoch_5.pt --architecture ViT-B-32
    """
    from scripts.archive.build import build
    from scripts.archive.places import MODEL_STORE
    from scripts.archive.work_folders import end_on_sigterm
    from scripts.progress import WorkProgress

    if quick and (precision or compile):
        raise typer.BadParameter("--quick is fp32 and not compiled: give it without --precision and --compile")
    end_on_sigterm()
    console = Console()

    def show(judged: list[Judged], chosen: str) -> None:
        from scripts.archive import precision_choice  # torch comes with it: the hub is asked before

        precision_choice.show(judged, chosen, console)

    try:
        paths = build(
            model,
            checkpoint=checkpoint,
            architecture=architecture,
            tokenizer=tokenizer,
            name=name,
            prefix=prefix,
            model_store=model_store or MODEL_STORE,
            precision=precision,
            compile=compile,
            gate_images=eval_images,
            device=device,
            force=force,
            quick=quick,
            captions=captions,
            progress=WorkProgress(console, line_every),
            show=show,
        )
    except KeyboardInterrupt as stopped:
        console.print(str(stopped) or "Stopped.", highlight=False, soft_wrap=True)
        raise typer.Exit(130) from None
    for path in paths:
        console.print(f"{path.name}  {path.stat().st_size / 1e6:.1f} MB", highlight=False)


@archive.command("list")
def archive_list(
    model_store: Annotated[Path | None, typer.Option(help="Where the .mar files lie.", parser=named_path)] = None,
) -> None:
    """Show the models that can be built and the archives that were."""
    from scripts.archive.mar_files import read_spec
    from scripts.archive.places import MODEL_STORE, models

    console = Console()
    console.print("models:", ", ".join(models()))
    table = Table("archive", "model", "towers", "dim", "precision", "fingerprint", "MB")
    for path in sorted((model_store or MODEL_STORE).glob("*.mar")):
        spec = read_spec(path)
        facts = (
            (spec.name, spec.kind, str(spec.dim or "–"), spec.precision, spec.fingerprint)
            if spec
            else ("[red]damaged[/red]", *"----")
        )
        table.add_row(path.name, *facts, f"{path.stat().st_size / 1e6:.1f}")
    console.print(table)


@archive.command("verify")
def archive_verify(
    archives: Annotated[
        list[Path] | None, typer.Argument(help="The .mar files (default: all in model_store/).", parser=named_path)
    ] = None,
) -> None:
    """Unpack archives in a clean process, run their canaries and print each cosine to open_clip in fp32.

    A captioner has no vectors: of it, how many tokens of captions were compared with open_clip's and agreed.
    """
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
        cosines = " ".join(f"{cosine:.7f}" for cosine in seen.cosines) or f"{seen.tokens} tokens agree"
        floor = str(seen.floor) if seen.cosines else "all"
        table.add_row(path.name, towers, seen.fingerprint, seen.precision, cosines, floor)
    console.print(table)
