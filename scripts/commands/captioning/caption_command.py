"""`clipserve caption`: what pictures show, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from scripts.commands.gateway_commands import DEFAULT_URL, Key, Url

if TYPE_CHECKING:
    from clipserve_client import Client
    from clipserve_client.calls.captions import CaptionOptions

_AT_ONCE = 8  # pictures of a call


def caption(
    pictures: Annotated[list[str], typer.Argument(help="Files, or URLs where the gateway fetches them.")],
    prompt: Annotated[str, typer.Option(help="What each caption begins with.")] = "",
    stream: Annotated[bool, typer.Option("--stream", help="Print each caption while it is made.")] = False,
    method: Annotated[str, typer.Option(help="greedy, beam or sample; by default what the gateway takes.")] = "",
    max_tokens: Annotated[int, typer.Option(help="The longest caption, in tokens; 0: the model's default.")] = 0,
    model: Annotated[str, typer.Option(help="Which model; by default the first one.")] = "",
    url: Url = DEFAULT_URL,
    api_key: Key = None,
) -> None:
    """Caption pictures: a line for each, with its name before it where there are several.

    Example: clipserve caption holiday.jpg --stream
    """
    from clipserve_client import Client

    given = {"prompt": prompt, "method": method, "max_tokens": max_tokens, "model": model}
    options = cast("CaptionOptions", {name: value for name, value in given.items() if value})
    with Client(url, api_key=api_key) as client:
        failed = (_streamed if stream else _at_once)(client, pictures, options)
    if failed:
        raise typer.Exit(1)


def _at_once(client: Client, pictures: list[str], options: CaptionOptions) -> int:
    """How many failed."""
    from clipserve_client import ApiError

    failed = 0
    for start in range(0, len(pictures), _AT_ONCE):
        part = pictures[start : start + _AT_ONCE]
        readable = [picture for picture in part if _is_readable(picture)]
        told = dict(zip(readable, client.captions(readable, **options), strict=True)) if readable else {}
        for picture in readable:
            outcome = told[picture]
            if isinstance(outcome, ApiError):
                typer.echo(f"{picture}: {outcome.message}", err=True)
            else:
                typer.echo(_line(picture, outcome.text, pictures))
        failed += len(part) - sum(not isinstance(each, ApiError) for each in told.values())
    return failed


def _streamed(client: Client, pictures: list[str], options: CaptionOptions) -> int:
    """How many failed."""
    from clipserve_client import ClientError

    failed = 0
    for picture in pictures:
        if not _is_readable(picture):
            failed += 1
            continue
        typer.echo(_line(picture, "", pictures), nl=False)
        shown, whole = False, ""
        try:
            for piece in client.caption_stream(picture, **options):
                typer.echo(piece.text, nl=False)
                shown, whole = shown or bool(piece.text), piece.caption.text if piece.caption else whole
        except ClientError as error:
            typer.echo()
            typer.echo(f"{picture}: {error.message}", err=True)
            failed += 1
        else:
            typer.echo("" if shown else whole)
    return failed


def _is_readable(picture: str) -> bool:
    """Says why, where it isn't."""
    if picture.startswith(("http://", "https://", "data:")):
        return True
    try:
        with open(picture, "rb"):
            return True
    except OSError as error:
        typer.echo(f"{picture}: {error.strerror or error}", err=True)
        return False


def _line(picture: str, text: str, pictures: list[str]) -> str:
    return f"{picture}\t{text}" if len(pictures) > 1 else text
