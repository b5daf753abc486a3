"""OpenMP's idle threads sleep, which must be said before FAISS is loaded.

By default they spin for some milliseconds after every search, on cores that the next request, its sender and the rest
of the machine are waiting for (docs/decisions/030).
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
