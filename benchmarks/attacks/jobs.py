"""A list of background jobs that is large."""

from __future__ import annotations

import orjson

from benchmarks.attacks.base import Attack, crowd

URLS, JOBS = 100_000, 3


class JobList(Attack):
    """Four clients who list jobs, each of which names 100,000 URLs (of a port that nothing listens on)."""

    name = "lists of jobs with 100,000 URLs"

    async def prepare(self) -> None:
        await self.site.collection("attack-jobs")
        path = f"http://127.0.0.1:{self.site.target.closed_port}/{'p' * 200}"
        urls = [f"{path}/{n}.png" for n in range(URLS)]
        body = orjson.dumps({"collection": "attack-jobs", "source": {"urls": urls}})
        answers = [await self.site.public("POST", "/v1/jobs", body, "begin") for _ in range(JOBS)]
        self._jobs = [orjson.loads(content)["id"] for status, content in answers if status == 202]

    async def run(self) -> None:
        await crowd(4, lambda: self.site.public("GET", "/v1/jobs", label="list"))

    async def clean(self) -> None:
        for job in self._jobs:
            await self.site.public("DELETE", f"/v1/jobs/{job}", label="cancel")
