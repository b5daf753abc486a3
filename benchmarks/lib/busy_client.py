"""A client that writes to a collection and searches it all the time, while something happens to it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from clip_core.wire import FloatArray, encode_vector

Call = Callable[[str, str, Any], Any]  # method, path, body → the answer's JSON; raises for what is no success


class BusyClient:
    """A context manager; the items `w00000`, `w00001`… get vectors of `vectors` (N, D) in turn."""

    def __init__(self, call: Call, collection: str, vectors: FloatArray, pause_s: float = 0.02) -> None:
        self._call, self._collection, self._vectors, self._pause_s = call, collection, vectors, pause_s
        self.calls, self.failures, self.acknowledged = 0, list[str](), list[str]()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> BusyClient:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        n = 0
        while not self._stopped.wait(self._pause_s):
            id_, vector = f"w{n:05}", encode_vector(self._vectors[n % len(self._vectors)])
            item = {"id": id_, "vector": vector, "metadata": {"n": n}}
            if self._works(f"/collections/{self._collection}/items", {"items": [item]}):
                self.acknowledged.append(id_)
            self._works("/search", {"searches": [{"collection": self._collection, "vector": vector, "k": 3}]})
            n += 1

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
