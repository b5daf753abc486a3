"""The search over an endpoint's settings, on machines whose answers are formulas."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from clip_core.cores import available_cores, share
from clip_core.endpoint_config import EndpointConfig
from scripts.tune.choices import Choice, Trial, pick, search, splits
from scripts.tune.requests import requests
from scripts.tune.tuner import write

START = Choice(workers=1, threads=1, batch_size=8, delay_ms=2)


def machine(choice: Choice) -> Trial:
    """Fastest with two workers of one thread, batches of 16 and a delay of 5; p99 grows with the batch."""
    rate = 100 * choice.workers * choice.threads * (1.1 if choice.workers == 2 else 1.0)
    rate *= {1: 0.4, 4: 0.7, 8: 0.9, 16: 1.0, 32: 0.95}[choice.batch_size] * (1 + choice.delay_ms / 50)
    return Trial(choice, rate, 10.0 * choice.batch_size, choice.delay_ms + 5.0, 0)


def test_the_best_settings_are_found_and_nothing_is_measured_twice() -> None:
    trials = list(search(START, 2, machine, 1000.0))
    assert pick(trials, 1000.0).choice == Choice(2, 1, 16, 5)
    assert len({trial.choice for trial in trials}) == len(trials) <= 11


def test_a_limit_on_p99_is_kept() -> None:
    trials = list(search(START, 2, machine, 90.0))
    assert pick(trials, 90.0).choice.batch_size == 8


def test_without_any_within_the_limit_the_lowest_p99_wins() -> None:
    assert pick(list(search(START, 2, machine, 1.0)), 1.0).choice.batch_size == 1


def test_equal_throughputs_go_to_the_lower_lone_latency_and_errors_to_nobody() -> None:
    fast = Trial(START, 100.0, 10.0, 9.0, 0)
    prompt = Trial(Choice(1, 1, 1, 1), 98.0, 10.0, 2.0, 0)
    broken = Trial(Choice(2, 1, 1, 1), 900.0, 1.0, 1.0, 3)
    assert pick([fast, prompt, broken], 50.0) is prompt


@pytest.mark.parametrize("cores", [1, 2, 6, 16])
def test_cores_are_divided_without_a_rest_or_excess(cores: int) -> None:
    assert {workers * threads for workers, threads in splits(cores)} == {cores}
    assert (1, cores) in splits(cores)
    assert (cores, 1) in splits(cores)


def test_the_winner_is_written_over_the_common_settings_and_keeps_other_keys(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    path = tmp_path / "m" / "text.yaml"
    path.write_text("cache_bytes: 7\nbatchSize: 2\n")
    trial = Trial(Choice(2, 1, 16, 5, 8), 1.0, 1.0, 1.0, 0)
    assert write("m", "text", trial, tmp_path) == path
    assert yaml.safe_load(path.read_text()) == {
        "cache_bytes": 7,
        "minWorkers": 2,
        "maxWorkers": 2,
        "threads": 1,
        "maxBatchDelay": 5,
        "max_batch": 8,
    }


@pytest.mark.parametrize("kind", ["text", "image", "multimodal"])
def test_requests_have_one_item_of_the_kind(kind: str) -> None:
    bodies = requests(kind)
    kinds = {next(iter(body["input"])) for body in bodies}
    assert kinds == ({"text", "image"} if kind == "multimodal" else {kind})
    assert len({str(body) for body in bodies}) == len(bodies) >= 64


# Threads


@pytest.mark.parametrize(("cores", "workers", "threads"), [(8, 2, 4), (8, 3, 2), (2, 5, 1), (4, None, 4)])
def test_threads_of_0_are_the_cores_divided_among_the_workers(cores: int, workers: int | None, threads: int) -> None:
    assert share(cores, workers) == threads


def test_a_container_has_its_quota_of_cores(tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text("100000 100000\n")
    assert available_cores(quota) == 1
    for text in ("max 100000\n", ""):
        quota.write_text(text)
        assert available_cores(quota) == available_cores(tmp_path / "missing") >= 1
    config = EndpointConfig.parse({"threads": 0, "maxWorkers": 1})
    assert config.threads == available_cores()
