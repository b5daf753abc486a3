"""`clipserve bulk`: parses, chooses where it runs, runs `scripts.bulk`, says how it ended."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from scripts.commands.gateway_commands import DEFAULT_URL, Key, Url
from scripts.commands.names import collection_name, none_empty, not_empty
from scripts.commands.paths import named_path
from scripts.commands.sync_command import storage_option

if TYPE_CHECKING:
    from scripts.bulk.output.run_folder import Output
    from scripts.bulk.sending import Sender


def folder_or_bucket(given: str) -> str:
    """Raises BadParameter."""
    local = given.removeprefix("file://")
    return given.rstrip("/") if "://" in local else os.path.abspath(named_path(local))


def bulk(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Folders, .tar, .parquet, .txt or .jsonl files, patterns of them, here or in a bucket.",
            callback=none_empty,
        ),
    ],
    model: Annotated[
        str,
        typer.Option(help="A model in the model store, such as demo or vit-b-32, or a .mar file.", callback=not_empty),
    ],
    out: Annotated[
        str,
        typer.Option(help="Folder or bucket to write; a run that was stopped goes on there.", parser=folder_or_bucket),
    ],
    embed: Annotated[
        str,
        typer.Option(
            help="image; text, for which no picture is read; or both: pictures with their captions.",
            case_sensitive=False,
        ),
    ] = "image",
    layout: Annotated[
        str, typer.Option(help="parquet, or clip-retrieval: .npy beside metadata, as it writes them.")
    ] = "parquet",
    texts: Annotated[
        bool, typer.Option("--texts", help="Lines of .txt and .jsonl files are texts, not URLs; with --embed text.")
    ] = False,
    collection: Annotated[
        str | None,
        typer.Option(
            help="Fill this collection, too; made when it does not exist. The gateway must run.",
            callback=collection_name,
        ),
    ] = None,
    prefix: Annotated[str, typer.Option(help="Put before ids in the collection.")] = "",
    shard_items: Annotated[
        int, typer.Option(min=1, help="Items of a shard, where a source can be cut anywhere.")
    ] = 1024,
    batch: Annotated[int, typer.Option(min=1, help="Items in one pass of a tower.")] = 32,
    actors: Annotated[
        int | None, typer.Option(min=1, help="Processes (default: one for every four cores; with --gpus, by GPUs).")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of each (default: its share of the cores).")
    ] = None,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs of each process; 0.5 lets two share one.")] = 0.0,
    address: Annotated[
        str | None, typer.Option(help="A Ray cluster's address; `auto`: the one that runs here.", callback=not_empty)
    ] = None,
    no_ray: Annotated[bool, typer.Option("--no-ray", help="In this process, without Ray.")] = False,
    thumbnails: Annotated[
        str | None,
        typer.Option(
            help="Thumbnails, too: in the folder or bucket where a gateway keeps its own.", parser=folder_or_bucket
        ),
    ] = None,
    dedupe: Annotated[
        bool, typer.Option("--dedupe", help="Report items that are alike in duplicates.parquet.")
    ] = False,
    dedupe_threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Cosine from which vectors are near duplicates.")
    ] = 0.98,
    storage: Annotated[
        list[Any] | None,
        typer.Option(
            help="For the bucket's file system, such as anon=true; repeat it.",
            parser=storage_option,
            metavar="NAME=VALUE",
        ),
    ] = None,
    out_storage: Annotated[
        list[Any] | None,
        typer.Option(
            help="The same for --out, where its options are others.", parser=storage_option, metavar="NAME=VALUE"
        ),
    ] = None,
    model_store: Annotated[
        Path | None, typer.Option(help="Where the .mar files are (default: model_store/).", parser=named_path)
    ] = None,
    url: Url = DEFAULT_URL,
    api_key: Key = None,
) -> None:
    """Encode millions of pictures or texts with an archive's towers, without TorchServe: shards in, shards out.

    Stop or kill it at any time; the same command goes on. Example:
    clipserve bulk "shards/*.tar" --model vit-b-32 --out vectors
    """
    from clip_core.cores import available_cores
    from clipserve_client import Client
    from scripts.archive.places import MODEL_STORE
    from scripts.bulk.job import EMBED, BulkJob
    from scripts.bulk.model import find_archive
    from scripts.bulk.output.layouts import LAYOUTS
    from scripts.bulk.run import BulkRequest, run_bulk
    from scripts.bulk.runners import InThisProcess, OnRay
    from scripts.bulk.sending import Sender
    from scripts.bulk.telling import BulkProgress, conclude

    _one_of(embed, EMBED, "--embed")
    _one_of(layout, LAYOUTS, "--layout")
    if texts and embed == "image":
        raise typer.BadParameter("--texts goes with --embed text")
    if thumbnails is not None and embed == "text":
        raise typer.BadParameter("--thumbnails goes with --embed image or both")
    console = Console()
    found = find_archive(model, embed, model_store or MODEL_STORE)
    job = BulkJob(
        found.path,
        out,
        embed,
        layout,
        batch,
        threads or available_cores(),
        texts,
        dict(storage or []),
        dict(out_storage or storage or []),
        thumbnails,
    )
    asked = BulkRequest(sources, job, found, shard_items, dedupe_threshold if dedupe else None)
    runner = InThisProcess() if no_ray else OnRay(actors, threads, address, gpus)
    with Client(url, api_key=api_key) as client, BulkProgress(console) as progress:

        def sender(output: Output) -> Sender:
            return Sender(client, collection or "", found.spec.fingerprint, output, prefix)

        try:
            ended = run_bulk(asked, runner, progress, sender if collection else None)
        except KeyboardInterrupt:
            Console().print("Stopped. The same command goes on from here.", soft_wrap=True)
            raise typer.Exit(130) from None
    conclude(ended, out, console)
    refused = any(each.outcome == "failed" for each in ended.refused)
    if ended.again or refused or not ended.totals.rows:
        raise typer.Exit(1)


def _one_of(given: str, choices: tuple[str, ...], option: str) -> None:
    """Raises BadParameter."""
    if given not in choices:
        raise typer.BadParameter(f"{option} is one of {', '.join(choices)}")
