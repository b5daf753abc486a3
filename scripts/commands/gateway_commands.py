"""`clipserve ingest`, `search`, `duplicates` and `embed`: calls of the gateway's public API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from clip_core.old_names.table import OLD_CAPTION_WRITERS
from clip_core.old_names.taking import old_names
from scripts.commands.names import collection_name, not_empty
from scripts.commands.paths import named_path

Url = Annotated[str, typer.Option(envvar="CLIPSERVE_URL", help="Address of the gateway.", callback=not_empty)]
Key = Annotated[
    str | None,
    typer.Option(envvar="CLIPSERVE_API_KEY", help="API key, when the gateway asks for one.", callback=not_empty),
]
DEFAULT_URL = "http://127.0.0.1:8000"
_TIMEOUT_S, _CAPTIONS_S = 60.0, 600.0  # the latter for a batch of items with captions by a language model


def caption_writer(given: str) -> str:
    """By its new name. Raises BadParameter."""
    for line in old_names([given], OLD_CAPTION_WRITERS):
        typer.echo(f"notice {line}", err=True)
    writer = OLD_CAPTION_WRITERS.get(given, given)
    if writer not in ("captioner", "llm"):
        raise typer.BadParameter(f"{given[:80]!r} is neither captioner nor llm")
    return writer


def ingest(
    sources: Annotated[
        list[Path],
        typer.Argument(help="Folders, .tar and .parquet files, a .txt of URLs.", parser=named_path),
    ],
    collection: Annotated[
        str, typer.Option(help="Collection to fill; made when it does not exist.", callback=collection_name)
    ],
    prefix: Annotated[str, typer.Option(help="Put before ids, to keep several folders in one collection apart.")] = "",
    gps: Annotated[bool, typer.Option("--gps", help="Keep where photos were taken, from their EXIF.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Send every picture, also unchanged ones.")] = False,
    caption: Annotated[
        bool, typer.Option("--caption", help="Caption pictures, as `caption` in their metadata, where there is none.")
    ] = False,
    caption_by: Annotated[
        str | None,
        typer.Option(
            help="Who captions: captioner, or llm, the gateway's language model. Alone as --caption.",
            parser=caption_writer,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Send nothing: say how many items there are, and what captions cost.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write what became of each file here, as JSON lines.", parser=named_path)
    ] = None,
    url: Url = DEFAULT_URL,
    api_key: Key = None,
) -> None:
    """Embed every picture of a folder, of webdataset tars, of a Parquet file, or of a list of URLs.

    They go into a collection; run again to go on, or to add what is new. Example:
    clipserve ingest ~/Pictures --collection holidays
    """
    from clipserve_client import Client, FolderOptions
    from clipserve_client.inputs.inputs import CaptionWanted
    from scripts.collections.ingest import ingest as run
    from scripts.collections.ingest import show_plan

    console = Console()
    by: CaptionWanted = "llm" if caption_by == "llm" else caption or caption_by is not None
    options = FolderOptions(prefix=prefix, gps=gps, force=force, caption=by, report=report)
    with Client(url, api_key=api_key, timeout_s=_CAPTIONS_S if by == "llm" else _TIMEOUT_S) as client:
        if dry_run:
            show_plan(client, sources, collection, options, console)
            return
        try:
            tally = run(client, sources, collection, options, console)
        except KeyboardInterrupt:
            Console().print(  # the other one may have been interrupted while it wrote
                "Stopped. What was added is in the collection; run the same command again to go on.", soft_wrap=True
            )
            raise typer.Exit(130) from None
    console.print(f"{tally.added + tally.unchanged} of {tally.seen} items are in {collection}")
    if tally.failed:
        raise typer.Exit(1)


def search(
    text: Annotated[str, typer.Argument(help="What to look for.", callback=not_empty)],
    collection: Annotated[str, typer.Option(help="Where to look.", callback=collection_name)] = "demo",
    k: Annotated[int, typer.Option(help="How many hits.")] = 5,
    rerank: Annotated[
        str | None,
        typer.Option(help="Better order by: captioner, tree, or llm (docs/reranking.md).", callback=not_empty),
    ] = None,
    candidates: Annotated[
        int | None, typer.Option(help="How many of the best hits are reranked (default: 20).")
    ] = None,
    budget_ms: Annotated[
        float | None, typer.Option(help="Milliseconds that reranking may take (default: no limit).")
    ] = None,
    url: Url = DEFAULT_URL,
    api_key: Key = None,
) -> None:
    """Search a collection by words and show the hits as a table.

    Example: clipserve search "a red circle left of a blue square" --rerank tree
    """
    from clipserve_client import Client
    from scripts.demo.search_table import show_search

    if rerank is None and (candidates is not None or budget_ms is not None):
        raise typer.BadParameter("--candidates and --budget-ms are of --rerank: give it, too")
    with Client(url, api_key=api_key) as client:
        options = {"by": rerank, "candidates": candidates, "budget_ms": budget_ms, "explain": rerank == "tree"}
        show_search(client, Console(), collection, text, k, None if rerank is None else options)


def duplicates(
    collection: Annotated[str, typer.Argument(help="Where to look.", callback=collection_name)],
    url: Url = DEFAULT_URL,
    api_key: Key = None,
) -> None:
    """Print the ids of items that were made from the same picture: a line for each picture, with tabs between.

    Example: clipserve duplicates holidays
    """
    from clipserve_client import Client
    from clipserve_client.sources.walking import readable

    groups = items = 0
    with Client(url, api_key=api_key) as client:
        for group in client.duplicates(collection):
            more = [f"and {group.count - len(group.ids)} more"] if group.count > len(group.ids) else []
            typer.echo("\t".join([*map(readable, group.ids), *more]))
            groups, items = groups + 1, items + group.count
    typer.echo(f"{groups} pictures are in {collection} more than once, {items} items in all", err=True)


def embed(
    texts: Annotated[list[str], typer.Argument(help="Texts to embed.")], url: Url = DEFAULT_URL, api_key: Key = None
) -> None:
    """Print the vectors of texts, one JSON list a line."""
    from clipserve_client import Client

    with Client(url, api_key=api_key) as client:
        answer = client.call("POST", "/v1/embeddings", {"input": texts, "encoding_format": "float"})
    for item in answer["data"]:
        typer.echo(json.dumps(item["embedding"]))
