"""Writers share a commit; each gets its own outcome."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from clip_core.errors import Unavailable
from index_service.record.group_commit import GroupCommit
from tests.waiting import until

WRITERS = 16


class Disk:
    """Commits slowly; `BAD` parts fail, and with them the whole group."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.kept: list[int] = []

    def commit(self, parts: Sequence[int]) -> None:
        self.groups.append(list(parts))
        time.sleep(0.05)
        if any(part < 0 for part in parts):
            raise ValueError(parts)
        self.kept += parts


def written(commit: GroupCommit[int], parts: Sequence[int]) -> list[BaseException | None]:
    """What each of the parts, written at once, raised."""

    def write(part: int) -> BaseException | None:
        try:
            commit.write(part)
        except ValueError as error:
            return error
        return None

    with ThreadPoolExecutor(len(parts)) as pool:
        return list(pool.map(write, parts))


def test_writers_that_wait_are_committed_together() -> None:
    disk, lock = Disk(), threading.Lock()
    assert written(GroupCommit(lock, disk.commit), range(WRITERS)) == [None] * WRITERS
    assert sorted(disk.kept) == list(range(WRITERS))
    assert len(disk.groups) < WRITERS / 2


def test_one_that_fails_fails_alone() -> None:
    disk, lock = Disk(), threading.Lock()
    commit = GroupCommit(lock, disk.commit)
    with lock:  # so that all of them wait
        threads = ThreadPoolExecutor(1)
        outcome = threads.submit(written, commit, [1, -2, 3])
        while len(commit._waiting) < 3:
            time.sleep(0.001)
    failures = outcome.result()
    threads.shutdown()
    assert [type(failure) for failure in failures] == [type(None), ValueError, type(None)]
    assert failures[1] is not None
    assert failures[1].args == ([-2],)
    assert sorted(disk.kept) == [1, 3]
    assert sorted(disk.groups[0]) == [-2, 1, 3]


def test_the_order_is_that_of_coming() -> None:
    disk, lock = Disk(), threading.Lock()
    commit = GroupCommit(lock, disk.commit)
    with ThreadPoolExecutor(3) as pool, lock:
        for part in range(3):
            pool.submit(commit.write, part)
            while len(commit._waiting) <= part:
                time.sleep(0.001)
    assert disk.groups == [[0, 1, 2]]


def test_alone_it_raises_what_the_commit_raised() -> None:
    disk = Disk()
    with pytest.raises(ValueError, match="-1"):
        GroupCommit(threading.Lock(), disk.commit).write(-1)
    assert disk.groups == [[-1]]


class Ended(BaseException):
    """What ends a thread."""


def test_a_writer_whose_group_was_cut_short_is_not_told_that_it_wrote() -> None:
    lock = threading.Lock()

    def commit(_: Sequence[int]) -> None:
        raise Ended

    group = GroupCommit[int](lock, commit)
    with ThreadPoolExecutor(2) as pool:
        with lock:
            writes = [pool.submit(group.write, part) for part in (1, 2)]
            until(lambda: len(group._waiting) == 2)
        failures = [type(write.exception()) for write in writes]
    assert set(failures) == {Ended, Unavailable}
