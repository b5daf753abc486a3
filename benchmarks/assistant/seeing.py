"""A model that answers from nothing but the pictures that it is shown: the stack's captioner reads them for it."""

from __future__ import annotations

import httpx
import orjson

from benchmarks.assistant.openai_server import AskedPrompt
from gateway.assistant.offline.scenes import parse_caption, parse_thing


class SeeingModel:
    """`thing` is what the next question asks for. It never reads metadata, so what it isn't shown it can't cite."""

    def __init__(self, captioner: httpx.Client) -> None:
        self.thing = "red circle"
        self._captioner = captioner
        self._last: tuple[AskedPrompt, str] | None = None

    def __call__(self, asked: AskedPrompt) -> str:
        """The text of the answer; the server asks for it again to count its tokens."""
        if self._last is None or self._last[0] is not asked:
            self._last = (asked, self._answer(asked))
        return self._last[1]

    def _answer(self, asked: AskedPrompt) -> str:
        refs = [text.split()[1].rstrip(":") for text in asked.texts if text.startswith("Picture ")]
        wanted = parse_thing(self.thing)
        captions = self._captions([each.url for each in asked.pictures])
        showing = [
            ref for ref, caption in zip(refs, captions, strict=True) if parse_caption(caption).shows(wanted) == "yes"
        ]
        said = {"citations": showing, "found": bool(showing), "answer": f"{len(showing)} show a {self.thing}."}
        return orjson.dumps(said).decode()

    def _captions(self, pictures: list[str]) -> list[str]:
        if not pictures:
            return []
        told = self._captioner.post("/v1/captions", json={"images": pictures, "method": "greedy"})
        return [str(each["text"]) for each in told.raise_for_status().json()["data"]]
