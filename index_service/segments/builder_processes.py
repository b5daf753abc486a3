"""A main segment written by a process of its own, with the lowest priority and one pipe from its parent.

Searches need the interpreter's lock, both cores and the memory that copying and training would take from them; a
process that is nice leaves them all three, and what it allocated ends with it. It writes the draft's files, which the
service then maps and loads as it does after a restart. When the parent dies the pipe closes, and the builder ends
before it could write into the draft of the next one.
"""

from __future__ import annotations

import os
import pickle
import select
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from clip_core.wire import FloatArray
from index_service.engines.base import Backend, BuildCancelled, Segment
from index_service.engines.exact.segment import ExactBackend
from index_service.metadata.columns import RowBlock
from index_service.segments.merge_job import MergeJob

_LOOK_S = 0.1
_NICE = 19
_MOST_OUTPUT = 4096
_BUILDING = Path(__file__).resolve().parent.parent / "building"
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")  # FAISS's and numpy's: the latter would take every core


@runtime_checkable
class Loads(Protocol):
    """A backend whose segments can be saved, and loaded by another process; `apart`: built by one too."""

    apart: bool

    def load(self, path: Path, vectors: FloatArray) -> Segment:
        """The segment of `vectors` (N, D) that was saved at `path`."""
        ...


def takes(backend: Backend) -> bool:
    """Whether a builder can build its segments."""
    return isinstance(backend, ExactBackend) or (isinstance(backend, Loads) and backend.apart)


def run_in_subprocess(job: MergeJob, cancelled: Callable[[], bool], threads: int = 1) -> tuple[Segment, RowBlock]:
    """`job.run()` in a process of its own, for a backend that it `takes`; the segment is loaded from the draft.

    It computes in so many `threads`. Raises BuildCancelled soon after `cancelled()` turns true, RuntimeError when the
    process fails.
    """
    settings = [f"{name}={threads}" for name in _THREADS]
    command = ["env", *settings, sys.executable, str(_BUILDING)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            failure = _awaited(process, pickle.dumps(job), cancelled)
        finally:
            process.kill()
    if process.returncode:
        raise RuntimeError(f"the builder ended with {process.returncode}: {failure.decode(errors='replace')}")
    block = job.draft.mapped()
    return _loaded(job.backend, job.draft.engine_file, block.vectors), block


def _loaded(backend: Backend, engine: Path, vectors: FloatArray) -> Segment:
    """A backend leaves no file where there are too few rows for it."""
    if isinstance(backend, Loads) and engine.exists():
        return backend.load(engine, vectors)
    return ExactBackend(backend.metric).build(vectors)


def _awaited(process: subprocess.Popen[bytes], job: bytes, cancelled: Callable[[], bool]) -> bytes:
    """What the process wrote until it ended, which is why it failed; its input is left open until then."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):  # it never began: its exit code says so
        process.stdin.write(len(job).to_bytes(8, "little") + job)
        process.stdin.flush()
    wrote, output = b"", process.stdout.fileno()
    while True:
        if cancelled():
            raise BuildCancelled
        if select.select([output], [], [], _LOOK_S)[0]:
            if not (more := os.read(output, _MOST_OUTPUT)):
                process.wait()
                return wrote
            wrote = (wrote + more)[-_MOST_OUTPUT:]


def main() -> int:
    """The exit code; the job comes over standard input, which then stays open for as long as the parent lives."""
    os.nice(_NICE)
    pipe = sys.stdin.buffer
    job: MergeJob = pickle.loads(pipe.read(int.from_bytes(pipe.read(8), "little")))
    threading.Thread(target=_end_with_parent, args=(pipe,), daemon=True).start()
    try:
        job.run()
    except Exception as error:  # the parent logs it
        print(repr(error)[:500])
        return 1
    return 0


def _end_with_parent(pipe: Any) -> None:
    pipe.read(1)
    os._exit(1)


def run() -> None:
    """`main` as a whole process, without a return."""
    code = main()
    sys.stdout.flush()
    os._exit(code)  # a thread still reads standard input, which the interpreter would wait for


if __name__ == "__main__":
    run()
