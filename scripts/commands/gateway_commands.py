"""`clipserve ingest`, `search` and `embed`: calls of the gateway's public API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

Url = Annotated[str, typer.Option(envvar="CLIPSERVE_URL", help="Address of the gateway.")]
Key = Annotated[str | None, typer.Option(envvar="CLIPSERVE_API_KEY", help="API key, when the gateway asks for one.")]
DEFAULT_URL = "http://127.0.0.1:8000"


def ingest(
    directory: Annotated[Path, typer.Argument(help="A folder of pictures.", exists=True, file_okay=False)],
    collection: Annotated[str, typer.Option(help="Collection to fill; made when it does not exist.")],
    url: Url = DEFAULT_URL,
    api_key: Key = None,
) -> None:
    """Embed every picture below DIRECTORY and put it into a collection.

    Example: clipserve ingest ~/Pictures --collection holidays
    """
    from scripts.collections.ingest import find_pictures
    from scripts.collections.ingest import ingest as run
    from scripts.public_api import PublicApi

    api, console = PublicApi(url, api_key), Console()
    pictures = find_pictures(directory)
    api.call("PUT", f"/v1/collections/{collection}", {})
    failed = run(api, collection, pictures, console)
    for line in failed:
        console.print(f"[yellow]not ingested[/yellow] {line}")
    console.print(f"{len(pictures) - len(failed)} of {len(pictures)} pictures are in {collection}")
    if failed:
        raise typer.Exit(1)


def search(
    text: Annotated[str, typer.Argument(help="What to look for.")],
    collection: Annotated[str, typer.Option(help="Where to look.")] = "demo",
    k: Annotated[int, typer.Option(help="How many hits.")] = 5,
    url: Url = DEFAULT_URL,
    api_key: Key = None,
) -> None:
    """Search a collection by words and show the hits as a table.

    Example: clipserve search "two small blue stars"
    """
    from scripts.demo.search_table import show_search
    from scripts.public_api import PublicApi

    show_search(PublicApi(url, api_key), Console(), text, collection, k)


def embed(
    texts: Annotated[list[str], typer.Argument(help="Texts to embed.")], url: Url = DEFAULT_URL, api_key: Key = None
) -> None:
    """Print the vectors of texts, one JSON list a line."""
    from scripts.public_api import PublicApi

    answer = PublicApi(url, api_key).call("POST", "/v1/embeddings", {"input": texts, "encoding_format": "float"})
    for item in answer["data"]:
        typer.echo(json.dumps(item["embedding"]))
