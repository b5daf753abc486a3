"""`clipserve reindex`: parses, runs `scripts.collections.reindex`, says what could not be embedded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from scripts.commands.names import collection_name, not_empty
from scripts.commands.paths import existing_folder, named_path
from scripts.public_api import PublicApi

_SHOWN = 10


def reindex(
    old: Annotated[str, typer.Argument(help="The collection to make again.", callback=collection_name)],
    new: Annotated[
        str,
        typer.Argument(
            help="The collection to fill; made for the model that the gateway serves.", callback=collection_name
        ),
    ],
    alias: Annotated[
        str | None, typer.Option(help="Point this alias to NEW once everything is in it.", callback=collection_name)
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of pictures, named by ids or by `file` in the metadata.", parser=existing_folder),
    ] = None,
    thumbnails: Annotated[
        bool, typer.Option("--thumbnails", help="Take the kept thumbnail where nothing else is left of a picture.")
    ] = False,
    skip_missing: Annotated[bool, typer.Option(help="Switch even when some items can't be embedded again.")] = False,
    progress: Annotated[
        Path | None, typer.Option(help="Where progress is kept (default: reindex-OLD-NEW.json).", parser=named_path)
    ] = None,
    url: Annotated[
        str, typer.Option(envvar="CLIPSERVE_URL", help="Gateway of the new model.", callback=not_empty)
    ] = "http://127.0.0.1:8000",
    index_url: Annotated[
        str, typer.Option(envvar="CLIPSERVE_INDEX_URL", help="Address of the index service.", callback=not_empty)
    ] = "http://127.0.0.1:8090",
    api_key: Annotated[
        str | None, typer.Option(envvar="CLIPSERVE_API_KEY", help="API key of the gateway.", callback=not_empty)
    ] = None,
) -> None:
    """Embed a collection again with the model that is served now, and switch an alias to it; run again to go on.

    Example: clipserve reindex shapes-v1 shapes-v2 --alias shapes --images ~/Pictures
    """
    from clipserve_client import Client
    from scripts.collections.kept_pictures import KeptPictures
    from scripts.collections.reindex import Reindex, State

    console, path = Console(), progress or Path(f"reindex-{old}-{new}.json")
    kept = KeptPictures(PublicApi(url, api_key), old, thumbnails=thumbnails)
    state = State.load(path, old, new)
    work = Reindex(Client(url, api_key=api_key), PublicApi(index_url), path, state, images, kept.of)
    work.copy(console)
    if _told(console, work.state.failed) and not skip_missing:
        raise typer.Exit(1)
    if alias is not None:
        work.switch(alias)
        console.print(f"{alias} leads to {new}")
    path.unlink(missing_ok=True)


def _told(console: Console, failed: dict[str, str]) -> bool:
    """Print the first items that failed; whether there are any."""
    for id_, reason in list(failed.items())[:_SHOWN]:
        console.print(f"[yellow]not embedded[/yellow] {id_}: {reason}", highlight=False)
    if failed:
        console.print(f"{len(failed)} items are not in the new collection; run again, or say --skip-missing")
    return bool(failed)
