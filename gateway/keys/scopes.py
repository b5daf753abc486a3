"""Which scope a call needs, and which collection its path names. What is not listed needs `admin`."""

from __future__ import annotations

import re

_READS = ("GET", "HEAD", "OPTIONS")
_RULES: tuple[tuple[str, str | None, str | None], ...] = (  # path, scope to read, scope for anything else
    ("/v1/models", None, "admin"),
    ("/models", None, "admin"),
    ("/v1/stats/slow", "admin", "admin"),
    ("/v1/stats/profile", "admin", "admin"),
    ("/v1/stats/history", "admin", "admin"),
    ("/v1/stats/scaling", "admin", "admin"),
    ("/v1/stats", None, "admin"),
    ("/v1/embeddings", "embed", "embed"),
    ("/embeddings", "embed", "embed"),
    ("/v1/multimodalembeddings", "embed", "embed"),
    ("/v2/embed", "embed", "embed"),
    ("/v2/models", None, "embed"),
    ("/v2", None, "admin"),
    ("/v1/captions", "embed", "embed"),
    ("/v1/classify", "embed", "embed"),
    ("/v1/rank", "embed", "embed"),
    ("/v1/search", "search", "search"),
    ("/v1/ask", "search", "search"),
    ("/v1/chat/completions", "embed", "embed"),
    ("/v1/responses", "embed", "embed"),
    ("/images", "search", "admin"),
    ("/v1/collections", "search", "write"),
    ("/v1/aliases", "search", "write"),
    ("/v1/jobs", "write", "write"),
    ("/metrics", "admin", "admin"),
)
_COLLECTION = re.compile(r"/(?:v1/collections|v1/aliases|images)/([^/]+)")


def scope_of(method: str, path: str) -> str | None:
    """None: any key will do."""
    rule = _rule(path)
    if rule is None:
        return "admin"
    return rule[1] if method in _READS else rule[2]


def is_listed(path: str) -> bool:
    """Whether a rule names this path, rather than the default."""
    return _rule(path) is not None


def collection_of(path: str) -> str | None:
    """The collection or alias that the path names, if it names one."""
    found = _COLLECTION.match(path)
    return found.group(1) if found else None


def _rule(path: str) -> tuple[str, str | None, str | None] | None:
    return next((rule for rule in _RULES if path == rule[0] or path.startswith(rule[0] + "/")), None)
