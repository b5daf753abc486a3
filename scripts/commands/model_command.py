"""`clipserve model`: what concerns the models that a running TorchServe serves."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

model = typer.Typer(help="Change what a running TorchServe serves.", no_args_is_help=True)


@model.callback()
def _group() -> None:
    """Keeps `swap` a command of its own while it is the only one."""


@model.command("swap")
def swap(
    name: Annotated[str, typer.Argument(help="A model under archive/ to build, such as demo.")] = "demo",
    checkpoint: Annotated[Path | None, typer.Option(help="Local weights, instead of the model's own.")] = None,
    archives: Annotated[Path | None, typer.Option(help="A folder of built .mar files, instead of building.")] = None,
    model_store: Annotated[Path | None, typer.Option(help="TorchServe's model store (default: model_store/).")] = None,
    management_url: Annotated[str, typer.Option(help="TorchServe's management API.")] = "http://127.0.0.1:8081",
    inference_url: Annotated[str, typer.Option(help="TorchServe's inference API.")] = "http://127.0.0.1:8080",
    index_url: Annotated[str, typer.Option(help="The index service.")] = "http://127.0.0.1:8090",
    accept_new_fingerprint: Annotated[bool, typer.Option(help="Swap even when old vectors become useless.")] = False,
) -> None:
    """Swap in a new version of the served archives, without a failed request.

    Example: clipserve model swap demo
    """
    from scripts.archive.build import build
    from scripts.archive.places import MODEL_STORE
    from scripts.archive.work_folders import end_on_sigterm
    from scripts.models.management import Management
    from scripts.models.model_swap import Swap
    from scripts.public_api import PublicApi
    from scripts.stack.torchserve import ENDPOINTS

    end_on_sigterm()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="clipserve-swap-") as temporary:
        if archives is None:
            build(name, checkpoint=checkpoint, model_store=Path(temporary), report=console.print)
        folder = archives or Path(temporary)
        done = Swap(
            Management(management_url, inference_url),
            PublicApi(index_url),
            {endpoint: folder / f"{endpoint}.mar" for endpoint in ENDPOINTS},
            model_store or MODEL_STORE,
            accept_new_fingerprint,
            report=console.print,
        ).run()
    console.print("serving " + ", ".join(f"{endpoint} {version}" for endpoint, version in done.items()))
