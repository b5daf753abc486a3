"""`python index_service/building`: a builder. Python looks for modules in this folder first, not in the current one."""

from __future__ import annotations

from index_service.segments.builder_processes import run

if __name__ == "__main__":
    run()
