"""`clipserve model`: what concerns the models that a running stack serves."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from clip_core.serving.torchserve_tokens import KEY_FILE
from scripts.commands.archive_command import Architecture, Checkpoint, Tokenizer
from scripts.commands.names import not_empty
from scripts.commands.paths import named_path

if TYPE_CHECKING:
    from scripts.models.management import Management
    from scripts.models.row_store import RowStore

model = typer.Typer(help="Change what a running stack serves.", no_args_is_help=True)
Source = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="What to build: a given name (demo, vit-b-32), ARCH/TAG, hf-hub:ORG/NAME[@REVISION], a file or a folder.",
        callback=not_empty,
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(help="fp32, bf16, int8, int8-static or auto, instead of the model's own choice.", callback=not_empty),
]
Quick = Annotated[
    bool, typer.Option("--quick", help="Build fp32, not compiled: takes seconds, and serves more slowly.")
]
Archives = Annotated[
    Path | None, typer.Option(help="A folder of built .mar files, instead of building.", parser=named_path)
]
Store = Annotated[
    Path | None, typer.Option(help="TorchServe's model store (default: model_store/).", parser=named_path)
]
DataDir = Annotated[Path, typer.Option(help="The stack's data folder, with models.json.", parser=named_path)]
ManagementUrl = Annotated[str, typer.Option(help="TorchServe's management API.", callback=not_empty)]
InferenceUrl = Annotated[str, typer.Option(help="TorchServe's inference API.", callback=not_empty)]
IndexUrl = Annotated[str, typer.Option(help="The index service.", callback=not_empty)]
_DATA = Path("data")
_MANAGEMENT, _INFERENCE, _INDEX = "http://127.0.0.1:8081", "http://127.0.0.1:8080", "http://127.0.0.1:8090"


@model.command("list")
def list_(
    data_dir: DataDir = _DATA, management_url: ManagementUrl = _MANAGEMENT, inference_url: InferenceUrl = _INFERENCE
) -> None:
    """Show the models that are served, with their endpoints and what they take in memory.

    Example: clipserve model list
    """
    from scripts.models.model_list import show, table

    show(Console(), table(_torchserve(management_url, inference_url, data_dir), _rows(data_dir).read()))


@model.command("add")
def add(
    source: Source,
    name: Annotated[
        str | None, typer.Option(help="What requests call it, instead of the model's own name.", callback=not_empty)
    ] = None,
    checkpoint: Checkpoint = None,
    architecture: Architecture = None,
    tokenizer: Tokenizer = None,
    precision: Precision = None,
    quick: Quick = False,
    archives: Archives = None,
    captions: Annotated[bool, typer.Option(help="Serve its captioner, too, where it has one.")] = True,
    force: Annotated[bool, typer.Option(help="Load it even when memory looks too small.")] = False,
    model_store: Store = None,
    data_dir: DataDir = _DATA,
    management_url: ManagementUrl = _MANAGEMENT,
    inference_url: InferenceUrl = _INFERENCE,
) -> None:
    """Serve one more model, beside those that are served, without a failed request of theirs.

    Its endpoints are NAME_text, NAME_image and NAME_multimodal, and NAME_caption where it has a captioner.
    `clipserve up` serves it again after a restart.

    A model that is compiled takes minutes to build; with --quick it serves sooner, and `model swap` replaces it later.

    Example: clipserve model add vit-b-32

    Example: clipserve model add vit-b-32 --quick
    """
    from scripts.archive.build import build, captions_of, model_name
    from scripts.archive.places import MODEL_STORE
    from scripts.archive.work_folders import end_on_sigterm
    from scripts.models.archives import check_store, given_in, holds_captioner, put, removed_on_failure
    from scripts.models.model_add import Addition, check_new
    from scripts.models.row_store import by_kind, row
    from scripts.progress import WorkProgress

    _check_quick(quick, precision, archives)
    end_on_sigterm()
    console, store, rows = Console(), model_store or MODEL_STORE, _rows(data_dir)
    given: dict[str, Any] = {"architecture": architecture, "tokenizer": tokenizer, "precision": precision, "name": name}
    with rows.one_command():
        named = model_name(source, checkpoint, **given)
        has_one = captions_of(source, checkpoint, **given) if archives is None else holds_captioner(archives, named)
        new = row(named, added=True, captions=captions and has_one)
        check_new(rows, new)
        check_store(store, rows.read())
        with removed_on_failure(store, new):
            if archives is None:
                built: dict[str, Any] = {"prefix": new.name, "model_store": store, "quick": quick, **given}
                built["captions"] = bool(new.caption)
                build(source, checkpoint=checkpoint, progress=WorkProgress(console), **built)
            else:
                put(given_in(archives, new), store)
            Addition(
                _torchserve(management_url, inference_url, data_dir), rows, new, store, force, report=console.print
            ).run()
    console.print(f"serving {new.name} as {', '.join(by_kind(new).values())}; the gateway takes it within a second")


@model.command("remove")
def remove(
    name: Annotated[
        str, typer.Argument(help="The model's name, as `clipserve model list` shows it.", callback=not_empty)
    ],
    force: Annotated[bool, typer.Option(help="Remove it even when collections hold its vectors.")] = False,
    data_dir: DataDir = _DATA,
    management_url: ManagementUrl = _MANAGEMENT,
    inference_url: InferenceUrl = _INFERENCE,
    index_url: IndexUrl = _INDEX,
) -> None:
    """Serve a model no more. Its archives stay in the model store.

    Example: clipserve model remove vit-b-32
    """
    from scripts.models.model_remove import Removal
    from scripts.public_api import PublicApi

    console, rows = Console(), _rows(data_dir)
    torchserve = _torchserve(management_url, inference_url, data_dir)
    with rows.one_command():
        Removal(torchserve, PublicApi(index_url), rows, rows.find(name), force, report=console.print).run()


@model.command("swap")
def swap(
    source: Source = "demo",
    model: Annotated[
        str | None, typer.Option(help="The served model to replace (default: the default one).", callback=not_empty)
    ] = None,
    checkpoint: Checkpoint = None,
    architecture: Architecture = None,
    tokenizer: Tokenizer = None,
    name: Annotated[
        str | None, typer.Option(help="The model's name in answers (default: the last part).", callback=not_empty)
    ] = None,
    precision: Precision = None,
    quick: Quick = False,
    archives: Archives = None,
    model_store: Store = None,
    data_dir: DataDir = _DATA,
    management_url: ManagementUrl = _MANAGEMENT,
    inference_url: InferenceUrl = _INFERENCE,
    index_url: IndexUrl = _INDEX,
    accept_new_fingerprint: Annotated[bool, typer.Option(help="Swap even when old vectors become useless.")] = False,
) -> None:
    """Swap in a new version of the served archives, without a failed request.

    Example: clipserve model swap demo

    Example: clipserve model swap epoch_5.pt --model shoes --quick
    """
    from scripts.archive.build import build
    from scripts.archive.places import MODEL_STORE
    from scripts.archive.work_folders import end_on_sigterm
    from scripts.models.archives import given_in, replacing_in
    from scripts.models.model_swap import Swap
    from scripts.models.row_store import served_or_default
    from scripts.progress import WorkProgress
    from scripts.public_api import PublicApi

    _check_quick(quick, precision, archives)
    end_on_sigterm()
    console, rows = Console(), _rows(data_dir)
    alone = rows.one_command() if rows.path.exists() else contextlib.nullcontext()
    with alone, tempfile.TemporaryDirectory(prefix="clipserve-swap-") as temporary:
        row = served_or_default(rows, model)
        if archives is None:
            given: dict[str, Any] = {"architecture": architecture, "tokenizer": tokenizer, "name": name}
            given |= {"precision": precision, "quick": quick, "model_store": Path(temporary)}
            build(source, checkpoint=checkpoint, progress=WorkProgress(console), **given)
        done = Swap(
            _torchserve(management_url, inference_url, data_dir),
            PublicApi(index_url),
            (given_in if archives else replacing_in)(archives or Path(temporary), row, console.print),
            model_store or MODEL_STORE,
            accept_new_fingerprint,
            report=console.print,
            rename=rows.rename_default if row.default else lambda _: None,
        ).run()
    console.print("serving " + ", ".join(f"{endpoint} {version}" for endpoint, version in done.items()))


def _check_quick(quick: bool, precision: str | None, archives: Path | None) -> None:
    """Raises BadParameter."""
    if quick and (precision or archives):
        raise typer.BadParameter("--quick builds fp32, not compiled: give it without --precision and --archives")


def _torchserve(management_url: str, inference_url: str, data_dir: Path) -> Management:
    """With the tokens that TorchServe asks for, where `up` turned that on."""
    from scripts.models.management import Management

    return Management(management_url, inference_url, key_file=data_dir / "run" / KEY_FILE)


def _rows(data_dir: Path) -> RowStore:
    from scripts.models.row_store import FILE, RowStore

    return RowStore(data_dir / FILE)
