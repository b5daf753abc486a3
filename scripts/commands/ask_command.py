"""`clipserve ask`: a question about a collection's pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from clipserve_client.sources.walking import one_line, readable
from scripts.commands.gateway_commands import DEFAULT_URL, Key, Url
from scripts.commands.names import collection_name, not_empty

if TYPE_CHECKING:
    from clipserve_client.answers.answers import Answer


def ask(
    question: Annotated[str, typer.Argument(help="In plain words.", callback=not_empty)],
    collection: Annotated[str, typer.Option(help="Whose pictures.", callback=collection_name)] = "demo",
    k: Annotated[int, typer.Option(help="How many pictures are looked at.")] = 12,
    offline: Annotated[bool, typer.Option("--offline", help="Without the gateway's language model.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the answer.")] = 90.0,
    url: Url = DEFAULT_URL,
    api_key: Key = None,
) -> None:
    """Answer a question from pictures: the answer, then a line for each picture that shows it.

    Ends with status 1 where no picture shows what was asked for. Example:
    clipserve ask "how many red circles are there?"
    """
    from clipserve_client import Client

    with Client(url, api_key=api_key) as client:
        how = "offline" if offline else "auto"
        answer = client.ask(question, collection, k=k, by=how, timeout_s=timeout)
    _show(answer)
    if not answer.found:
        raise typer.Exit(1)


def _show(answer: Answer) -> None:
    for line in answer.text.splitlines():
        typer.echo(one_line(line))
    for each in answer.citations:
        typer.echo("\t".join(filter(None, (readable(each.id), one_line(each.caption or "")))))
    cost = answer.raw["usage"]["cost_usd"]
    if answer.by != "offline":
        typer.echo(f"{answer.by}, {'cost unknown' if cost is None else f'{cost:.5f} USD'}", err=True)
