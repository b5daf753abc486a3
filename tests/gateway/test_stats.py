"""What /v1/stats tells the page's live panel."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from gateway.keys.scopes import scope_of
from tests.waiting import until

WORKERS = """# TYPE clipserve_batches counter
clipserve_batches{ModelName="clip_text",Hostname="a",} 5.0
# TYPE clipserve_batch_requests counter
clipserve_batch_requests{ModelName="clip_text",Hostname="a",} 12.0
# TYPE clipserve_pass_items counter
clipserve_pass_items{ModelName="clip_text",Kind="text",Hostname="a",} 30.0
clipserve_pass_items{ModelName="clip_image",Kind="image",Hostname="a",} 10.0
# TYPE clipserve_pass_capacity counter
clipserve_pass_capacity{ModelName="clip_text",Kind="text",Hostname="a",} 80.0
# TYPE clipserve_cache_hits counter
clipserve_cache_hits{ModelName="clip_text",Hostname="a",} 7.0
# TYPE clipserve_cache_bytes gauge
clipserve_cache_bytes{ModelName="clip_text",WorkerName="W-9000",Hostname="a",} 2048.0
# TYPE clipserve_caption_rows gauge
clipserve_caption_rows{ModelName="clip_caption",WorkerName="W-9001",Hostname="a",} 12.0
# TYPE clipserve_caption_waiting gauge
clipserve_caption_waiting{ModelName="clip_caption",WorkerName="W-9001",Hostname="a",} 3.0
# TYPE clipserve_caption_cache_bytes gauge
clipserve_caption_cache_bytes{ModelName="clip_caption",WorkerName="W-9001",Hostname="a",} 4096.0
"""


def stats(stack):
    answer = stack.client.get("/v1/stats")
    assert answer.status_code == 200
    return answer.json()


def test_requests_and_latency_are_counted(stack_of):
    stack = stack_of()
    before = stats(stack)
    assert before["requests"] == {"total": 0, "errors": 0, "in_flight": 0}
    stack.fill("a", "b")
    stack.client.get("/ui/app.js")
    stack.index.down = True
    assert stack.client.get("/v1/collections").status_code == 503
    after = stats(stack)
    assert after["requests"] == {"total": 3, "errors": 1, "in_flight": 0}
    counts = after["latency"]["counts"]
    assert counts == sorted(counts)
    assert counts[-1] == 3
    assert len(counts) == len(after["latency"]["bounds_s"]) + 1


def test_every_dialect_counts_and_no_probe(stack_of):
    stack = stack_of()
    infer = {"inputs": [{"name": "TEXT", "shape": [1], "datatype": "BYTES", "data": ["a"]}]}
    assert stack.post("/embeddings", {"input": "a"}).is_success
    assert stack.post("/v2/embed", {"texts": ["a"], "input_type": "search_query"}).is_success
    assert stack.post("/v2/models/demo/infer", infer).is_success
    stack.index.down = True
    for path in ("/v1/health", "/v2/health/live", "/v2/health/ready", "/v2/models/demo/ready", "/readyz", "/ui/app.js"):
        stack.client.get(path)
    until(lambda: 'route="/ui/{path:path}"' in stack.client.get("/metrics").text)
    after = stats(stack)
    assert after["requests"] == {"total": 3, "errors": 0, "in_flight": 0}
    assert after["latency"]["counts"][-1] == 3


def test_a_slow_call_that_adds_items_says_where_its_time_went(stack_of):
    stack = stack_of()
    stack.fill("a")
    added = "/v1/collections/{name}/items"

    def slow():
        told = stack.client.get("/v1/stats/slow").json()["requests"]
        return next((each["stages"] for each in told if each["route"] == added), None)

    assert {"encode", "store"} <= until(slow).keys()


def test_what_the_workers_report_is_summed(stack):
    stack.torchserve.metrics = WORKERS
    answer = stats(stack)
    assert answer["batches"] == {"batches": 5, "requests": 12, "items": 40, "capacity": 80}
    assert answer["cache"] == {"hits": 7, "misses": 0, "bytes": 2048}
    assert answer["captions"] == {"rows": 12, "waiting": 3, "cache_bytes": 4096}


def test_what_nobody_reports_is_null(stack_of):
    answer = stats(stack_of(metrics_url="http://127.0.0.1:9", management_url="http://127.0.0.1:9"))
    assert (answer["batches"], answer["cache"], answer["memory"]["workers_bytes"]) == (None, None, None)
    assert answer["memory"]["gateway_bytes"] > 1e6


def test_metrics_that_are_none_are_no_failure(stack):
    stack.torchserve.metrics = "<html>{not} metrics"
    assert stats(stack)["batches"] is None


def test_metrics_that_break_off_are_no_failure(stack):
    for end in range(0, len(WORKERS), 5):
        stack.torchserve.metrics = WORKERS[:end]
        stats(stack)


def test_only_a_worker_of_torchserve_is_measured(stack, tmp_path):
    stack.torchserve.worker_pid = os.getpid()
    assert stats(stack)["memory"]["workers_bytes"] is None
    script = tmp_path / "model_service_worker.py"
    script.write_text("input()")
    with subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE) as worker:
        stack.torchserve.worker_pid = worker.pid
        assert stats(stack)["memory"]["workers_bytes"] > 1e6
        worker.communicate(b"\n")


def test_the_gateway_profiles_itself(stack):
    answer = stack.client.post("/v1/stats/profile", params={"seconds": 1, "memory": "true"})
    assert answer.status_code == 200
    assert {"seconds", "cpu_ms", "stacks", "timeline", "memory"} == set(answer.json())
    assert scope_of("POST", "/v1/stats/profile") == scope_of("GET", "/v1/stats/profile") == "admin"


@pytest.mark.parametrize(
    "query", ["seconds=0", "seconds=21", "seconds=1000000000", "seconds=x", "deep=true", "memory=7"]
)
def test_a_profile_that_can_not_be_is_refused(stack, query):
    answer = stack.client.post(f"/v1/stats/profile?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] in ("bad_input", "invalid_request")
