"""Idle threads of OpenMP and OpenBLAS sleep, which must be said before FAISS and numpy are loaded.

By default they spin for some milliseconds after every search, on cores that the next request, its sender and the rest
of the machine are waiting for (docs/decisions/030). Import this first, in the index service's own process alone: the
environment is inherited, and TorchServe's workers are faster with threads that wait awake (docs/decisions/128).
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "16")  # 2^16 cycles, some 25 µs, instead of 2^26
