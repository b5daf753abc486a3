"""`clipserve sync`: parses, runs `scripts.sync`, once or again and again."""

from __future__ import annotations

import json
import re
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from scripts.commands.gateway_commands import DEFAULT_URL, Key, Url
from scripts.commands.names import collection_name, not_empty
from scripts.commands.paths import named_path

if TYPE_CHECKING:
    from clipserve_client import Client
    from scripts.sync.changes import Summary
    from scripts.sync.run import SyncOptions

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)?")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_REFUSED = 3  # the status of a sync that held removals back


def seconds(given: str) -> float:
    """30, 30s, 10m, 1.5h or 1d. Raises BadParameter."""
    match = _DURATION.fullmatch(given.strip())
    if match is None or float(match[1]) == 0:
        raise typer.BadParameter(f"{given!r} is no duration: write 30s, 10m, 1.5h or 1d")
    return float(match[1]) * _SECONDS[match[2] or "s"]


def storage_option(given: str) -> tuple[str, Any]:
    """NAME=VALUE; the value is JSON, or else a text. Raises BadParameter."""
    name, equals, value = given.partition("=")
    if not (name and equals):
        raise typer.BadParameter(f"{given!r} is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def sync(
    source: Annotated[
        str,
        typer.Argument(help="A folder, or a bucket such as s3://photos/2024, gs://… or az://….", callback=not_empty),
    ],
    collection: Annotated[
        str, typer.Option(help="Collection to keep in step; made when it does not exist.", callback=collection_name)
    ],
    prefix: Annotated[str, typer.Option(help="Put before ids, to keep several sources in one collection apart.")] = "",
    name: Annotated[
        str | None,
        typer.Option(
            help="A name for the source, kept with its items: under it, the source may move to another address.",
            callback=not_empty,
        ),
    ] = None,
    manifest: Annotated[
        str | None,
        typer.Option(
            help="Metadata: a .parquet or .csv with a column `file`, here or in a bucket.", callback=not_empty
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be done, and do nothing.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Stay, and follow changes once they come to rest.")] = False,
    poll_interval: Annotated[
        float | None,
        typer.Option(
            help="Time between two looks with --watch (default: 2s, of a bucket 60s).",
            parser=seconds,
            metavar="DURATION",
        ),
    ] = None,
    every: Annotated[
        float | None,
        typer.Option(
            help="Stay, and sync at least so often: 30s, 10m, 1.5h or 1d.", parser=seconds, metavar="DURATION"
        ),
    ] = None,
    max_delete_ratio: Annotated[
        float,
        typer.Option(min=0, max=1, help="Remove nothing when a larger share of the items is gone from the source."),
    ] = 0.25,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Follow all removals, even when the source is empty.")
    ] = False,
    checksum: Annotated[
        bool, typer.Option("--checksum", help="Read every picture and compare digests, not times and sizes.")
    ] = False,
    gps: Annotated[bool, typer.Option("--gps", help="Keep where photos were taken, from their EXIF.")] = False,
    storage: Annotated[
        list[Any] | None,
        typer.Option(
            help="For the bucket's file system, such as anon=true; repeat it.",
            parser=storage_option,
            metavar="NAME=VALUE",
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write what became of each picture here, as JSON lines.", parser=named_path)
    ] = None,
    url: Url = DEFAULT_URL,
    api_key: Key = None,
) -> None:
    """Keep a collection in step with a folder or a bucket: what is new, changed, moved and removed.

    The source is only read. Stop it at any time; the next run goes on. Example:
    clipserve sync s3://photos/2024 --collection photos --every 10m
    """
    from clipserve_client import Client
    from clipserve_client.sources.walking import readable
    from scripts.sync.lock import only_one
    from scripts.sync.opening import default_interval_s, state_reader
    from scripts.sync.run import SyncOptions
    from scripts.sync.watching import Plan, Repeated

    console, options = Console(), dict(storage or [])
    chosen = SyncOptions(prefix, name, gps, checksum, dry_run, max_delete_ratio, allow_empty)
    plan = Plan((poll_interval or default_interval_s(source)) if watch else None, every)
    if dry_run and plan.repeats():
        raise typer.BadParameter("--dry-run looks once: leave out --watch and --every")
    with Client(url, api_key=api_key) as client, only_one(client.target.url, collection, source):

        def once() -> Summary:
            return _once(client, source, options, manifest, collection, chosen, report, console)

        def say(text: str) -> None:
            console.print(escape(readable(text)), highlight=False, soft_wrap=True)

        try:
            if plan.repeats():
                Repeated(plan, once, state_reader(source, options, manifest), say).run()
            summary = once()
        except KeyboardInterrupt:
            Console().print("Stopped. The next run goes on from here.", soft_wrap=True)
            raise typer.Exit(130) from None
    if summary.refused:
        raise typer.Exit(_REFUSED)
    if summary.counts["failed"]:
        raise typer.Exit(1)


def _once(
    client: Client,
    source: str,
    storage: dict[str, Any],
    manifest: str | None,
    collection: str,
    options: SyncOptions,
    report: Path | None,
    console: Console,
) -> Summary:
    from scripts.collections.picture_folder import show_from
    from scripts.sync.manifest import open_manifest
    from scripts.sync.opening import open_followed
    from scripts.sync.run import sync as run
    from scripts.sync.telling import Telling

    with closing(open_followed(source, storage)) as followed, closing(open_manifest(manifest, storage)) as rows:

        def show() -> None:
            if followed.address.startswith("file://"):
                show_from(client, Path(followed.address.removeprefix("file://")), collection, options.prefix)

        with Telling(console, f"sync {collection}", report, options.dry_run, show) as telling:
            summary = run(client, followed, rows, collection, options, telling)
        telling.conclude(summary, options.dry_run)
    return summary
