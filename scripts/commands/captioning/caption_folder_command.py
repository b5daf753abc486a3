"""`clipserve caption-folder`: captions beside the pictures of a folder, for whatever reads them later."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from scripts.commands.captioning.options import TIMEOUT_S, DryRun, MaxCostUsd, Offline
from scripts.commands.gateway_commands import DEFAULT_URL, Key, Url
from scripts.commands.paths import existing_folder
from scripts.item_progress import ItemProgress


def caption_folder(
    folder: Annotated[Path, typer.Argument(help="Whose pictures.", parser=existing_folder)],
    dry_run: DryRun = False,
    offline: Offline = False,
    max_cost_usd: MaxCostUsd = None,
    url: Url = DEFAULT_URL,
    api_key: Key = None,
) -> None:
    """Write NAME.txt beside each picture that has none: `ingest`, `bulk` and `sync` read it as the caption.

    Run again to go on where a budget or Ctrl-C ended it. Example: clipserve caption-folder ~/Pictures --dry-run
    """
    from clipserve_client import Client
    from scripts.collections.folder_captions import FolderCaptions, pictures_without

    console = Console()
    wanting = pictures_without(folder)
    with Client(url, api_key=api_key, timeout_s=TIMEOUT_S) as client:
        captions = FolderCaptions(client, offline=offline, max_cost_usd=max_cost_usd)
        if dry_run:
            console.print(captions.expected(len(wanting)), highlight=False)
            return
        with ItemProgress(Console(stderr=True), "captions", len(wanting)) as progress:
            ended = captions.write(wanting, progress.advance)
    console.print(ended.text(), highlight=False)
    for name, message in ended.failed:
        Console(stderr=True).print(f"{name}: {message}", highlight=False, markup=False)
    if ended.stopped or ended.failed:
        raise typer.Exit(1)
