"""The `clipserve` command line: joins the commands, and prints an error as one line."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from clip_core.errors import ClipServeError
from clipserve_client.errors import ClientError
from scripts.commands.archive_command import archive
from scripts.commands.ask_command import ask
from scripts.commands.bench_command import bench
from scripts.commands.bulk_command import bulk
from scripts.commands.captioning.caption_collection_command import caption_collection
from scripts.commands.captioning.caption_command import caption
from scripts.commands.captioning.caption_folder_command import caption_folder
from scripts.commands.config_command import config
from scripts.commands.gateway_commands import duplicates, embed, ingest, search
from scripts.commands.index_command import index
from scripts.commands.keys_command import keys
from scripts.commands.local_llm_command import local_llm
from scripts.commands.model_command import model
from scripts.commands.old_flags import TakesOldFlags
from scripts.commands.profile_command import profile
from scripts.commands.reindex_command import reindex
from scripts.commands.sync_command import sync
from scripts.commands.up_command import up
from scripts.commands.workers.cache_command import cache

app = typer.Typer(
    name="clipserve",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(archive, name="archive")
app.add_typer(bench, name="bench")
app.add_typer(config, name="config")
app.add_typer(keys, name="keys")
app.add_typer(model, name="model")
app.add_typer(index, name="index")
app.add_typer(cache, name="cache")
for command in (
    up,
    reindex,
    ingest,
    sync,
    bulk,
    search,
    duplicates,
    embed,
    caption,
    caption_collection,
    caption_folder,
    ask,
    local_llm,
    profile,
):
    app.command(cls=TakesOldFlags)(command)


def _not_installed(error: ModuleNotFoundError) -> str:
    """Which `make` target brings a package. Raises `error` itself for a module of ours, which none brings."""
    name = (error.name or "").partition(".")[0]
    if not name or (Path(__file__).resolve().parents[1] / name).is_dir():
        raise error
    return (
        f"{name} is not installed: `make setup` adds what serves, `make setup-test` what tests, "
        "`make setup-bench` what benchmarks need"
    )


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"clipserve {version('clipserve')}")
        raise typer.Exit


@app.callback()
def clipserve(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    """CLIP embeddings and semantic image search served by TorchServe."""


def _was_interrupted(ended: SystemExit) -> bool:
    """Typer makes a status of 130 of Ctrl-C, without a word; commands that say more raise that status themselves."""
    return isinstance(getattr(ended.__context__, "__cause__", None), KeyboardInterrupt)


def main() -> None:
    """Run, and print an error of ours, a file's, or a package that is not installed, as one line with a status of 1."""
    try:
        app()
    except (ClipServeError, ClientError) as error:
        fault = error.message
    except ModuleNotFoundError as error:
        fault = _not_installed(error)
    except OSError as error:  # a file that can't be written, a full disk
        if error.strerror is None:
            raise
        fault = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    except SystemExit as ended:
        if _was_interrupted(ended):
            print("Stopped.", file=sys.stderr)
        raise
    else:
        return
    Console(stderr=True).print(f"[red]error[/red] {escape(fault)}", highlight=False, soft_wrap=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
