"""Background jobs: every source, progress, set-aside items, cancelling, retrying, and going on after a restart."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import os
import sqlite3
import tarfile
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from clip_core.errors import BadInput, Conflict, Unauthorized
from clipserve_client.answers.answers import Limits
from clipserve_client.sources.entries import SourceError
from clipserve_client.sources.webdataset import Webdataset, members
from gateway.jobs.job_lock import JobLock
from gateway.jobs.runner import Jobs
from gateway.jobs.sources import JobSources, told
from gateway.jobs.store import JobLost, JobStore
from tests.gateway.fakes import picture
from tests.waiting import until


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for n in range(10):
        (folder / "sub" / f"{n}.png").write_bytes(picture(f"w{n}"))
    return folder


@pytest.fixture
def begin(stack_of, root):
    def start(source, **settings):
        stack = stack_of(**{"ingest_roots": f"photos={root}", "job_batch": 4, **settings})
        if "demo" not in stack.index.collections:
            stack.fill("cat")
        answer = stack.post("/v1/jobs", {"collection": "demo", "source": source})
        assert answer.status_code == 202, answer.text
        return stack, answer.json()["id"]

    return start


@pytest.fixture
def stack(begin):
    """With a job that has put the folder into its collection."""
    stack, job_id = begin({"folder": "photos"})
    wait(stack, job_id)
    return stack


def test_a_gateway_that_takes_none(stack_of, root):
    stack = stack_of(ingest_roots=f"photos={root}", jobs=False)
    stack.fill("cat")
    answer = stack.post("/v1/jobs", {"collection": "demo", "source": {"folder": "photos"}})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
    assert "CLIPSERVE_GATEWAY_JOBS" in answer.json()["error"]["message"]


def wait(stack, job_id, *states):
    """The job, once it has ended or is in one of these states."""
    wanted = states or ("completed", "failed", "cancelled")

    def look():
        job = stack.client.get(f"/v1/jobs/{job_id}").json()
        return job if job["state"] in wanted else None

    return until(look)


def progress(total, **counts):
    return {"total": total, "processed": total, "added": 0, "unchanged": 0, "skipped": 0, "failed": 0, **counts}


def kept(stack):
    return stack.index.collections["demo"]["items"]


def given(item):
    """Its metadata without what jobs and the gateway add for themselves."""
    return {name: value for name, value in item["metadata"].items() if name not in ("digest", "original_file")}


def failures(stack, job_id, **query):
    return stack.client.get(f"/v1/jobs/{job_id}/failures", params=query).json()


def test_folder(begin, root):
    (root / "broken.png").write_bytes(b"not a picture")
    (root / "notes.txt").write_text("no picture by name")
    stack, job_id = begin({"folder": "photos"})
    job = wait(stack, job_id)
    assert job["state"] == "completed"
    assert job["progress"] == progress(12, added=10, failed=1, skipped=1)
    assert job["rate"] > 0
    assert set(kept(stack)) == {"cat", *(f"sub/{n}.png" for n in range(10))}
    assert kept(stack)["sub/3.png"]["metadata"]["file"] == "sub/3.png"
    assert job["reasons"] == {"skipped": {"not a picture (.txt)": 1}, "failed": {"invalid_image": 1}}
    told = failures(stack, job_id)["failures"]
    assert [(each["id"], each["outcome"], each["reason"], each["error"]["code"]) for each in told] == [
        ("broken.png", "failed", "invalid_image", "invalid_image"),
        ("notes.txt", "skipped", "not a picture (.txt)", "bad_input"),
    ]
    (failure,) = failures(stack, job_id, outcome="failed")["failures"]
    assert failure["id"] == "broken.png"
    assert [listed["id"] for listed in stack.client.get("/v1/jobs").json()["jobs"]] == [job_id]


def retried(stack, job_id):
    assert stack.client.post(f"/v1/jobs/{job_id}/retry").status_code == 202
    return wait(stack, job_id)


def test_a_retry_of_a_completed_job_adds_what_is_new(begin, root):
    stack, job_id = begin({"folder": "photos"})
    assert wait(stack, job_id)["progress"] == progress(10, added=10)
    (root / "new.png").write_bytes(picture("new"))
    (root / "sub" / "3.png").write_bytes(picture("another"))
    del kept(stack)["sub/4.png"]
    stack.torchserve.calls.clear()
    assert retried(stack, job_id)["progress"] == progress(11, unchanged=8, added=3)
    assert sum(len(body["input"]) for _, body in stack.torchserve.calls) == 3
    assert {"new.png", "sub/4.png"} <= set(kept(stack))
    assert retried(stack, job_id)["progress"] == progress(11, unchanged=11)


def test_a_completed_job_whose_disk_is_gone_keeps_its_counts(begin, root):
    stack, job_id = begin({"folder": "photos/sub"})
    wait(stack, job_id)
    (root / "sub").rename(root / "elsewhere")
    (root / "sub").mkdir()  # an empty mount point
    job = retried(stack, job_id)
    assert (job["state"], job["error"]["code"], job["progress"]) == ("failed", "not_found", progress(10, added=10))
    (root / "sub").rmdir()
    (root / "elsewhere").rename(root / "sub")
    assert retried(stack, job_id)["progress"] == progress(10, unchanged=10)


def test_a_part_that_is_down_is_waited_for(stack):
    stack.torchserve.failure = "queue_full"
    second = stack.post("/v1/jobs", {"collection": "demo", "source": {"folder": "photos", "force": True}}).json()["id"]
    until(lambda: stack.client.get(f"/v1/jobs/{second}").json()["message"])
    job = stack.client.get(f"/v1/jobs/{second}").json()
    assert (job["state"], job["progress"]["failed"]) == ("running", 0)
    assert job["message"].startswith("waiting: ")
    stack.torchserve.failure = None
    assert wait(stack, second)["progress"] == progress(10, added=10)


def test_items_that_end_workers_are_given_up(begin, monkeypatch):
    monkeypatch.setattr("gateway.jobs.runner._LONGEST_PAUSE_S", 0.02)
    stack, job_id = begin({"folder": "photos"}, job_batch=10)
    wait(stack, job_id)
    stack.torchserve.failure = "worker_507"
    stack.torchserve.calls.clear()
    second = stack.post("/v1/jobs", {"collection": "demo", "source": {"folder": "photos", "force": True}}).json()["id"]
    assert wait(stack, second)["progress"] == progress(10, added=0, failed=10)
    assert {each["error"]["code"] for each in failures(stack, second)["failures"]} == {"worker_lost"}


def test_cancel_then_go_on(stack):
    stack.torchserve.lets_pass = 1
    second = stack.post("/v1/jobs", {"collection": "demo", "source": {"folder": "photos", "force": True}}).json()["id"]
    until(lambda: stack.client.get(f"/v1/jobs/{second}").json()["progress"]["processed"] == 4)
    cancelled = stack.client.delete(f"/v1/jobs/{second}").json()
    assert cancelled["state"] == "cancelled"
    assert cancelled["progress"]["processed"] == 4
    assert stack.client.delete(f"/v1/jobs/{second}").status_code == 409
    stack.torchserve.lets_pass = None
    assert retried(stack, second)["progress"] == progress(10, added=10)


def test_a_restarted_gateway_goes_on(stack, stack_of, root):
    stack.torchserve.lets_pass = 1
    second = stack.post("/v1/jobs", {"collection": "demo", "source": {"folder": "photos", "force": True}}).json()["id"]
    until(lambda: stack.client.get(f"/v1/jobs/{second}").json()["progress"]["processed"] == 4)
    stack_of.stop()
    stack.torchserve.calls.clear()
    stack.torchserve.lets_pass = None
    again = stack_of(ingest_roots=f"photos={root}", job_batch=4)
    job = wait(again, second)
    assert job["state"] == "completed"
    assert job["progress"] == progress(10, added=10)
    assert sum(len(body["input"]) for _, body in again.torchserve.calls) == 6


def add(tar, name, content):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def test_webdataset(begin, root):
    with tarfile.open(root / "shard.tar.gz", "w:gz") as tar:
        add(tar, "a/000.png", picture("cat"))
        add(tar, "a/000.json", json.dumps({"color": "red"}).encode())
        add(tar, "a/000.txt", b"a red cat\n")
        add(tar, "a/001.txt", b"alone")
        add(tar, "a/002.jpg", picture("x" * 2000))
        add(tar, "a/003.png", picture("dog"))
        add(tar, "a/003.json", b"{")
    stack, job_id = begin({"webdataset": "photos/shard.tar.gz"}, max_image_bytes=1000)
    job = wait(stack, job_id)
    assert job["progress"] == progress(4, added=2, skipped=2)
    assert given(kept(stack)["a/000"]) == {"color": "red", "caption": "a red cat"}
    assert given(kept(stack)["a/003"]) == {}
    codes = [(failure["id"], failure["error"]["code"]) for failure in failures(stack, job_id)["failures"]]
    assert codes == [("a/001", "bad_input"), ("a/002", "image_too_large")]


def test_parquet(begin, root):
    images = [{"bytes": picture(f"w{n}"), "path": None} for n in range(70)]
    images[5] = {"bytes": None, "path": "x"}
    columns = {"key": [f"k{n}" for n in range(70)], "image": images, "n": list(range(70)), "odd": [{"a": 1}] * 70}
    table = pyarrow.table(columns)
    parquet.write_table(table, root / "t.parquet")
    stack, job_id = begin({"parquet": "photos/t.parquet", "columns": {"id": "key"}})
    job = wait(stack, job_id)
    assert job["progress"] == progress(70, added=69, skipped=1)
    assert job["reasons"]["noted"] == {"columns not read (odd)": 1}
    assert given(kept(stack)["k69"]) == {"n": 69}
    assert failures(stack, job_id)["failures"][0]["id"] == "k5"


def test_failures_have_pages(begin, root):
    for n in range(5):
        (root / f"{n}.png").write_bytes(b"bad")
    stack, job_id = begin({"folder": "photos"})
    wait(stack, job_id)
    first = failures(stack, job_id, limit=3)
    second = failures(stack, job_id, limit=3, after=first["next"])
    assert [each["id"] for each in first["failures"] + second["failures"]] == [f"{n}.png" for n in range(5)]
    assert second["next"] is None


def test_a_dropped_collection_fails_the_job(stack):
    stack.torchserve.lets_pass = 0
    second = stack.post("/v1/jobs", {"collection": "demo", "source": {"folder": "photos", "force": True}}).json()["id"]
    until(lambda: stack.torchserve.busy)
    stack.client.delete("/v1/collections/demo")
    stack.torchserve.lets_pass = None
    job = wait(stack, second)
    assert (job["state"], job["error"]["code"]) == ("failed", "collection_not_found")


@pytest.mark.parametrize(
    ("source", "status", "code"),
    [
        ({}, 400, "invalid_request"),
        ({"folder": "photos", "parquet": "photos/x"}, 400, "invalid_request"),
        ({"folder": "nowhere"}, 403, "path_forbidden"),
        ({"folder": "/etc"}, 403, "path_forbidden"),
        ({"folder": "photos/../.."}, 403, "path_forbidden"),
        ({"folder": "photos/out"}, 403, "path_forbidden"),
        ({"folder": "photos/none"}, 404, "not_found"),
        ({"folder": "photos/\x00"}, 404, "not_found"),
        ({"folder": "photos/sub/1.png"}, 404, "not_found"),
        ({"webdataset": "photos/sub"}, 404, "not_found"),
        ({"parquet": "photos/sub/1.png"}, 400, "bad_input"),
        ({"webdataset": "photos/a**b.tar"}, 404, "not_found"),
        ({"webdataset": "photos/loop*"}, 404, "not_found"),
        ({"urls": []}, 400, "invalid_request"),
        ({"urls": ["file:///etc/passwd"]}, 400, "invalid_image"),
        ({"urls": [{"id": "a"}]}, 400, "invalid_request"),
    ],
)
def test_bad_sources_make_no_job(stack_of, root, source, status, code):
    (root / "out").symlink_to(root.parent.parent)
    (root / "loop").symlink_to(root / "loop")
    stack = stack_of(ingest_roots=f"photos={root}")
    stack.fill("cat")
    answer = stack.post("/v1/jobs", {"collection": "demo", "source": source})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    assert stack.client.get("/v1/jobs").json()["jobs"] == []


def test_urls_where_none_is_fetched(stack_of, root):
    stack = stack_of(ingest_roots=f"photos={root}")
    stack.fill("cat")
    refused = stack.post("/v1/jobs", {"collection": "demo", "source": {"urls": ["http://x.org/a.png"]}})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "fetch_refused"), refused.text
    (root / "urls.txt").write_text("http://x.org/a.png\n")
    assert begin_again(stack, {"url_list": "photos/urls.txt"})["reasons"] == {"failed": {"fetch_refused": 1}}


def test_unknown_jobs_and_collections(stack_of, root):
    stack = stack_of(ingest_roots=f"photos={root}")
    assert stack.post("/v1/jobs", {"collection": "none", "source": {"folder": "photos"}}).status_code == 404
    for method, path in (("GET", "x"), ("DELETE", "x"), ("POST", "x/retry"), ("GET", "x/failures")):
        answer = stack.client.request(method, f"/v1/jobs/{path}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "job_not_found")


def test_no_job_leaves_no_file(stack_of, tmp_path):
    stack = stack_of()
    assert stack.client.get("/v1/jobs").json()["jobs"] == []
    assert not (tmp_path / "gateway" / "jobs.db").exists()


def test_two_retries_start_a_job_once(begin, root):
    (root / "broken.png").write_bytes(b"not a picture")
    stack, job_id = begin({"folder": "photos"})
    wait(stack, job_id)
    stack.torchserve.lets_pass = 0
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: stack.client.post(f"/v1/jobs/{job_id}/retry").status_code, range(8)))
    stack.torchserve.lets_pass = None
    assert sorted(answers) == [202] + [409] * 7
    assert wait(stack, job_id)["progress"]["failed"] == 1


def test_first_jobs_that_come_at_once_all_run(stack_of, root):
    stack = stack_of(ingest_roots=f"photos={root}")
    stack.fill("cat")
    body = {"collection": "demo", "source": {"folder": "photos"}}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: stack.post("/v1/jobs", body), range(8)))
    assert {answer.status_code for answer in answers} == {202}
    assert all(wait(stack, answer.json()["id"])["state"] == "completed" for answer in answers)


def test_a_job_that_is_being_cancelled_is_not_begun_again(stack, monkeypatch):
    """By whoever looks for jobs to go on with, while the record still says that it runs."""
    cancel, about_to, go_on = JobStore.cancel, threading.Event(), threading.Event()

    def held(self, job):
        about_to.set()
        go_on.wait()
        return cancel(self, job)

    stack.torchserve.lets_pass = 0
    body = {"collection": "demo", "source": {"folder": "photos", "force": True}}
    second = stack.post("/v1/jobs", body).json()["id"]
    until(lambda: stack.torchserve.busy)
    monkeypatch.setattr(JobStore, "cancel", held)
    with ThreadPoolExecutor(1) as pool:
        cancelling = pool.submit(stack.client.delete, f"/v1/jobs/{second}")
        about_to.wait()
        stack.torchserve.lets_pass = None
        third = stack.post("/v1/jobs", body).json()["id"]
        assert wait(stack, third)["state"] == "completed"
        assert stack.client.get(f"/v1/jobs/{second}").json()["progress"]["processed"] == 0
        go_on.set()
        assert cancelling.result().json()["state"] == "cancelled"


async def test_a_job_whose_caller_leaves_is_begun_all_the_same(tmp_path):
    added, go_on = threading.Event(), threading.Event()

    class HeldStore(JobStore):
        def add(self, *given):
            job = super().add(*given)
            added.set()
            go_on.wait()
            return job

    async def refused(_):
        raise Unauthorized("no key")

    store = HeldStore.in_file(tmp_path / "jobs.db")
    sources = JobSources({"photos": tmp_path}, 1)
    jobs = Jobs(store, None, None, None, sources, refused, limits=Limits())
    adding = asyncio.create_task(jobs.submit("demo", {"folder": "photos"}))
    await asyncio.to_thread(added.wait)
    adding.cancel()
    await asyncio.wait([adding])
    go_on.set()
    await asyncio.to_thread(until, lambda: store.page()[0].state == "failed")
    await jobs.stop()


async def test_an_end_that_can_not_be_recorded_is_told(tmp_path, caplog):
    class Full(JobStore):
        def update(self, *_, **__):
            raise sqlite3.OperationalError("database or disk is full")

    async def refused(_):
        raise Unauthorized("no key")

    jobs = Jobs(
        Full.in_file(tmp_path / "jobs.db"),
        None,
        None,
        None,
        JobSources({"photos": tmp_path}, 1),
        refused,
        limits=Limits(),
    )
    job = await jobs.submit("demo", {"folder": "photos"})
    await asyncio.to_thread(until, lambda: not jobs.under_way)
    assert f"the end of the job {job.id} can't be recorded" in caplog.text
    await jobs.stop()


def test_a_record_queues_a_job_once(tmp_path):
    store = JobStore.in_file(tmp_path / "jobs.db")
    job = store.add("demo", {"folder": "photos"}, None)
    store.update(job.id, state="failed")
    assert [store.retry(job.id, None), store.retry(job.id, None)] == [True, False]
    store.close()


def test_a_cancelled_job_stays_so(tmp_path):
    """A thread of its work may come to the record after that."""
    store = JobStore.in_file(tmp_path / "jobs.db")
    job = store.add("demo", {"folder": "photos"}, None)
    assert store.cancel(job.id)
    for late in (lambda: store.begin_pass(job.id), lambda: store.update(job.id, state="completed")):
        with pytest.raises(JobLost):
            late()
    assert store.get(job.id).state == "cancelled"
    assert store.retry(job.id, None)
    assert store.begin_pass(job.id).state == "running"
    store.close()


def test_jobs_are_listed_a_page_at_a_time_and_without_their_urls(stack_of, tmp_path):
    """Three megabytes of URLs in the record are some hundred bytes in the list."""
    data = tmp_path / "gateway"
    data.mkdir()
    store = JobStore.in_file(data / "jobs.db")
    urls = [f"https://example.org/{n}.png" for n in range(100_000)]
    ids = [store.add("demo", {"urls": urls[: 10 ** (n + 1)]}, None).id for n in range(5)]
    for job_id in ids:
        store.update(job_id, state="completed")
    store.close()
    client = stack_of(data_dir=data).client
    listed, after = [], None
    while True:
        answer = client.get("/v1/jobs", params={"limit": 2} | ({"after": after} if after else {}))
        assert len(answer.content) < 5000
        listed += answer.json()["jobs"]
        after = answer.json()["next"]
        if after is None:
            break
    assert [job["id"] for job in listed] == ids[::-1]
    assert [job["source"].get("urls_total") for job in listed] == [100_000, 10_000, 1000, None, None]
    assert listed[-1]["source"] == {"urls": urls[:10]}
    assert client.get(f"/v1/jobs/{ids[-1]}").json()["source"] == {"urls_total": 100_000}
    assert client.get("/v1/jobs", params={"limit": 0}).status_code == 400
    assert client.get("/v1/jobs", params={"after": "none"}).json() == {"jobs": [], "next": None}


def test_members_of_a_tar_are_let_go(tmp_path):
    path = tmp_path / "many.tar"
    with tarfile.open(path, "w") as tar:
        for n in range(300):
            member = tarfile.TarInfo(f"{n:04}.png")
            member.size = 4
            tar.addfile(member, io.BytesIO(b"1234"))
    with tarfile.open(path) as tar:
        held = max(len(tar.members) for _ in members(tar))
    assert held <= 2
    assert [entry.id for entry in Webdataset(path).entries()] == [f"{n:04}" for n in range(300)]


def begin_again(stack, source):
    """The same source as a new job; its progress at the end."""
    job_id = stack.post("/v1/jobs", {"collection": "demo", "source": source}).json()["id"]
    return wait(stack, job_id)


def test_a_retry_after_tidying_goes_by_name(begin, root):
    """One bad file removed, one replaced, a new one that sorts before: nothing sound is left out."""
    for name in ("a", "c"):
        (root / f"{name}.png").write_bytes(b"bad")
    (root / "e.png").write_bytes(b"bad")
    stack, job_id = begin({"folder": "photos"})
    wait(stack, job_id)
    assert [each["id"] for each in failures(stack, job_id)["failures"]] == ["a.png", "c.png", "e.png"]
    (root / "a.png").unlink()
    (root / "c.png").write_bytes(picture("mended"))
    (root / "0.png").write_bytes(picture("new"))
    stack.torchserve.calls.clear()
    job = retried(stack, job_id)
    assert job["progress"] == progress(13, added=12, failed=1)
    assert {"0.png", "c.png"} <= set(kept(stack))
    assert [each["id"] for each in failures(stack, job_id)["failures"]] == ["e.png"]
    assert sum(len(body["input"]) for _, body in stack.torchserve.calls) == 3


def test_files_that_were_deleted_while_no_gateway_ran_shift_nothing(stack, stack_of, root):
    for n in range(10, 40):
        (root / f"{n}.png").write_bytes(picture(f"w{n}"))
    stack.torchserve.lets_pass = 3
    second = stack.post("/v1/jobs", {"collection": "demo", "source": {"folder": "photos"}}).json()["id"]
    until(lambda: stack.client.get(f"/v1/jobs/{second}").json()["progress"]["processed"] == 12)
    stack_of.stop()
    for n in range(10, 22):
        (root / f"{n}.png").unlink()  # those that are in
    stack.torchserve.lets_pass = None
    again = stack_of(ingest_roots=f"photos={root}", job_batch=4)
    job = wait(again, second)
    assert job["state"] == "completed"
    assert job["progress"] == progress(40, added=30, unchanged=10)
    assert {f"{n}.png" for n in range(10, 40)} <= set(kept(again))


def test_a_second_job_sends_what_is_new_or_changed_or_gone_from_the_collection(stack, root):
    stack.torchserve.calls.clear()
    assert begin_again(stack, {"folder": "photos"})["progress"] == progress(10, unchanged=10)
    assert stack.torchserve.calls == []
    (root / "sub" / "1.png").write_bytes(picture("other"))
    (root / "sub" / "2.txt").write_text("a caption")
    os.utime(root / "sub" / "3.png", (1, 1))  # another time, the same bytes
    stack.client.delete("/v1/collections/demo/items/sub%2F4.png")
    job = begin_again(stack, {"folder": "photos"})
    assert job["progress"] == progress(10, added=3, unchanged=7)
    assert kept(stack)["sub/2.png"]["metadata"]["caption"] == "a caption"
    assert begin_again(stack, {"folder": "photos", "force": True})["progress"] == progress(10, added=10)
    assert begin_again(stack, {"folder": "photos", "prefix": "p/"})["progress"] == progress(10, added=10)
    stack.client.delete("/v1/collections/demo")
    stack.fill("cat")
    stack.index.collections["demo"]["spec"]["created"] = "2026-01-01T00:00:00Z"
    assert begin_again(stack, {"folder": "photos"})["progress"] == progress(10, added=10)


@pytest.mark.usefixtures("stack")
def test_one_gateway_runs_the_jobs_of_a_data_folder(tmp_path):
    other = JobLock(tmp_path / "gateway" / "jobs.lock")
    with pytest.raises(Conflict, match=rf"another gateway \(process {os.getpid()} on .*CLIPSERVE_GATEWAY_DATA_DIR"):
        other.take()


def test_a_gateway_beside_another_one_says_that_it_runs_no_jobs(stack_of, root, tmp_path, caplog):
    store = JobStore.in_file(tmp_path / "gateway" / "jobs.db")
    left = store.add("demo", {"folder": "photos"}, None).id
    store.close()
    holder = JobLock(tmp_path / "gateway" / "jobs.lock")
    holder.take()
    stack = stack_of(ingest_roots=f"photos={root}", data_dir=tmp_path / "gateway")
    assert "this gateway runs no jobs: another gateway" in caplog.text
    stack.fill("cat")
    answer = stack.post("/v1/jobs", {"collection": "demo", "source": {"folder": "photos"}})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
    assert stack.client.get(f"/v1/jobs/{left}").json()["state"] == "queued"
    holder.release()  # the other one ended: this one takes over
    assert begin_again(stack, {"folder": "photos"})["state"] == "completed"
    assert wait(stack, left)["state"] == "completed"


def test_a_folder_whose_disk_is_gone_fails_the_job_and_not_its_files(begin, root):
    stack, job_id = begin({"folder": "photos/sub"})
    wait(stack, job_id)
    (root / "sub" / "bad.png").write_bytes(b"bad")
    second = begin_again(stack, {"folder": "photos/sub"})["id"]
    (root / "sub").rename(root / "elsewhere")
    job = retried(stack, second)
    assert (job["state"], job["error"]["code"]) == ("failed", "not_found")
    assert "mounted" in job["error"]["message"]
    (root / "sub").mkdir()  # an empty mount point
    job = retried(stack, second)
    assert (job["state"], job["progress"]["failed"]) == ("failed", 1)
    (root / "sub").rmdir()
    (root / "elsewhere").rename(root / "sub")
    assert retried(stack, second)["progress"] == progress(11, unchanged=10, failed=1)


def test_odd_folders(begin, root):
    (root / "folder.png").mkdir()
    (root / "folder.png" / "in.png").write_bytes(picture("in"))
    (root / "sub" / "up").symlink_to(root)
    (root / "gone.png").symlink_to(root / "nowhere.png")
    (root / "out.png").symlink_to("/etc/passwd")
    (root / "empty.png").touch()
    (root / "long.png").write_bytes(picture("long"))
    (root / "long.txt").write_text("x" * 2**20)
    os.mkfifo(root / "pipe.png")
    Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9.png")).write_bytes(picture("cafe"))
    (root / "surrogate.png").write_bytes(picture("s"))
    (root / "surrogate.json").write_text('{"a": "\\ud83d", "n": 1}')
    stack, job_id = begin({"folder": "photos"})
    job = wait(stack, job_id)
    assert job["state"] == "completed", job
    assert {each["id"]: each["reason"] for each in failures(stack, job_id)["failures"]} == {
        "empty.png": "empty file",
        "gone.png": "vanished or broken link",
        "out.png": "link leads out of the folder",
        "pipe.png": "not a file",
    }
    assert {"caf\\xe9.png", "folder.png/in.png", "long.png", "surrogate.png"} <= set(kept(stack))
    assert given(kept(stack)["surrogate.png"]) == {"file": "surrogate.png", "n": 1}
    assert job["reasons"]["noted"] == {"metadata left out: a": 1, "caption not read: long.txt": 1}


def test_notes_of_a_kind_are_counted_together_once_there_are_many(begin, root):
    for n in range(30):
        (root / f"n{n:02}.png").write_bytes(picture(f"n{n}"))
        (root / f"n{n:02}.json").write_text("no JSON")
    stack, job_id = begin({"folder": "photos"})
    noted = wait(stack, job_id)["reasons"]["noted"]
    assert noted.pop("sidecar not read") == 10
    assert (len(noted), set(noted.values())) == (20, {1})
    assert all(name.startswith("sidecar not read: n") for name in noted)


def test_files_that_vanish_while_a_job_runs_are_named(stack, root):
    stack.torchserve.lets_pass = 0
    second = stack.post("/v1/jobs", {"collection": "demo", "source": {"folder": "photos", "force": True}}).json()["id"]
    until(lambda: stack.torchserve.busy)
    (root / "sub" / "9.png").unlink()
    stack.torchserve.lets_pass = None
    assert wait(stack, second)["progress"] == progress(10, added=9, skipped=1)
    (told,) = failures(stack, second)["failures"]
    assert (told["id"], told["reason"]) == ("sub/9.png", "vanished")


def test_two_parquet_files_without_ids_keep_apart(begin, root):
    for name in ("one", "two"):
        parquet.write_table(pyarrow.table({"text": [f"{name} {n}" for n in range(3)]}), root / f"{name}.parquet")
    stack, job_id = begin({"parquet": "photos/one.parquet"})
    wait(stack, job_id)
    assert begin_again(stack, {"parquet": "photos/two.parquet"})["progress"] == progress(3, added=3)
    assert {f"{name}.parquet#{n}" for name in ("one", "two") for n in range(3)} <= set(kept(stack))
    (root / "sub" / "one.parquet").write_bytes((root / "two.parquet").read_bytes())
    job = begin_again(stack, {"parquet": "photos/sub/one.parquet"})
    assert job["reasons"]["failed"] == {"id_taken": 3}
    taken = failures(stack, job["id"])["failures"][0]["error"]["message"]
    assert "'photos/one.parquet' is in the collection" in taken
    assert taken.endswith("give another `prefix`")
    assert begin_again(stack, {"parquet": "photos/*.parquet"})["progress"] == progress(6, unchanged=6)


def test_callers_see_no_paths_of_the_server(tmp_path):
    sources = JobSources({"photos": tmp_path}, 1)
    assert sources.shown(str(tmp_path / "a" / "b.png")) == "photos/a/b.png"
    assert sources.shown("/srv/of-another-root/b.png") == "b.png"
    error = SourceError(f"{tmp_path}/list.txt can't be read")
    error.__cause__ = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "list.txt"))
    with pytest.raises(BadInput) as caught, told("photos/list.txt", "url_list"):
        raise error
    assert caught.value.message == "'photos/list.txt' can't be read to its end: Permission denied"


def test_the_first_of_an_id_counts_and_the_others_are_named(begin, root):
    ids = ["k1", "k1", "k2", "k1", "k3"]
    table = pyarrow.table({"id": ids, "text": [f"text {n}" for n in range(5)], "n": list(range(5))})
    parquet.write_table(table, root / "t.parquet")
    stack, job_id = begin({"parquet": "photos/t.parquet"}, job_batch=2)
    job = wait(stack, job_id)
    assert job["progress"] == progress(5, added=3, failed=2)
    assert [given(kept(stack)[name])["n"] for name in ("k1", "k2", "k3")] == [0, 2, 4]
    assert [(each["id"], each["reason"]) for each in failures(stack, job_id)["failures"]] == [
        ("k1", "duplicate_id")
    ] * 2
    assert retried(stack, job_id)["progress"] == progress(5, added=3, failed=2)


def test_a_damaged_tar_goes_on_once_it_is_whole(begin, root):
    with tarfile.open(root / "a.tar", "w") as tar:
        for n in range(9):
            add(tar, f"{n}.png", picture(f"tar{n}"))
    whole = (root / "a.tar").read_bytes()
    (root / "a.tar").write_bytes(whole[: 1024 * 6 + 100])
    stack, job_id = begin({"webdataset": "photos/a.tar"}, job_batch=2)
    job = wait(stack, job_id)
    assert (job["state"], job["error"]["code"], job["error"]["param"]) == ("failed", "bad_input", "source.webdataset")
    assert "photos/a.tar" in job["error"]["message"]
    assert job["progress"] == progress(None, processed=5, added=5)
    again = begin_again(stack, {"webdataset": "photos/a.tar"})
    assert again["progress"] == progress(None, processed=5, unchanged=5)
    (root / "a.tar").write_bytes(whole)
    assert retried(stack, job_id)["progress"] == progress(9, added=9)


def test_a_list_of_many_urls_is_not_held_by_its_job(tmp_path):
    store = JobStore.in_file(tmp_path / "jobs.db")
    urls = [f"https://example.org/{n}.png" for n in range(20_000)]
    job = store.add("demo", {"urls": [*urls, {"url": "https://example.org/x", "id": "x"}]}, None)
    assert orjson.loads(job.source) == {"urls_total": 20_001}
    tracemalloc.start()
    assert sum(1 for _ in store.urls(job.id)) == 20_001
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    store.close()
    assert peak < 1_000_000  # one list of them has more than 2,000,000 bytes


@pytest.mark.parametrize("mode", ["thumbnails", "in_place"])
def test_pictures_of_a_folder_are_shown_from_there(begin, root, tmp_path, mode):
    (tmp_path / "out.png").write_bytes(picture("w0"))
    Image.new("RGB", (60, 40), "red").save(root / "sub" / "a.png")
    stack, job_id = begin({"folder": "photos/sub", "prefix": "p/"}, pictures=mode, pictures_min_free_bytes=0)
    assert wait(stack, job_id)["state"] == "completed"
    items = "/v1/collections/demo/items"
    assert stack.client.get(f"{items}/p%2Fa.png/picture").content == (root / "sub" / "a.png").read_bytes()
    assert stack.client.get(f"{items}/p%2Fa.png/thumbnail").status_code == 200
    (root / "sub" / "link.png").symlink_to(tmp_path / "out.png")
    for item_id, file in (("p/link", "link.png"), ("p/up", "../../out.png"), ("a.png", "a.png")):
        item = {"id": item_id, "vector": [1.0] * 16, "metadata": {"file": file}}
        assert stack.post(items, {"items": [item]}).json()["results"][0]["status"] == 200
        answer = stack.client.get(f"{items}/{item_id.replace('/', '%2F')}/picture")
        assert answer.json()["error"]["code"] == "picture_not_found"


def test_a_job_whose_ids_are_taken_shows_nothing_of_its_folder(begin, root):
    for folder, colour in (("a", "red"), ("b", "blue")):
        (root / folder).mkdir()
        Image.new("RGB", (60, 40), colour).save(root / folder / "x.png")
    stack, job_id = begin({"folder": "photos/a"})
    wait(stack, job_id)
    other = begin_again(stack, {"folder": "photos/b"})
    assert other["reasons"]["failed"] == {"id_taken": 1}
    assert json.loads((root.parent / "gateway" / "folders.json").read_text()) == {
        "demo": [{"prefix": "", "folder": str(root / "a")}]
    }
    Image.new("RGB", (60, 40), "green").save(root / "b" / "y.png")
    assert begin_again(stack, {"folder": "photos/b"})["progress"] == progress(2, added=1, failed=1)
    for name, folder in (("x.png", "a"), ("y.png", "b")):
        shown = stack.client.get(f"/v1/collections/demo/items/{name}/picture").content
        assert shown == (root / folder / name).read_bytes()


def test_a_folder_that_can_not_be_noted_fails_no_job(begin, tmp_path, caplog):
    (tmp_path / "gateway" / "folders.json").mkdir(parents=True)
    stack, job_id = begin({"folder": "photos"})
    assert wait(stack, job_id)["progress"] == progress(10, added=10)
    assert "not shown from their folder" in caplog.text
