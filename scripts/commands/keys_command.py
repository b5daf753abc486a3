"""`clipserve keys create | list | revoke`: the gateway's API keys."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from clip_core.errors import BadInput
from gateway.database.postgres import Postgres, check_database_url
from gateway.keys.api_key import SCOPES, ApiKey, KeyLimits
from gateway.keys.key_store import Keys, KeyStore, SharedKeys
from scripts.commands.names import collection_names, not_empty
from scripts.commands.paths import named_path

keys = typer.Typer(help="Create, list and revoke the gateway's API keys.", no_args_is_help=True)
DEFAULT_FILE = Path("data/keys.db")
_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

File = Annotated[Path, typer.Option(envvar="CLIPSERVE_GATEWAY_KEYS_FILE", help="The file of keys.", parser=named_path)]
Database = Annotated[
    str | None,
    typer.Option(
        envvar="CLIPSERVE_GATEWAY_DATABASE_URL",
        help="The PostgreSQL that gateways share, instead of the file.",
        callback=not_empty,
    ),
]


@keys.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is; shown in the list.", callback=not_empty)],
    scope: Annotated[list[str] | None, typer.Option(help=f"May be repeated: {', '.join(SCOPES)}.")] = None,
    collection: Annotated[
        list[str] | None, typer.Option(help="May be repeated; without it: all.", callback=collection_names)
    ] = None,
    expires: Annotated[str | None, typer.Option(help="How long it lives: 12h, 30d, 8w; without it: for ever.")] = None,
    requests_per_minute: Annotated[int | None, typer.Option(min=1, help="Instead of the gateway's setting.")] = None,
    items_per_minute: Annotated[int | None, typer.Option(min=1, help="Texts, images and vectors.")] = None,
    megapixels_per_minute: Annotated[int | None, typer.Option(min=1, help="Of the images sent.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Requests at the same time.")] = None,
    file: File = DEFAULT_FILE,
    database: Database = None,
) -> None:
    """Make a key and print it. It is shown this once: only its digest is kept.

    Example: clipserve keys create shop --scope embed --scope search --collection products --expires 90d
    """
    with _opened(file, database) as store:
        secret, key = store.create(
            name,
            tuple(scope or ("embed", "search")),
            collections=tuple(collection) if collection else None,
            expires=None if expires is None else time.time() + seconds(expires),
            limits=KeyLimits(requests_per_minute, items_per_minute, megapixels_per_minute, concurrency),
        )
    Console(stderr=True).print(f"key {key.id} ({', '.join(key.scopes)}); it is not shown again:", highlight=False)
    typer.echo(secret)


@keys.command("list")
def show(file: File = DEFAULT_FILE, database: Database = None) -> None:
    """Show the keys: never their secrets, which nobody has but their owners."""
    table = Table("id", "name", "state", "scopes", "collections", "created", "expires")
    with _opened(file, database) as store:
        for key_id, kept in store.rows():
            table.add_row(*map(escape, (key_id, "", "damaged") if kept is None else _line(kept[0])))
    Console().print(table)


@keys.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(help="As `list` shows it.", callback=not_empty)],
    file: File = DEFAULT_FILE,
    database: Database = None,
) -> None:
    """Refuse a key from now on; running gateways follow within a second."""
    with _opened(file, database) as store:
        store.revoke(key_id)
    Console().print(f"{key_id} is revoked", highlight=False)


@contextmanager
def _opened(file: Path, database: str | None) -> Iterator[Keys]:
    """Raises BadInput for what is no file of keys, or may not be read or written; DatabaseUnavailable."""
    if database is not None:
        with _shared(database) as store:
            yield store
        return
    try:
        yield KeyStore(file)
    except (sqlite3.Error, OSError) as error:
        raise BadInput(
            f"the key file {file} cannot be used ({error}); restore it, or delete it and make new keys"
        ) from error


@contextmanager
def _shared(url: str) -> Iterator[Keys]:
    try:
        check_database_url(url)
    except ValueError as error:
        raise BadInput(f"--database {error}") from error
    database = Postgres(url)
    try:
        yield SharedKeys(database)
    finally:
        database.close()


def seconds(text: str) -> int:
    """`90d` → 7776000. Raises typer.BadParameter."""
    found = re.fullmatch(r"([1-9]\d{0,5})([mhdw])", text.strip().lower())
    if found is None:
        raise typer.BadParameter(f"{text!r} is not a time such as 30m, 12h, 90d or 8w")
    return int(found.group(1)) * _UNITS[found.group(2)]


def _line(key: ApiKey) -> tuple[str, ...]:
    collections = "all" if key.collections is None else ", ".join(key.collections)
    return (key.id, key.name, key.state(), ", ".join(key.scopes), collections, _day(key.created), _day(key.expires))


def _day(moment: float | None) -> str:
    return "never" if moment is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))
