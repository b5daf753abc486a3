"""A request that an endpoint takes, whatever its model."""

from __future__ import annotations


def canary(kind: str) -> dict[str, object]:
    """`kind` of endpoint: a text, or a grey picture for those that take no text; a captioner says a few words of it."""
    from gateway.readiness import canary_image

    if kind == "caption":
        return {"image": canary_image(), "caption": {"method": "greedy", "max_tokens": 6}}
    return {"input": [{"image": canary_image()} if kind == "image" else {"text": "a canary"}]}
