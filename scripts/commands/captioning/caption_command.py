"""`clipserve caption`: what pictures show, in words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from clipserve_client.sources.walking import readable
from scripts.commands.gateway_commands import DEFAULT_URL, Key, Url
from scripts.commands.names import not_empty

if TYPE_CHECKING:
    from clipserve_client import Client
    from clipserve_client.answers.answers import Limits
    from clipserve_client.calls.captions import CaptionOptions

_AT_ONCE = 8  # pictures that are read before they are sent


def caption(
    pictures: Annotated[list[str], typer.Argument(help="Files, or URLs where the gateway fetches them.")],
    prompt: Annotated[str, typer.Option(help="What each caption begins with.")] = "",
    stream: Annotated[bool, typer.Option("--stream", help="Print each caption while it is made.")] = False,
    method: Annotated[
        str | None,
        typer.Option(help="greedy, beam or sample; by default what the gateway takes.", callback=not_empty),
    ] = None,
    max_tokens: Annotated[int, typer.Option(help="The longest caption, in tokens; 0: the model's default.")] = 0,
    model: Annotated[
        str | None, typer.Option(help="Which model; by default the first one.", callback=not_empty)
    ] = None,
    url: Url = DEFAULT_URL,
    api_key: Key = None,
) -> None:
    """Caption pictures: a line for each, with its name before it where there are several.

    HEIC and AVIF are sent as JPEG, too large pictures scaled down, as `ingest` does it.

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

    captioned, limits = 0, client.limits()
    for start in range(0, len(pictures), _AT_ONCE):
        read = [(picture, _content(picture, limits)) for picture in pictures[start : start + _AT_ONCE]]
        sent = [(picture, content) for picture, content in read if content is not None]
        outcomes = client.captions([content for _, content in sent], **options) if sent else []
        for (picture, _), outcome in zip(sent, outcomes, strict=True):
            if isinstance(outcome, ApiError):
                typer.echo(f"{readable(picture)}: {outcome.message}", err=True)
            else:
                typer.echo(_line(picture, outcome.text, pictures))
                captioned += 1
    return len(pictures) - captioned


def _streamed(client: Client, pictures: list[str], options: CaptionOptions) -> int:
    """How many failed."""
    from clipserve_client import ClientError

    failed, limits = 0, client.limits()
    for picture in pictures:
        content = _content(picture, limits)
        if content is None:
            failed += 1
            continue
        typer.echo(_line(picture, "", pictures), nl=False)
        shown, whole = False, ""
        try:
            for piece in client.caption_stream(content, **options):
                typer.echo(piece.text, nl=False)
                shown, whole = shown or bool(piece.text), piece.caption.text if piece.caption else whole
        except ClientError as error:
            typer.echo()
            typer.echo(f"{readable(picture)}: {error.message}", err=True)
            failed += 1
        else:
            typer.echo("" if shown else whole)
    return failed


def _content(picture: str, limits: Limits) -> str | bytes | None:
    """A URL as it is, a file as `ingest` would send it. Says why, where it can't be read."""
    from clipserve_client.sources.files import Skip
    from clipserve_client.sources.preparing import prepared

    if picture.startswith(("http://", "https://", "data:")):
        return picture
    try:
        return prepared(Path(picture).read_bytes(), limits, gps=False).content
    except OSError as error:
        reason = error.strerror or str(error)
    except Skip as skip:
        reason = skip.message or skip.reason
    typer.echo(f"{readable(picture)}: {reason}", err=True)
    return None


def _line(picture: str, text: str, pictures: list[str]) -> str:
    return f"{readable(picture)}\t{text}" if len(pictures) > 1 else text
