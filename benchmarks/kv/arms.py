"""The caches that are compared. Each is one choice; all run under the same scheduler."""

from __future__ import annotations

from dataclasses import replace

from clip_core.caption_caches.choice import CacheChoice

STATIC, TOKENS, PAGED = "static-76", "static-76 token-major", "paged 4"
ARMS: dict[str, CacheChoice] = {
    STATIC: CacheChoice("static-rows"),
    TOKENS: CacheChoice("static-tokens"),
    "request's maximum": CacheChoice("request"),
    "growing": CacheChoice("growing"),
    "paged 16": CacheChoice("paged", 16),
    "paged 8": CacheChoice("paged", 8),
    PAGED: CacheChoice("paged", 4),
    "paged 4, no sharing": CacheChoice("paged", 4, shares=False),
}
SHORT = (STATIC, TOKENS, "request's maximum", "growing", "paged 16", PAGED)


def absorbed(name: str) -> str:
    return f"{name}, absorbed"


def choice_of(name: str, budget: int = 0) -> CacheChoice:
    """Of an arm by its name, absorbed or not."""
    plain = name.removesuffix(", absorbed")
    return replace(ARMS[plain], absorbed=plain != name, budget=budget)
