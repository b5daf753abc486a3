"""The tokens of a TorchServe that asks for them. They are read when it refuses one: a new start makes new ones."""

from __future__ import annotations

import asyncio
from pathlib import Path

from clip_core.serving.torchserve_tokens import REFUSED, bearer
from gateway.upstream.json_client import UpstreamReply


class TorchServeTokens:
    """`key_file` is what TorchServe writes; None where it asks for no tokens."""

    def __init__(self, key_file: Path | None) -> None:
        self._key_file = key_file
        self._inference: dict[str, str] = {}
        self._management: dict[str, str] = {}

    def inference(self) -> dict[str, str]:
        return self._inference

    def management(self) -> dict[str, str]:
        return self._management

    async def refused(self, reply: UpstreamReply) -> bool:
        """Whether TorchServe did not take the token; then those of the file are the next ones."""
        if self._key_file is None or not is_refusal(reply):
            return False
        self._inference, self._management = await asyncio.to_thread(self._read)
        return True

    def _read(self) -> tuple[dict[str, str], dict[str, str]]:
        return bearer(self._key_file, "inference"), bearer(self._key_file, "management")


def is_refusal(reply: UpstreamReply) -> bool:
    return reply.status == 400 and isinstance(reply.body, dict) and reply.body.get("type") == REFUSED
