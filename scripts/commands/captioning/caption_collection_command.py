"""`clipserve caption-collection`: captions for the items of a collection that have none."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from scripts.commands.gateway_commands import DEFAULT_URL, Key, Url

_PAGE = 64


def caption_collection(
    collection: Annotated[str, typer.Argument(help="Whose items.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost, and write nothing.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="By a captioner, not by the language model.")] = False,
    most_usd: Annotated[
        float | None, typer.Option(min=0, help="Stop before more than this could be spent in this run.")
    ] = None,
    url: Url = DEFAULT_URL,
    api_key: Key = None,
) -> None:
    """Caption the items that have no caption; run again to go on where a budget ended it.

    Example: clipserve caption-collection holidays --dry-run
    """
    from clipserve_client import Client

    body: dict[str, Any] = {"limit": 1000 if dry_run else _PAGE, "dry_run": dry_run}
    pages: list[dict[str, Any]] = []
    with Client(url, api_key=api_key, timeout_s=600) as client:
        after = None
        while not pages or (after is not None and pages[-1]["stopped"] is None):
            asked = {**body, "after": after, "by": "offline" if offline else "auto"}
            if most_usd is not None:
                asked["most_usd"] = max(0.0, most_usd - sum(page["cost_usd"] for page in pages))
            pages.append(client.call("POST", f"/v1/collections/{collection}/captions", asked))
            after = pages[-1]["next"]
    (_show_costs if dry_run else _show_work)(pages)
    if pages[-1]["stopped"] is not None:
        raise typer.Exit(1)


def _show_costs(pages: list[dict[str, Any]]) -> None:
    items = sum(page["expected"]["items"] for page in pages)
    costs = [page["expected"]["cost_usd"] for page in pages]
    dated = f" (prices of {pages[0]['expected'].get('prices_as_of')})" if sum(filter(None, costs)) else ""
    cost = "an unknown price" if None in costs else f"at most {sum(costs):.4f} USD{dated}"
    typer.echo(f"{items} captions by {pages[0]['by']} for {cost}")


def _show_work(pages: list[dict[str, Any]]) -> None:
    written, failed = (sum(len(page[name]) for page in pages) for name in ("captions", "failed"))
    cost = sum(page["cost_usd"] for page in pages)
    typer.echo(f"{written} captions by {pages[0]['by']} for {cost:.4f} USD, {failed} failed")
    for page in pages:
        for each in page["failed"]:
            typer.echo(f"{each['id']}: {each['error']['message']}", err=True)
    if pages[-1]["stopped"] is not None:
        typer.echo(f"stopped: {pages[-1]['stopped']['message']}", err=True)
