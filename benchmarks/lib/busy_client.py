"""A client that writes to a collection and searches it all the time, while something happens to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.lib.repeating import repeating
from clip_core.wire import FloatArray, encode_vector

Call = Callable[[str, str, Any], Any]  # method, path, body → the answer's JSON; raises for what is no success


@contextmanager
def busy_client(call: Call, collection: str, vectors: FloatArray) -> Iterator[BusyClient]:
    """Around a block."""
    client = BusyClient(call, collection, vectors)
    with repeating(client.write_and_search, pause_s=0.02):
        yield client


class BusyClient:
    """The items `w00000`, `w00001`… get vectors of `vectors` (N, D) in turn."""

    def __init__(self, call: Call, collection: str, vectors: FloatArray) -> None:
        self._call, self._collection, self._vectors = call, collection, vectors
        self.calls, self.failures, self.acknowledged = 0, list[str](), list[str]()
        self._written = 0

    def write_and_search(self) -> None:
        n = self._written
        id_, vector = f"w{n:05}", encode_vector(self._vectors[n % len(self._vectors)])
        item = {"id": id_, "vector": vector, "metadata": {"n": n}}
        if self._works(f"/collections/{self._collection}/items", {"items": [item]}):
            self.acknowledged.append(id_)
        self._works("/search", {"searches": [{"collection": self._collection, "vector": vector, "k": 3}]})
        self._written += 1

    def _works(self, path: str, body: Any) -> bool:
        self.calls += 1
        try:
            (result,) = self._call("POST", path, body)["results"]
            if result["status"] != 200:
                raise RuntimeError(result)
        except Exception as error:  # whatever it is, it failed
            self.failures.append(repr(error))
            return False
        return True
