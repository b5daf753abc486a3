"""Building a main segment's index in a process of its own, with the lowest priority and one pipe from its parent.

Searches need the interpreter's lock, both cores and the memory that training would take from them; a process that is
nice leaves them all three, and what it allocated ends with it. It reads the draft's vectors and writes the draft's
engine file, which the service then loads as it does after a restart. When the parent dies the pipe closes, and the
builder ends before it could write into the draft of the next one.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from clip_core.wire import FloatArray
from index_service.engines.base import Backend, BuildCancelled, Segment
from index_service.engines.exact.segment import ExactBackend

_LOOK_S = 0.1
_NICE = 19
_BUILDING = Path(__file__).resolve().parent.parent / "building"
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")  # FAISS's and numpy's: the latter would take every core


@runtime_checkable
class Loads(Protocol):
    """A backend whose segments can be saved, and loaded by another process; `apart`: built by one too."""

    apart: bool

    def load(self, path: Path, vectors: FloatArray) -> Segment:
        """The segment of `vectors` (N, D) that was saved at `path`."""
        ...


def build_apart(
    backend: Backend, vectors: FloatArray, source: Path, engine: Path, cancelled: Callable[[], bool], threads: int = 1
) -> Segment:
    """`backend.build(vectors)` in a process of its own; the rows of `vectors` (N, D) are what the file `source` holds.

    The index is left in the file `engine`. A backend that isn't `apart` builds here. Raises BuildCancelled soon
    after `cancelled()` turns true, RuntimeError when the process fails. It computes in so many `threads`.
    """
    if not isinstance(backend, Loads) or not backend.apart:
        return backend.build(vectors, cancelled)
    job = pickle.dumps((backend, vectors.shape, str(source), str(engine)))
    settings = [f"{name}={threads}" for name in _THREADS]
    command = ["env", *settings, sys.executable, str(_BUILDING)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            failure = _awaited(process, job, cancelled)
        finally:
            process.kill()
    if process.returncode:
        raise RuntimeError(f"the builder ended with {process.returncode}: {failure.decode(errors='replace')}")
    return backend.load(engine, vectors) if engine.exists() else ExactBackend(backend.metric).build(vectors)


def _awaited(process: subprocess.Popen[bytes], job: bytes, cancelled: Callable[[], bool]) -> bytes:
    """What the process wrote, which is why it failed; its end is awaited with its input left open."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):  # it never began: its exit code says so
        process.stdin.write(len(job).to_bytes(8, "little") + job)
        process.stdin.flush()
    while not _ended(process):
        if cancelled():
            raise BuildCancelled
    return process.stdout.read()


def _ended(process: subprocess.Popen[bytes]) -> bool:
    with suppress(subprocess.TimeoutExpired):
        process.wait(_LOOK_S)
    return process.returncode is not None


def main() -> int:
    """The exit code; the job comes over standard input, which then stays open for as long as the parent lives."""
    os.nice(_NICE)
    pipe = sys.stdin.buffer
    backend, shape, source, engine = pickle.loads(pipe.read(int.from_bytes(pipe.read(8), "little")))
    threading.Thread(target=_end_with_parent, args=(pipe,), daemon=True).start()
    try:
        _build(backend, shape, Path(source), Path(engine))
    except Exception as error:  # the parent logs it
        print(repr(error)[:500])
        return 1
    return 0


def _build(backend: Backend, shape: tuple[int, int], source: Path, engine: Path) -> None:
    segment = backend.build(np.memmap(source, "<f4", "r", shape=shape))
    save: Callable[[Path], None] | None = getattr(segment, "save", None)
    if save is not None:
        save(engine)


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
