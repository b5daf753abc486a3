"""A job is the work of the key that asked for it: what that key may do, a batch at a time, also after a restart."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

from gateway.jobs.store import JobStore, total
from gateway.keys.api_key import KeyLimits
from gateway.keys.key_store import KeyStore
from tests.gateway.fakes import picture
from tests.waiting import until

OLD_SCHEMA = """CREATE TABLE jobs (
    id TEXT PRIMARY KEY, collection TEXT NOT NULL, source TEXT NOT NULL, state TEXT NOT NULL, total INTEGER,
    position INTEGER NOT NULL, added INTEGER NOT NULL, seconds REAL NOT NULL, message TEXT, error TEXT,
    created TEXT NOT NULL, finished TEXT
) STRICT"""
OLD_JOB = "INSERT INTO jobs VALUES ('j', 'demo', '{}', 'running', NULL, 4, 4, 1.0, NULL, NULL, '2026-01-01', NULL)"


class Filling:
    """A gateway with keys, a folder of twenty pictures, and a job of the narrow key `filler` on them."""

    def __init__(self, stack_of, folder: Path, **limits: int) -> None:
        (folder / "photos").mkdir()
        for n in range(20):
            (folder / "photos" / f"{n:02}.png").write_bytes(picture(f"w{n}"))
        self.store = KeyStore(folder / "keys.db")
        admin, _ = self.store.create("admin", ("admin",))
        self.secret, self.key = self.store.create(
            "filler", ("write",), collections=("demo",), limits=KeyLimits(**limits)
        )
        self.admin, self.own = {"X-API-Key": admin}, {"X-API-Key": self.secret}
        self._stack_of = stack_of
        self._settings = {"keys_file": self.store.path, "ingest_roots": f"photos={folder / 'photos'}", "job_batch": 4}
        self.stack = stack_of(**self._settings)
        assert self.stack.client.put("/v1/collections/demo", json={}, headers=self.admin).status_code == 201

    def begin(self) -> str:
        wanted = {"collection": "demo", "source": {"folder": "photos"}}
        answer = self.stack.post("/v1/jobs", wanted, headers=self.own)
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def restart(self) -> None:
        self.stack = self._stack_of(**self._settings)

    def job(self, job_id: str) -> dict:
        return self.stack.client.get(f"/v1/jobs/{job_id}", headers=self.admin).json()

    def until_waiting(self, job_id: str, processed: int) -> str:
        """For more of its limit, with so many dealt with; the reason."""
        until(lambda: self.job(job_id)["progress"]["processed"] == processed and self.job(job_id)["message"])
        return self.job(job_id)["message"]


@pytest.fixture
def filling(stack_of, tmp_path):
    return lambda **limits: Filling(stack_of, tmp_path, **limits)


def test_a_revoked_key_stops_its_job_and_another_may_go_on(filling):
    given = filling()
    given.stack.torchserve.lets_pass = 1
    job_id = given.begin()
    until(lambda: given.job(job_id)["progress"]["processed"] == 4)
    given.store.revoke(given.key.id)
    until(lambda: given.stack.client.get("/v1/jobs", headers=given.own).status_code == 401)
    given.stack.torchserve.lets_pass = None
    until(lambda: given.job(job_id)["state"] == "failed")
    job = given.job(job_id)
    assert job["error"]["code"] == "invalid_api_key"
    assert job["error"]["message"] == f"the API key {given.key.id} is revoked"
    assert job["progress"]["processed"] == 8  # the batch that was under way
    assert given.stack.client.post(f"/v1/jobs/{job_id}/retry", headers=given.admin).status_code == 202
    until(lambda: given.job(job_id)["state"] == "completed")
    assert given.job(job_id)["progress"]["added"] == 20


def test_a_key_revoked_while_the_gateway_was_down(filling, stack_of):
    given = filling()
    given.stack.torchserve.lets_pass = 1
    job_id = given.begin()
    until(lambda: given.job(job_id)["progress"]["processed"] == 4)
    stack_of.stop()
    given.store.revoke(given.key.id)
    given.stack.torchserve.lets_pass = None
    given.stack.torchserve.calls.clear()
    given.restart()
    until(lambda: given.job(job_id)["state"] == "failed")
    assert given.job(job_id)["error"]["code"] == "invalid_api_key"
    assert given.stack.torchserve.calls == []


def test_the_limits_of_the_key_hold_before_and_after_a_restart(filling, stack_of):
    until(lambda: time.time() % 60 < 50)  # windows begin with the clock's minutes
    given = filling(items_per_minute=8)
    job_id = given.begin()
    assert "8 items a minute" in given.until_waiting(job_id, processed=8)
    stack_of.stop()
    given.restart()
    assert "8 items a minute" in given.until_waiting(job_id, processed=16)  # what a gateway counts ends with it


def test_a_record_without_keys_is_read_on(tmp_path):
    with sqlite3.connect(tmp_path / "jobs.db") as old:
        old.execute(OLD_SCHEMA)
        old.execute(OLD_JOB)
    old.close()
    store = JobStore.in_file(tmp_path / "jobs.db")
    assert (store.get("j").key, total(store.counts("j"))) == (None, 4)
    assert store.begin_pass("j").pass_ == 1  # it begins again from the start, and counts nothing twice
    store.recount("j")
    assert total(store.counts("j")) == 0
    store.update("j", state="failed")
    assert store.retry("j", "someone")
    assert store.get("j").key == "someone"
    store.close()
