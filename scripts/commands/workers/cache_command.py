"""`clipserve cache`: the embedding caches of a running stack's workers."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from clip_core.errors import BadInput
from clip_core.serving.torchserve_tokens import KEY_FILE
from scripts.commands.model_command import DataDir, InferenceUrl, ManagementUrl
from scripts.commands.names import none_empty, not_empty
from scripts.commands.paths import named_path

if TYPE_CHECKING:
    from gateway.models.rows import ModelRow
    from scripts.models.worker_caches import WorkerCaches

cache = typer.Typer(help="Look at the workers' embedding caches, and empty them.", no_args_is_help=True)
Token = Annotated[
    str | None,
    typer.Option(envvar="CLIPSERVE_HANDLER_ADMIN_TOKEN", help="The workers' admin token.", callback=not_empty),
]
ModelName = Annotated[
    str | None, typer.Option("--model", help="Of one model, by its name; else of all.", callback=not_empty)
]
_DATA = Path("data")
_MANAGEMENT, _INFERENCE = "http://127.0.0.1:8081", "http://127.0.0.1:8080"
_SHOWN = ("entries", "bytes", "hits", "misses", "evictions", "expired", "shared_hits", "shared_errors")


@cache.command("stats")
def stats(
    model: ModelName = None,
    token: Token = None,
    data_dir: DataDir = _DATA,
    management_url: ManagementUrl = _MANAGEMENT,
    inference_url: InferenceUrl = _INFERENCE,
) -> None:
    """Show what each worker's cache holds, and how often it had what was asked for.

    Example: clipserve cache stats
    """
    from scripts.models.model_list import show

    shown = Table("endpoint", "worker", *_SHOWN)
    caches = _caches(token, data_dir, management_url, inference_url)
    for row in _rows(data_dir, model):
        for endpoint in row.endpoints.all():
            for worker, found in caches.ask(endpoint, {"cache": "stats"}).items():
                shown.add_row(endpoint, worker, *(f"{found[name]:,}" for name in _SHOWN))
    show(Console(), shown)


@cache.command("clear")
def clear(
    model: ModelName = None,
    token: Token = None,
    data_dir: DataDir = _DATA,
    management_url: ManagementUrl = _MANAGEMENT,
    inference_url: InferenceUrl = _INFERENCE,
) -> None:
    """Forget every vector of one model or of all, in every worker and in the Redis that they share.

    Example: clipserve cache clear --model vit-b-32
    """
    console, caches = Console(), _caches(token, data_dir, management_url, inference_url)
    scope = "all" if model is None else "model"
    for row in _rows(data_dir, model):
        for endpoint in row.endpoints.all():
            answers = caches.ask(endpoint, {"cache": "clear", "scope": scope}).values()
            dropped = sum(answer["cleared"] for answer in answers)
            console.print(f"{endpoint}: {len(answers)} cleared, {dropped:,} vectors", highlight=False)


@cache.command("forget")
def forget(
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]...", help="Texts to forget.", callback=none_empty)
    ] = None,
    image: Annotated[
        list[Path] | None,
        typer.Option(help="A picture's file; may be given again.", exists=True, dir_okay=False, parser=named_path),
    ] = None,
    model: ModelName = None,
    token: Token = None,
    data_dir: DataDir = _DATA,
    management_url: ManagementUrl = _MANAGEMENT,
    inference_url: InferenceUrl = _INFERENCE,
) -> None:
    """Forget the vectors of some texts and pictures, in every worker and in the Redis that they share.

    A picture is known by the bytes that were sent.

    Example: clipserve cache forget "a red circle" --image photo.jpg
    """
    console, caches = Console(), _caches(token, data_dir, management_url, inference_url)
    pictures = [base64.b64encode(path.read_bytes()).decode() for path in image or ()]
    inputs = {"text": [{"text": text} for text in texts or ()], "image": [{"image": each} for each in pictures]}
    if not any(inputs.values()):
        raise BadInput("name texts, or pictures with --image")
    for row in _rows(data_dir, model):
        for endpoint, given in _asked(row, inputs):
            answers = caches.ask(endpoint, {"cache": "forget", "input": given}).values()
            found = max(answer["forgotten"] for answer in answers)
            console.print(f"{endpoint}: {len(answers)} asked, {found} of {len(given)} were there", highlight=False)


def _asked(row: ModelRow, inputs: dict[str, list[dict[str, str]]]) -> Iterator[tuple[str, list[Any]]]:
    """Endpoint → what may lie in its cache."""
    all_inputs = [*inputs["text"], *inputs["image"]]
    endpoints = row.endpoints
    named = zip(endpoints.all(), (inputs["text"], inputs["image"], all_inputs), strict=True)
    return ((endpoint, given) for endpoint, given in named if given)


def _caches(token: str | None, data_dir: Path, management_url: str, inference_url: str) -> WorkerCaches:
    from scripts.models.management import Management
    from scripts.models.worker_caches import WorkerCaches

    if not token:
        raise BadInput("start the stack with CLIPSERVE_HANDLER_ADMIN_TOKEN=…, and set it here, too")
    return WorkerCaches(Management(management_url, inference_url, key_file=data_dir / "run" / KEY_FILE), token)


def _rows(data_dir: Path, model: str | None) -> list[ModelRow]:
    """Those of data/models.json. Raises BadInput for a name that is not there."""
    from scripts.models.row_store import FILE, RowStore

    rows = RowStore(data_dir / FILE).read()
    found = [row for row in rows if model in (None, row.name)]
    if not found:
        names = ", ".join(row.name for row in rows) or "none"
        raise BadInput(f"no model {model or ''} is served by the stack of {data_dir}: it has {names}")
    return found
