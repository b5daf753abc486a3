"""`clipserve up`: build the archives, start the three services, fill the demo, keep them up until told to stop."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial
from typing import TypeVar

from rich.console import Console
from rich.markup import escape

from clip_core.errors import ClipServeError
from clipserve_client import Client, ClientError
from clipserve_client.errors import Conflict
from scripts.archive.build import has_quick_form, standing
from scripts.processes.background import in_background
from scripts.processes.preflight import StackStartError, check_disk, check_ports, find_java
from scripts.processes.restarts import RestartPolicy
from scripts.processes.stack import Stack
from scripts.processes.stop_signals import Stopped, StopSignals
from scripts.public_api import PublicApi
from scripts.stack.asked import Asked
from scripts.stack.background_build import BuildQueue
from scripts.stack.background_job import job_of
from scripts.stack.building import build
from scripts.stack.data_folder import PRIVATE_UMASK, DataFolder, log_folder
from scripts.stack.management_guard import guarded
from scripts.stack.observers import Observers
from scripts.stack.parts import Parts, model_store, own_key, part_log, scaler_settings
from scripts.stack.readiness import wait_ready
from scripts.stack.up_models import Batching, UpModel, models_of, row_store, write_rows
from scripts.stack.up_report import Report
from scripts.stack.up_settings import UpSettings
from scripts.stack.waiting_collections import tell_waiting

T = TypeVar("T")
_LOOK_S = 0.1
_DEMO_TRIES = 3
_READYZ_S = 15.0  # longer than the gateway takes to say which part does not answer


def run(settings: UpSettings, console: Console, asked: Asked | None = None) -> int:
    """Everything from nothing to a stop. Returns the exit status: 0 when asked to stop, 1 when a part failed.

    `asked`: the models, and settings of endpoints; the models of `settings` alone unless given.
    """
    signals, report = StopSignals(), Report(console, json_lines=settings.log_json)
    try:
        with ExitStack() as entered:
            _run(settings, console, asked or Asked.of(settings), signals, report, entered)
    except (StackStartError, ClipServeError, ClientError, FileExistsError) as error:
        report.error(str(error))
        return 1
    except Stopped:
        return 0
    return 0


def _run(
    settings: UpSettings,
    console: Console,
    asked: Asked,
    signals: StopSignals,
    report: Report,
    entered: ExitStack,
) -> None:
    started, usual = time.monotonic(), os.umask(PRIVATE_UMASK)
    models = models_of(asked.models, captions=settings.captions)
    folder, quick = _prepare(settings, models, console, signals, entered, usual)
    report.open(part_log(settings, "up"))
    rows = write_rows(row_store(folder.path), models, model_store(settings), report.notice)
    management = entered.enter_context(guarded(settings, folder.run))
    stack = Stack(RestartPolicy(settings.restart_limit, settings.restart_window, settings.restart_delay), report.notice)
    entered.callback(_stop, stack, settings, console, signals)
    key = own_key(settings)
    console.print("[dim]starting[/dim] index service, TorchServe, gateway")
    batching = Batching.of(models, asked.batching)
    Parts(settings, folder, key, management, batching).start(stack)
    _wait_ready(stack, settings, console, lambda: _look(stack.check, signals))
    _wait_others(stack, settings, console, signals, report)
    observers = Observers(settings, folder.path / "observe", report.notice)
    entered.callback(observers.stop, lambda: signals.hurried)
    if settings.observe:
        observers.start(gateway_url(settings).removeprefix("http://"), key)
    if settings.demo and rows:
        console.print(f"[dim]serving[/dim] after {time.monotonic() - started:.1f} s; next, the demo's collection")
        _demo(stack, settings, console, signals, key)
    _meanwhile(stack, signals, lambda: _tell_waiting(settings, console, key))
    console.print(f"[green]ready[/green] in {time.monotonic() - started:.1f} s")
    _invite(settings, console, observers.urls)
    jobs = [job_of(model, settings, folder.run, management, report, batching) for model in quick]
    builds = BuildQueue(jobs, report, usual)
    entered.callback(builds.stop)
    _watch(stack, settings, signals, report, (observers.look, builds.look))


def _stop(stack: Stack, settings: UpSettings, console: Console, signals: StopSignals) -> None:
    console.print("stopping …")
    stack.stop(settings.stop_timeout, lambda: signals.hurried)


def gateway_url(settings: UpSettings) -> str:
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    return f"http://{host}:{settings.gateway_port}"


def _prepare(
    settings: UpSettings,
    models: Sequence[UpModel],
    console: Console,
    signals: StopSignals,
    entered: ExitStack,
    usual: int,
) -> tuple[DataFolder, list[UpModel]]:
    """What must be there before anything starts, and the models whose archives are quick ones.

    Nothing that a running stack uses is touched.
    """
    check_disk(settings.data_dir)
    folder = entered.enter_context(DataFolder(settings.data_dir))
    entered.enter_context(log_folder(settings.log_dir))
    check_ports(settings.ports)
    if settings.autoscale:
        scaler_settings()  # what is wrong with them is said before anything starts
    folder.close_to_others()
    find_java()
    return folder, [model for model in models if _have_archives(model, settings, console, signals, usual)]


def _have_archives(model: UpModel, settings: UpSettings, console: Console, signals: StopSignals, usual: int) -> bool:
    """Build what lacks; whether what there is now is quick, and other than the model's own."""
    store, quick = model_store(settings), settings.background_build
    captions = bool(model.row.caption)
    found = standing(model.source, model.checkpoint, store, model.prefix, captions, **model.given)
    if found == "stale" or (found == "quick" and not quick):
        console.print(f"[dim]building[/dim] the archives of {model.row.name}")
        build(model, store, usual, signals, quick=quick)
    return quick and found != "whole" and has_quick_form(model.source, model.checkpoint, **model.given)


