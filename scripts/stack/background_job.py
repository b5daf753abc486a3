"""What `up` builds in the background: which command, what it costs, and how it is swapped in."""

from __future__ import annotations

from pathlib import Path

from clip_core.serving.torchserve_tokens import KEY_FILE
from scripts.archive.build import full_cost
from scripts.archive.resolver import resolve
from scripts.costs import parameters_in
from scripts.models.archives import found_in
from scripts.models.management import Management
from scripts.models.model_swap import Swap
from scripts.models.row_store import FILE, RowStore, by_kind
from scripts.public_api import PublicApi
from scripts.stack.background_build import BackgroundJob
from scripts.stack.building import full_command
from scripts.stack.parts import model_store
from scripts.stack.up_models import Batching, UpModel
from scripts.stack.up_report import Report
from scripts.stack.up_settings import UpSettings

_A_LINE_EVERY = ("--line-every", "60")


def job_of(
    model: UpModel, settings: UpSettings, run_dir: Path, management: str | None, report: Report, batching: Batching
) -> BackgroundJob:
    """`run_dir`: TorchServe's working folder. `management`: where its management API listens behind its guard; None: on
    its port.

    `batching` holds for what is swapped in, too.

    Raises BadModel, OSError.
    """
    store, local = model_store(settings), "http://127.0.0.1:"
    urls = management or f"{local}{settings.management_port}", f"{local}{settings.inference_port}"
    torchserve = Management(*urls, key_file=run_dir / KEY_FILE)
    index, rows = PublicApi(f"{local}{settings.index_port}"), RowStore(settings.data_dir / FILE)

    def swap(folder: Path) -> None:
        keys, archives = batching.by_endpoint([model.row]), found_in(folder, model.row)
        with rows.one_command(wait=True):
            Swap(torchserve, index, archives, store, report=report.say, settings=keys).run()

    source = resolve(model.source, model.checkpoint, **model.given).source
    return BackgroundJob(
        model.row.name,
        full_cost(source, parameters_in(store / f"{model.prefix}_multimodal.mar")),
        store,
        tuple(by_kind(model.row).values()),
        lambda folder: full_command(model, folder, *_A_LINE_EVERY),
        swap,
    )
