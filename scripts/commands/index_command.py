"""`clipserve index …`: snapshots and files of collections, on the index service itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from scripts.commands.names import collection_name, not_empty
from scripts.commands.paths import named_path
from scripts.public_api import PublicApi

index = typer.Typer(help="Snapshots, export and import of collections, at the index service.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The collection's name.", callback=collection_name)]
Store = Annotated[
    Literal["milvus", "embedded"] | None, typer.Option(help="Where it goes (default: as new collections do).")
]
Url = Annotated[
    str, typer.Option(envvar="CLIPSERVE_INDEX_URL", help="Address of the index service.", callback=not_empty)
]
DEFAULT_URL = "http://127.0.0.1:8090"
_TIMEOUT_S = 3600.0


def _api(url: str) -> PublicApi:
    return PublicApi(url, timeout_s=_TIMEOUT_S)


@index.command()
def snapshot(collection: Name, url: Url = DEFAULT_URL) -> None:
    """Write a snapshot of a collection below the index service's data folder, while it is in use."""
    made = _api(url).call("POST", f"/collections/{collection}/snapshots", {})
    Console().print(f"{made['name']}  {made['bytes'] / 1e6:.1f} MB", highlight=False)


@index.command()
def snapshots(url: Url = DEFAULT_URL) -> None:
    """List the snapshots."""
    table = Table("snapshot", "collection", "created", "MB")
    for one in _api(url).call("GET", "/snapshots")["snapshots"]:
        table.add_row(one["name"], one["collection"], one["created"], f"{one['bytes'] / 1e6:.1f}")
    Console().print(table)


@index.command()
def restore(
    collection: Name,
    snapshot: Annotated[str, typer.Argument(help="As listed.", callback=not_empty)],
    store: Store = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Make a new collection from a snapshot.

    Example: clipserve index restore shapes-again shapes.20260102T030405000000.parquet
    """
    body = {"snapshot": snapshot} if store is None else {"snapshot": snapshot, "store": store}
    made = _api(url).call("POST", f"/collections/{collection}/restore", body)
    Console().print(f"{made['count']} items are in {collection}")


@index.command("export")
def export_(
    collection: Name,
    file: Annotated[Path, typer.Argument(help="A .parquet file to write.", parser=named_path)],
    url: Url = DEFAULT_URL,
) -> None:
    """Write a collection to a Parquet file here: ids, vectors, metadata, sources."""
    from scripts.collections.index_files import export_parquet

    Console().print(f"{file}  {export_parquet(_api(url), collection, file) / 1e6:.1f} MB", highlight=False)


@index.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A .parquet file with `id` and `vector`.", exists=True, dir_okay=False)],
    collection: Name,
    store: Store = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Upsert the rows of a Parquet file; the collection of an export is made when it isn't there."""
    from scripts.collections.index_files import import_parquet

    console = Console()
    failed = import_parquet(_api(url), collection, file, console, store)
    for line in failed:
        console.print(f"[yellow]not imported[/yellow] {line}", highlight=False)
    if failed:
        raise typer.Exit(1)


@index.command()
def move(
    collection: Annotated[
        str, typer.Argument(help="The collection to move, or an alias that leads to it.", callback=collection_name)
    ],
    to: Annotated[Literal["milvus", "embedded"], typer.Option(help="The store that it goes to.")],
    new: Annotated[
        str | None,
        typer.Option(
            "--as",
            help="Name of the new collection (default: COLLECTION-milvus or -embedded).",
            callback=collection_name,
        ),
    ] = None,
    alias: Annotated[
        str | None,
        typer.Option(
            help="Point this alias to the new collection (default: COLLECTION, where that is an alias).",
            callback=collection_name,
        ),
    ] = None,
    progress: Annotated[
        Path | None, typer.Option(help="Where progress is kept (default: move-OLD-NEW.json).", parser=named_path)
    ] = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Copy a collection into the other store while it is in use, compare, and switch an alias; run again to go on.

    The old collection stays until you delete it.

    Example: clipserve index move shapes --to milvus
    """
    from scripts.collections.move import Move
    from scripts.collections.reindex import State

    console, api = Console(), _api(url)
    described = api.call("GET", f"/collections/{collection}")
    old = described["name"]
    if old == new or (new is None and described["store"] == to):
        led = f"{collection} leads to {old}, which" if collection != old else old
        console.print(f"{led} is in {described['store']} already: name another copy of it with --as", highlight=False)
        return
    target = new or f"{old}-{to}"
    path = progress or Path(f"move-{old}-{target}.json")
    work = Move(api, path, State.load(path, old, target), to)
    console.print(f"{work.copy(console)} items are in {target}", highlight=False)
    alias = alias or (collection if collection != old else None)
    work.complete(alias)
    if alias is not None:
        console.print(f"{alias} leads to {target}; {old} is as it was, and can be deleted", highlight=False)
    path.unlink(missing_ok=True)