def _wait_ready(stack: Stack, settings: UpSettings, console: Console, look: Callable[[], object]) -> None:
    """Until /readyz is 200. Raises StackStartError when a part ends or patience does."""
    api = PublicApi(gateway_url(settings), timeout_s=_READYZ_S)
    try:
        with console.status("waiting for the workers to load and pass their canaries"):
            wait_ready(api.parts, settings.startup_timeout, look, lambda missing: _waiting(console, missing))
    except StackStartError as error:
        tails = "\n".join(f"{part.log}:\n{part.tail()}" for part in stack.parts)
        raise StackStartError(f"{error}\n{tails}") from error


def _wait_others(stack: Stack, settings: UpSettings, console: Console, signals: StopSignals, report: Report) -> None:
    """For the models beside the default one; one that does not start is told, and the others serve."""
    api = PublicApi(gateway_url(settings), timeout_s=_READYZ_S)
    try:
        with console.status("waiting for the other models"):
            look = partial(_look, stack.check, signals)
            wait_ready(api.models, settings.startup_timeout, look, lambda missing: _waiting(console, missing))
    except StackStartError as error:
        report.notice(f"a model is not ready: {error}; {settings.log_dir}/torchserve.log has more")


def _waiting(console: Console, missing: str) -> None:
    console.print(f"[dim]waiting[/dim] for {missing}", highlight=False)


def _demo(stack: Stack, settings: UpSettings, console: Console, signals: StopSignals, key: str | None) -> None:
    """Filled in a thread, while this one keeps the parts up; tried again when a part ended meanwhile."""
    for left in reversed(range(_DEMO_TRIES)):
        filled, restarted = _meanwhile(stack, signals, lambda: _fill_demo(settings, console, key))
        error = filled.exception()
        if error is None:
            return
        restarted |= any(_look(stack.supervise, signals) for _ in range(5))
        if not (isinstance(error, ClientError) and restarted and left):
            raise error
        _wait_ready(stack, settings, console, lambda: _look(stack.supervise, signals))


def _meanwhile(stack: Stack, signals: StopSignals, work: Callable[[], None]) -> tuple[Future[None], bool]:
    """`work` in a thread, while this one keeps the parts up; its end, and whether a part was started again."""
    done, restarted = in_background(work), False
    while not done.done():
        restarted |= _look(stack.supervise, signals)
    return done, restarted


def _fill_demo(settings: UpSettings, console: Console, key: str | None) -> None:
    from scripts.demo.demo_collection import fill_demo
    from scripts.demo.search_table import show_search

    with Client(gateway_url(settings), api_key=key) as client:
        try:
            collection = fill_demo(client, settings.data_dir / "demo" / "gallery", console)
        except Conflict as error:
            console.print(f"[yellow]notice[/yellow] the demo is left out: {escape(str(error))}", highlight=False)
        else:
            show_search(client, console, collection)


def _tell_waiting(settings: UpSettings, console: Console, key: str | None) -> None:
    with Client(gateway_url(settings), api_key=key) as client:
        tell_waiting(client, console)


def _invite(settings: UpSettings, console: Console, observers: Mapping[str, str]) -> None:
    url = gateway_url(settings)
    console.print(f"\n  page  [bold]{url}/[/bold]\n  docs  {url}/docs\n  logs  {settings.log_dir}/")
    for name, address in observers.items():
        console.print(f"  {name}  {address}/")
    console.print("\nCtrl-C stops everything.")


def _watch(
    stack: Stack,
    settings: UpSettings,
    signals: StopSignals,
    report: Report,
    looks: Sequence[Callable[[], None]],
) -> None:
    """Keep every part up, and say when all of them serve again; `looks`: at what goes on beside them.

    Ends by an exception only.
    """
    telling: Future[None] | None = None
    while True:
        if _look(stack.supervise, signals) and (telling is None or telling.done()):
            telling = in_background(lambda: _say_when_ready(settings, report))
        for look in looks:
            look()


def _look(after: Callable[[], T], signals: StopSignals) -> T:
    """At the parts, and at the signals. Raises Stopped."""
    found = after()
    signals.pause(_LOOK_S)
    return found


def _say_when_ready(settings: UpSettings, report: Report) -> None:
    """However long it takes; what is missing, each time that patience ends."""
    started = time.monotonic()
    while not _ready_in_time(settings, report):
        pass
    report.notice(f"everything is ready again, {time.monotonic() - started:.1f} s after the restart")


def _ready_in_time(settings: UpSettings, report: Report) -> bool:
    api = PublicApi(gateway_url(settings), timeout_s=_READYZ_S)
    try:
        wait_ready(api.parts, settings.startup_timeout, lambda: time.sleep(_LOOK_S))
    except StackStartError as error:
        report.notice(f"not everything is ready again: {error}")
        return False
    return True
