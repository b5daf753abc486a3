"""What `up` says of collections whose model isn't served: they are kept, and wait for it."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from clipserve_client import Client, ClientError
from clipserve_client.answers.answers import Alias, Collection
from scripts.models.model_swap import reindex_command

_SHOWN = 10


def tell_waiting(client: Client, console: Console) -> None:
    """A line on each, with both ways to search it again. Nothing that fails here keeps the stack from serving."""
    try:
        waiting = [each for each in client.collections() if each.model_status == "not_served"]
        aliases = client.aliases() if waiting else []
        served = [each.fingerprint for each in client.models() if each.fingerprint] if waiting else []
    except ClientError:
        return
    for each in waiting[:_SHOWN]:
        console.print(f"[yellow]waiting[/yellow] {escape(_line(each, aliases))}", highlight=False, soft_wrap=True)
        for fingerprint in served[:1]:
            command = escape(reindex_command(each.name, fingerprint))
            console.print(f"        or: {command}", highlight=False, soft_wrap=True)
    if len(waiting) > _SHOWN:
        console.print(f"        and {len(waiting) - _SHOWN} more: GET /v1/collections", highlight=False)


def _line(collection: Collection, aliases: list[Alias]) -> str:
    leading = ", ".join(f"alias {alias.name}" for alias in aliases if alias.collection == collection.name)
    held = f"{collection.count} items" + (f", {leading}" if leading else "")
    return (
        f"{collection.name} ({held}) for its model {collection.model} ({collection.fingerprint}): "
        f"searchable when that is served again (`clipserve up --model {collection.model}`)"
    )
