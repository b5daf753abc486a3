"""The models that are served, and which of them a request is for: by its `model`, or by its collection."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from clip_core.errors import ClipServeError, FingerprintMismatch, NoModel, TorchServeUnavailable
from gateway.encode.encoder import Encoder
from gateway.encode.served_model import ServedModel, two_models, unknown_model
from gateway.models.rows import ModelRow
from gateway.models.torchserves import TorchServe

Json = dict[str, Any]
Watch: TypeAlias = Callable[[Callable[[Sequence[ModelRow]], None]], Coroutine[Any, Any, None]]
_ASK_AGAIN_S = 1.0
_log = logging.getLogger("gateway.models.registry")


@dataclass(frozen=True)
class RegisteredModel:
    """A row with what serves it."""

    row: ModelRow
    encoder: Encoder
    torchserve: TorchServe


class Models:
    """The rows as they are now; the first one is the default. A row that stays as it is keeps its encoder."""

    def __init__(
        self,
        rows: Sequence[ModelRow],
        make: Callable[[ModelRow], RegisteredModel],
        watch: Watch | None = None,
        on_gone: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`watch` calls what it is given with the rows whenever they change; `on_gone` gets endpoints that left."""
        self._make, self._watch, self._on_gone = make, watch, on_gone
        self._served = tuple(map(make, rows))
        self._watching: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._asked = float("-inf")

    async def start(self) -> None:
        if self._watch is not None:
            self._watching = asyncio.create_task(self._watch(self.take))

    async def stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching

    def take(self, rows: Sequence[ModelRow]) -> None:
        """Serve these from now on; requests under way end with what they began with."""
        known = {_unmarked(model.row): model for model in self._served}
        before = self._endpoints()
        self._served = tuple(known.get(_unmarked(row)) or self._make(row) for row in rows)
        self._asked = float("-inf")
        for torchserve, endpoint in before - self._endpoints():
            torchserve.admissions.forget(endpoint)
            self._on_gone(endpoint)
        _log.info("serving %s", ", ".join(row.name for row in rows) or "no model")

    def all(self) -> tuple[RegisteredModel, ...]:
        return self._served

    def with_encoder(self, encoder: Encoder) -> RegisteredModel | None:
        """None for one that is served no more."""
        return next((each for each in self._served if each.encoder is encoder), None)

    @property
    def several(self) -> bool:
        return len(self._served) > 1

    def default(self) -> RegisteredModel:
        """Raises NoModel."""
        if not self._served:
            raise NoModel("no model is served: add one with `clipserve model add NAME`")
        return self._served[0]

    async def named(self, model: object) -> Encoder:
        """That of the model of this name, or of the default. Raises NoModel, or UnknownModel that names the served."""
        if model is None:
            return self.default().encoder
        return (await self.find(model)).encoder

    async def find(self, model: object) -> RegisteredModel:
        """By its name; a row without one is asked for it. Raises NoModel, UnknownModel."""
        self.default()
        found = self._by_name(model)
        if found is None and (unnamed := [each for each in self._served if not each.row.name]):
            await asyncio.gather(*(each.encoder.describe() for each in unnamed))
            found = self._by_name(model)
        if found is None:
            raise self.unknown(model)
        return found

    def unknown(self, model: object) -> ClipServeError:
        """The error for a name that no row has."""
        return unknown_model(model, [each.encoder.name for each in self._served if each.encoder.name])

    def is_served(self, model: object) -> bool:
        """Whether a row is known to have this name."""
        return self._by_name(model) is not None

    async def of_collection(self, described: Json) -> Encoder:
        """The one whose vectors a collection holds, by the index service's description of it.

        With one row it is that one, unasked. Raises NoModel, FingerprintMismatch, or TorchServeUnavailable where it
        can't be told.
        """
        if not self.several:
            return self.default().encoder
        found = self._by_fingerprint(described["fingerprint"])
        if found is None:
            await self.ask()
            found = self._by_fingerprint(described["fingerprint"])
        if found is None:
            raise self._not_served(described)
        return found.encoder

    async def check_names(self, model: object, described: Json) -> None:
        """Of a request that names a model beside a collection. Raises NoModel, UnknownModel, FingerprintMismatch."""
        if model in (None, described["model"]):
            return
        served = await (await self.named(model)).describe()
        if served.fingerprint != described["fingerprint"]:
            raise two_models(model, described["name"], described["model"])

    def answering(self, fingerprint: str | None) -> ServedModel | None:
        """The model of this fingerprint, where one has answered."""
        found = self._by_fingerprint(fingerprint)
        return found.encoder.served if found is not None else None

    def largest_dim(self) -> int | None:
        """Of the models that have answered."""
        return max((each.encoder.served.dim for each in self._served if each.encoder.served), default=None)

    def _by_name(self, model: object) -> RegisteredModel | None:
        return next((each for each in self._served if each.encoder.name and each.encoder.name == model), None)

    def _by_fingerprint(self, fingerprint: object) -> RegisteredModel | None:
        known = (each for each in self._served if each.encoder.served is not None)
        return next((each for each in known if _fingerprint(each) == fingerprint), None)

    @property
    def have_answered(self) -> bool:
        """Whether every model has said what it is."""
        return all(each.encoder.served is not None for each in self._served)

    async def ask(self) -> None:
        """All rows for what they serve: once a second at most, and together for all who wait for it.

        In a context of its own: the deadline of the first of them is not that of the others.
        """
        if self._asking is None or self._asking.done():
            if time.monotonic() - self._asked < _ASK_AGAIN_S:
                return
            self._asked = time.monotonic()
            self._asking = contextvars.Context().run(asyncio.create_task, self._ask_all())
        await asyncio.shield(self._asking)

    async def _ask_all(self) -> None:
        await asyncio.gather(*(each.encoder.describe() for each in self._served), return_exceptions=True)

    def _not_served(self, described: Json) -> ClipServeError:
        name, model = described["name"], described["model"]
        silent = [each.encoder.name for each in self._served if each.encoder.served is None]
        if silent:
            return TorchServeUnavailable(
                f"the collection {name!r} holds vectors of {model!r}; {' and '.join(silent)} didn't answer yet"
            )
        served = " and ".join(f"{each.encoder.name} ({_fingerprint(each)})" for each in self._served)
        return FingerprintMismatch(
            f"the collection {name!r} holds vectors of {model!r} (fingerprint {described['fingerprint']}), "
            f"which is not served; {served} are: {FingerprintMismatch.ways_out(name, model)}",
            param="collection",
        )

    def _endpoints(self) -> set[tuple[TorchServe, str]]:
        return {(each.torchserve, endpoint) for each in self._served for endpoint in each.row.all_endpoints()}


def _unmarked(row: ModelRow) -> ModelRow:
    """Which one is the default changes nothing in a model."""
    return row.model_copy(update={"default": False})


def _fingerprint(model: RegisteredModel) -> str | None:
    return model.encoder.served.fingerprint if model.encoder.served is not None else None
