"""The client for programs with an event loop (asyncio): the calls of `Client`, to be awaited."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import clipserve_client.answers.answers as answers
import clipserve_client.calls.asking as asking_calls
import clipserve_client.calls.calls as calls
import clipserve_client.calls.captions as caption_calls
from clipserve_client.answers.answers import Json
from clipserve_client.answers.paging import Pages
from clipserve_client.calls.embedding import embed_calls, joined
from clipserve_client.calls.updating import update_calls
from clipserve_client.client import Client
from clipserve_client.errors import ApiError, UnknownCollection
from clipserve_client.ingest.engine import IN_FLIGHT, RETRY_TIMEOUT_S, run
from clipserve_client.ingest.results import Result, Tally
from clipserve_client.inputs.inputs import CaptionWanted, Content, Mix, NewItem, Query, SearchOptions
from clipserve_client.inputs.pictures import Picture, PictureSource
from clipserve_client.sending.awaited import AsyncSender

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from clipserve_client.calls.asking import AskOptions
    from clipserve_client.calls.captions import Captionable, CaptionOptions

T = TypeVar("T")


class AsyncClient(AsyncSender):
    """Its calls are awaited. Closed by `close` or at the end of an `async with`."""

    async def embed(self, inputs: Sequence[Content | Mix], *, dimensions: int | None = None) -> answers.Embeddings:
        """Vectors of texts (plain strings), pictures and mixes, in their order; sent in parts where they are many."""
        parts = embed_calls(inputs, dimensions, await self.limits())
        return joined([await self.send(each) for each in parts])

    async def classify(
        self, image: PictureSource | Picture, labels: Sequence[str], *, templates: Sequence[str] | None = None
    ) -> list[answers.LabelScore]:
        """How well each label fits the picture, the most probable first. `{}` in a template stands for the label."""
        return await self.send(calls.classify(image, labels, templates))

    async def rank(
        self, queries: Sequence[Content], candidates: Sequence[Content], *, top_n: int | None = None
    ) -> list[list[answers.Ranked]]:
        """For each query the candidates, the best first."""
        return await self.send(calls.rank(queries, candidates, top_n))

    async def caption(self, image: Captionable, **how: Unpack[CaptionOptions]) -> answers.Caption:
        """What the picture shows, in words.

        `how`: prompt, method (greedy, beam, sample), n, max_tokens, temperature, seed, model, …
        """
        return await self.send(caption_calls.caption(image, how))

    async def captions(
        self, images: Sequence[Captionable], **how: Unpack[CaptionOptions]
    ) -> list[answers.Caption | ApiError]:
        """Captions of several pictures, sent in parts where they are many; a bad one is an ApiError in its place."""
        parts = caption_calls.captions(images, how, await self.limits())
        return [each for part in parts for each in await self.send(part)]

    def caption_stream(self, image: Captionable, **how: Unpack[CaptionOptions]) -> AsyncIterator[answers.CaptionPiece]:
        """A caption as it is made. Sent again, as other calls are, only before the first piece has come."""
        return self._pieces(caption_calls.stream(image, how))

    async def ask(
        self,
        question: str,
        collection: str,
        *,
        image: PictureSource | Picture | None = None,
        timeout_s: float | None = None,
        **how: Unpack[AskOptions],
    ) -> answers.Answer:
        """An answer to a question about a collection's pictures, with those that show it.

        `how`: text, filter, searches, k, detail, by, model. Never sent twice, since an answer may cost money.
        """
        return await self.send(asking_calls.ask(question, collection, image, how), timeout_s)

    async def score_captions(
        self, image: Captionable, texts: Sequence[str], *, model: str | None = None
    ) -> list[answers.CaptionScore]:
        """How probable each of the texts is as a caption of the picture, in their order."""
        return await self.send(caption_calls.score(image, texts, model))

    async def search(
        self, collection: str | Sequence[str], text: str | None = None, **how: Unpack[SearchOptions]
    ) -> answers.SearchPage:
        """One page of hits, of one collection or of several.

        `how` has the fields of `Query`: image, vector, like, query, k, filter, cursor, …
        """
        return await self.send(calls.search(Query(collection, text, **how)))

    async def search_all(
        self,
        collection: str | Sequence[str],
        text: str | None = None,
        *,
        limit: int | None = None,
        **how: Unpack[SearchOptions],
    ) -> AsyncIterator[answers.Hit]:
        """Hits page by page, the best first, `k` a page, until there are no more or `limit` have come."""
        pages = Pages[answers.Hit, str](limit, how.pop("cursor", None))
        while not pages.ended:
            how["cursor"] = pages.after
            page = await self.search(collection, text, **how)
            for each in pages.taken(page.hits, page.next_cursor):
                yield each

    async def search_batch(self, queries: Sequence[Query]) -> list[answers.SearchPage | ApiError]:
        """Many searches in one call; a bad one is an ApiError in its place."""
        return await self.send(calls.search_batch(queries))

    async def create_collection(self, name: str, **settings: Any) -> answers.Collection:
        """Make it for the served model, or find it there: metric, engine, factory, recall_target, metadata, store."""
        return await self.send(calls.create_collection(name, settings))

    async def collection(self, name: str) -> answers.Collection:
        """Its model, engine and number of items."""
        return await self.send(calls.collection(name))

    async def collections(self) -> list[answers.Collection]:
        return await self.send(calls.collections())

    async def drop_collection(self, name: str) -> None:
        """Delete it with all its items."""
        await self.send(calls.drop_collection(name))

    async def facets(
        self, name: str, fields: Sequence[str] | None = None, *, values: int = 20, filter: Json | None = None
    ) -> list[Json]:
        """The most frequent values of metadata fields, with exact counts."""
        return await self.send(calls.facets(name, fields, values, filter))

    async def score_guidance(self, name: str) -> answers.ScoreGuidance:
        """Which scores of text searches say little in this collection; measured now and then."""
        return await self.send(calls.score_guidance(name))

    async def set_alias(self, name: str, collection: str) -> answers.Alias:
        """Point a second name to a collection, at once."""
        return await self.send(calls.set_alias(name, collection))

    async def aliases(self) -> list[answers.Alias]:
        return await self.send(calls.aliases())

    async def drop_alias(self, name: str) -> None:
        await self.send(calls.drop_alias(name))

    async def add(self, collection: str, items: Sequence[NewItem]) -> list[answers.ItemResult]:
        """Add or replace a few items in one call, each with its own result; `ingest` takes any number."""
        return await self.send(calls.add(collection, items))

    async def ingest(
        self,
        collection: str,
        items: Iterable[NewItem | Result],
        *,
        on_result: Callable[[Result], object] | None = None,
        in_flight: int = IN_FLIGHT,
        retry_timeout_s: float = RETRY_TIMEOUT_S,
        stop: threading.Event | None = None,
        **settings: Any,
    ) -> Tally:
        """Add or replace any number of items, in a thread of its own; see `Client.ingest`.

        `items` are read in that thread, `on_result` is called on the event loop; an error of it ends the ingest, and is
        raised. When the task is cancelled, batches under way get a few seconds to come back.
        """
        stop, loop = stop or threading.Event(), asyncio.get_running_loop()
        told = None if on_result is None else partial(_call_on, loop, on_result)
        if "patience_s" in settings:  # it would be taken for a setting of the collection
            raise TypeError("patience_s is named retry_timeout_s now")
        await self.ensure_collection(collection, **settings)
        how = {"on_result": told, "in_flight": in_flight, "retry_timeout_s": retry_timeout_s, "stop": stop}
        working = loop.run_in_executor(None, partial(self._ingest, collection, items, **how))
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait([working])
            raise

    def _ingest(self, collection: str, items: Iterable[NewItem | Result], **how: Any) -> Tally:
        target = self.target
        with Client(
            target.url, api_key=target.api_key, timeout_s=self.timeout_s, retries=self.retries, verify=target.verify
        ) as client:
            return run(client, collection, items, **how)

    async def ensure_collection(self, name: str, **settings: Any) -> answers.Collection:
        """The collection, or the one behind an alias; made when there is none."""
        try:
            return await self.collection(name)
        except UnknownCollection:
            return await self.create_collection(name, **settings)

    async def item(
        self, collection: str, item_id: str, *, vector: bool = False, consistency: str | None = None
    ) -> answers.Item:
        """With its vector, if wanted; `consistency` is for collections in Milvus."""
        return await self.send(calls.item(collection, item_id, vector, consistency))

    async def items(
        self, collection: str, *, filter: Json | None = None, page: int = 1000
    ) -> AsyncIterator[answers.Item]:
        """All items by id, or those that match the filter, `page` a call."""
        pages = Pages[answers.Item, str]()
        while not pages.ended:
            for each in pages.taken(*(await self.send(calls.items_page(collection, pages.after, page, filter)))):
                yield each

    async def update_item(self, collection: str, item_id: str, metadata: Json | None) -> answers.Item:
        """Change its metadata: the fields of `metadata` are set, null removes one, and None removes all.

        A JSON merge patch (RFC 7386). The vector stays, and nothing is embedded; so do `digest` and `original_file`.
        """
        return await self.send(calls.update_item(collection, item_id, metadata))

    async def update_items(self, collection: str, patches: Mapping[str, Json | None]) -> list[answers.ItemResult]:
        """`update_item` for any number of ids, each with its own result, in their order."""
        updates = update_calls(collection, patches, await self.limits())
        return [result for each in updates for result in await self.send(each)]

    async def update_where(self, collection: str, filter: Json, metadata: Json | None) -> answers.UpdatedPage:
        """`update_item` for every item that matches the filter, page by page.

        How many have the patch now, and those that could not have it, as when their metadata would be too long.
        """
        pages, updated = Pages[answers.ItemResult, str](), 0
        failed: list[answers.ItemResult] = []
        while not pages.ended:
            page = await self.send(calls.update_page(collection, filter, metadata, pages.after))
            updated += page.updated
            failed += pages.taken(page.failed, page.next)
        return answers.UpdatedPage(updated, failed)

    async def copy_items(self, collection: str, source: str, ids: Sequence[str]) -> list[answers.ItemResult]:
        """Copy items of `source`, a collection of the same model, to `collection`; each has its own result."""
        most = (await self.limits()).max_items
        parts = [calls.copy_items(collection, source, ids[at : at + most]) for at in range(0, len(ids), most)]
        return [result for part in parts for result in await self.send(part)]

    async def copy_where(self, collection: str, source: str, filter: Json) -> int:
        """Copy every item of `source` that matches the filter, all for an empty one; how many there were."""
        pages, copied = Pages[answers.Item, str](), 0
        while not pages.ended:
            count, after = await self.send(calls.copy_page(collection, source, filter, pages.after))
            pages.taken([], after)
            copied += count
        return copied

    async def duplicates(self, collection: str, *, page: int = 100) -> AsyncIterator[answers.Duplicate]:
        """Items that were made from the same picture, a group for each such picture."""
        pages = Pages[answers.Duplicate, str]()
        while not pages.ended:
            for each in pages.taken(*(await self.send(calls.duplicates_page(collection, pages.after, page)))):
                yield each

    async def delete_item(self, collection: str, item_id: str) -> None:
        await self.send(calls.delete_item(collection, item_id))

    async def delete_items(
        self, collection: str, ids: Sequence[str] | None = None, *, filter: Json | None = None
    ) -> int:
        """Those with these ids, or those that match the filter; how many there were."""
        return await self.send(calls.delete_items(collection, ids, filter))

    async def begin_job(self, collection: str, source: Json, *, caption: CaptionWanted = False) -> answers.Job:
        """Fill a collection on the server: `source` is `{"folder": "ROOT/path"}`, or webdataset, parquet, urls.

        `caption`: pictures without a caption get one in their metadata, "llm": by the language model.
        """
        return await self.send(calls.begin_job(collection, source, caption))

    async def job(self, job_id: str) -> answers.Job:
        return await self.send(calls.job(job_id))

    async def jobs(self, *, page: int = 100) -> AsyncIterator[answers.Job]:
        """The newest first."""
        pages = Pages[answers.Job, str]()
        while not pages.ended:
            for each in pages.taken(*(await self.send(calls.jobs_page(pages.after, page)))):
                yield each

    async def watch_job(
        self, job_id: str, on_progress: Callable[[answers.Job], object] | None = None, *, every_s: float = 1.0
    ) -> answers.Job:
        """Wait until the job has ended; `on_progress` is called with each look at it."""
        while True:
            job = await self.job(job_id)
            if on_progress is not None:
                on_progress(job)
            if job.ended:
                return job
            await asyncio.sleep(every_s)

    async def job_failures(self, job_id: str, *, page: int = 1000) -> AsyncIterator[answers.JobFailure]:
        """What the job set aside, and why."""
        pages = Pages[answers.JobFailure, int]()
        while not pages.ended:
            for each in pages.taken(*(await self.send(calls.failures_page(job_id, pages.after, page)))):
                yield each

    async def cancel_job(self, job_id: str) -> answers.Job:
        """What is in the collection stays there."""
        return await self.send(calls.cancel_job(job_id))

    async def retry_job(self, job_id: str) -> answers.Job:
        """Read the source of a job that has ended again: what is new, changed or was set aside is tried."""
        return await self.send(calls.retry_job(job_id))

    async def stats(self) -> Json:
        """Requests, latency, batches, cache and memory since the gateway's start."""
        return await self.send(calls.stats())

    async def health(self) -> answers.Health:
        """Whether every part is ready. Raises ConnectionFailed when not even the gateway answers."""
        return await self.send(calls.health())

    async def models(self) -> list[answers.Model]:
        return await self.send(calls.models())

    async def limits(self) -> answers.Limits:
        """What one call may hold; asked for once."""
        if self._limits is None:
            told = await self.models()
            self._limits = answers.Limits.of(told[0].raw.get("limits") if told else None)
        return self._limits


def _call_on(loop: asyncio.AbstractEventLoop, function: Callable[[T], object], value: T) -> None:
    """From another thread; waits, and raises what it raises."""

    async def call() -> None:
        function(value)

    asyncio.run_coroutine_threadsafe(call(), loop).result()
