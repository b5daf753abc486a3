"""`clipserve caption-collection`: captions for the items of a collection that have none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from clipserve_client.sources.walking import one_line
from scripts.commands.captioning.options import TIMEOUT_S, DryRun, MaxCostUsd, Offline
from scripts.commands.gateway_commands import DEFAULT_URL, Key, Url
from scripts.commands.names import collection_name
from scripts.item_progress import ItemProgress

if TYPE_CHECKING:
    from clipserve_client import Client

_PAGE = 64
Page = dict[str, Any]


def caption_collection(
    collection: Annotated[str, typer.Argument(help="Whose items.", callback=collection_name)],
    dry_run: DryRun = False,
    offline: Offline = False,
    max_cost_usd: MaxCostUsd = None,
    url: Url = DEFAULT_URL,
    api_key: Key = None,
) -> None:
    """Caption the items that have no caption; run again to go on where a budget ended it.

    Example: clipserve caption-collection holidays --dry-run
    """
    from clipserve_client import Client

    body = {"limit": 1000 if dry_run else _PAGE, "dry_run": dry_run, "by": "offline" if offline else "auto"}
    with Client(url, api_key=api_key, timeout_s=TIMEOUT_S) as client:
        pages = _pages(client, collection, body, max_cost_usd)
    (_show_costs if dry_run else _show_work)(pages)
    if pages[-1]["stopped"] is not None:
        raise typer.Exit(1)


def _pages(client: Client, collection: str, body: Page, max_cost_usd: float | None) -> list[Page]:
    """What each page of items came to, to the last one or to where the work stopped. Raises ClientError."""
    pages = list[Page]()
    after = None
    with ItemProgress(Console(stderr=True), "captions", None) as progress:
        while not pages or (after is not None and pages[-1]["stopped"] is None):
            asked = {**body, "after": after}
            if max_cost_usd is not None:
                asked["max_cost_usd"] = max(0.0, max_cost_usd - sum(page["cost_usd"] for page in pages))
            pages.append(client.call("POST", f"/v1/collections/{collection}/captions", asked))
            after = pages[-1]["next"]
            progress.advance(len(pages[-1]["captions"]))
    return pages


def _show_costs(pages: list[Page]) -> None:
    items = sum(page["estimate"]["items"] for page in pages)
    costs = [page["estimate"]["cost_usd"] for page in pages]
    dated = f" (prices of {pages[0]['estimate'].get('prices_as_of')})" if sum(filter(None, costs)) else ""
    cost = "an unknown price" if None in costs else f"at most {sum(costs):.4f} USD{dated}"
    typer.echo(f"{items} captions by {pages[0]['by']} for {cost}")


def _show_work(pages: list[Page]) -> None:
    written, failed = (sum(len(page[name]) for page in pages) for name in ("captions", "failed"))
    cost = sum(page["cost_usd"] for page in pages)
    typer.echo(f"{written} captions by {pages[0]['by']} for {cost:.4f} USD, {failed} failed")
    for page in pages:
        for each in page["failed"]:
            typer.echo(one_line(f"{each['id']}: {each['error']['message']}"), err=True)
    if pages[-1]["stopped"] is not None:
        typer.echo(f"stopped: {pages[-1]['stopped']['message']}", err=True)
