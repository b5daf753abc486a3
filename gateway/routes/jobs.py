"""/v1/jobs: background ingestion — begin, watch, cancel, retry."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Path, Query, Request

from clip_core.errors import Conflict, PathForbidden, UnknownJob
from clip_core.old_names.table import OLD_CAPTION_WRITERS
from clip_core.old_names.taking import with_new_names
from gateway.errors import JsonResponse
from gateway.ingest.items import checked_caption
from gateway.jobs.sources import source_kind
from gateway.jobs.store import Counts, Job, JobStore, total
from gateway.keys.api_key import current_key
from gateway.routes.bodies import read_model
from gateway.routes.plain_route import StrictRoute
from gateway.schemas.jobs import FailuresAnswer, JobAnswer, JobPlan, JobRequest, JobsAnswer, JobSource
from gateway.schemas.openapi import READS, answers, takes
from gateway.services import Services, services

router = APIRouter(route_class=StrictRoute, tags=["jobs"])
_OUTCOMES = ("added", "unchanged", "skipped", "failed")
JobId = Annotated[str, Path(description="The job's id.", examples=["5f0c6c2e"])]


@router.post(
    "/v1/jobs",
    status_code=202,
    responses=answers(JobAnswer, *READS, PathForbidden, Conflict, status=202) | {200: {"model": JobPlan}},
    openapi_extra=takes(JobRequest),
)
async def begin_job(request: Request) -> JsonResponse:
    """Fill a collection from a folder, a webdataset tar, a Parquet file or URLs, in the background."""
    given, wanted = services(request), await read_model(request, JobRequest, most_items=None)
    current_key().check_collection(wanted.collection)
    if not given.settings.jobs:
        raise Conflict(
            "this gateway takes no jobs (CLIPSERVE_GATEWAY_JOBS): send the items, or `clipserve ingest` them"
        )
    source = wanted.source.model_dump(exclude_none=True)
    by = checked_caption(wanted.caption, "caption")
    if by is not None:
        source["caption"] = "llm" if by == "llm" else True
    if by == "llm":
        given.given_captions.assistant()
    if source_kind(source) == "urls":
        for place, entry in enumerate(source["urls"]):
            given.parser.image(entry if isinstance(entry, str) else entry["url"], f"source.urls[{place}]")
    await given.index.describe(wanted.collection)
    if wanted.dry_run:
        return await _plan(given, wanted.collection, source)
    return await _answer(given.jobs.store, await given.jobs.submit(wanted.collection, source), 202)


async def _plan(given: Services, collection: str, source: dict[str, Any]) -> JsonResponse:
    """All entries, also those that are in already: so much at most."""
    total, by = await given.jobs.count(source), source.get("caption")
    known = total is not None and by == "llm"
    estimate = given.given_captions.assistant().expected(total or 0) if known else None
    return JsonResponse({"object": "job.plan", "collection": collection, "total": total, "estimate": estimate})


@router.get("/v1/jobs", responses=answers(JobsAnswer))
async def list_jobs(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=1000, examples=[100])] = 100,
    after: Annotated[str | None, Query(description="`next` of the page before.", examples=["5f0c6c2e"])] = None,
) -> JsonResponse:
    """Jobs on collections that the key may use, newest first, a page at a time."""
    store, key = services(request).jobs.store, current_key()
    page = await asyncio.to_thread(store.page, after, limit)
    jobs = [job for job in page if key.may_use(job.collection)]
    described = await asyncio.to_thread(lambda: [describe(job, store.counts(job.id)) for job in jobs])
    return JsonResponse({"jobs": described, "next": page[-1].id if len(page) == limit else None})


@router.get("/v1/jobs/{job_id}", responses=answers(JobAnswer, UnknownJob))
async def show_job(request: Request, job_id: JobId) -> JsonResponse:
    """State, progress, rate and time left."""
    store = services(request).jobs.store
    return await _answer(store, await _job(store, job_id))


@router.get("/v1/jobs/{job_id}/failures", responses=answers(FailuresAnswer, UnknownJob))
async def list_failures(
    request: Request,
    job_id: JobId,
    limit: Annotated[int, Query(ge=1, le=1000, examples=[100])] = 100,
    after: Annotated[int, Query(ge=-1, le=2**53, examples=[-1], description="`next` of the page before.")] = -1,
    outcome: Annotated[
        Literal["failed", "skipped"] | None, Query(description="Only these.", examples=["failed"])
    ] = None,
) -> JsonResponse:
    """What is not in the collection, by name and reason, a page at a time: what failed, and what was skipped."""
    store = services(request).jobs.store
    await _job(store, job_id)
    found = await asyncio.to_thread(store.set_aside, job_id, after, limit, outcome)
    failures = [
        {"id": each.item, "outcome": each.outcome, "reason": each.reason, "error": orjson.loads(each.error)}
        for each in found
    ]
    return JsonResponse({"failures": failures, "next": found[-1].place if len(found) == limit else None})


@router.delete("/v1/jobs/{job_id}", responses=answers(JobAnswer, UnknownJob, Conflict))
async def cancel_job(request: Request, job_id: JobId) -> JsonResponse:
    """Cancel; what is in the collection stays there."""
    jobs = services(request).jobs
    await _job(jobs.store, job_id)
    return await _answer(jobs.store, await jobs.cancel(job_id))


@router.post("/v1/jobs/{job_id}/retry", status_code=202, responses=answers(JobAnswer, UnknownJob, Conflict, status=202))
async def retry_job(request: Request, job_id: JobId) -> JsonResponse:
    """Read the source again: what is in and unchanged is not sent again, all else is tried."""
    jobs = services(request).jobs
    await _job(jobs.store, job_id)
    return await _answer(jobs.store, await jobs.retry(job_id), 202)


async def _job(store: JobStore, job_id: str) -> Job:
    """Raises UnknownJob, also about a collection that the key may not use."""
    job = await asyncio.to_thread(store.get, job_id)
    if not current_key().may_use(job.collection):
        raise UnknownJob(f"there is no job {job_id[:64]!r}", param="job_id")
    return job


async def _answer(store: JobStore, job: Job, status: int = 200) -> JsonResponse:
    return JsonResponse(describe(job, await asyncio.to_thread(store.counts, job.id)), status_code=status)


def describe(job: Job, counts: Counts) -> dict[str, Any]:
    """As the API shows it."""
    processed = total(counts)
    rate = round(processed / job.seconds, 2) if processed and job.seconds else None
    left = max(job.total - processed, 0) if job.state == "running" and job.total is not None else None
    known = None if job.total is None else max(job.total, processed)
    source = with_new_names(orjson.loads(job.source), JobSource.old_names)
    by = source.pop("caption", None)
    captions = {"caption": OLD_CAPTION_WRITERS.get(by, by)} if by else {}  # a job of 0.1
    return {
        "id": job.id,
        "collection": job.collection,
        "source": source,
        **captions,
        "state": job.state,
        "progress": {"total": known, "processed": processed, **{each: total(counts, (each,)) for each in _OUTCOMES}},
        "reasons": {each: counts[each] for each in ("skipped", "failed", "noted") if each in counts},
        "rate": rate,
        "eta_s": round(left / rate, 1) if rate and left is not None else None,
        "message": job.message,
        "error": orjson.loads(job.error) if job.error else None,
        "created": job.created,
        "finished": job.finished,
    }
