"""Apps of this process, on free ports of loopback; tests serve theirs by it, too."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn


@contextmanager
def serving(app: Any, lifespan: Any = "off", http: Any = "auto") -> Iterator[str]:
    """Yields the URL of an ASGI app, served by a thread. `http` is uvicorn's protocol."""
    listening = socket.create_server(("127.0.0.1", 0))
    common: dict[str, Any] = {"log_config": None, "access_log": False, "timeout_graceful_shutdown": 1}
    config = uvicorn.Config(app, lifespan=lifespan, http=http, **common)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()
