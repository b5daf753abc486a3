"""Texts that cost a tokenizer much: 256 of them a call, each 64 KB."""

from __future__ import annotations

import random
import string

from benchmarks.attacks.base import Attack, crowd

SIZE, COUNT, CLIENTS = 64 * 1024, 256, 3


class _Texts(Attack):
    """Each call's texts are new, so that none of them is cached."""

    _calls = 0

    def text(self, number: int) -> str:
        raise NotImplementedError

    async def prepare(self) -> None:
        self._texts = [self.text(number) for number in range(COUNT)]

    async def run(self) -> None:
        await crowd(CLIENTS, self._call)

    async def _call(self) -> None:
        self._calls += 1
        texts = [f"{self._calls}{text}"[:SIZE] for text in self._texts]
        await self.site.public("POST", "/v1/embeddings", {"input": texts, "encoding_format": "base64"})


class LongWords(_Texts):
    """Words without a space, of random letters."""

    name = "256 words of 64 KB"

    def text(self, number: int) -> str:
        return "".join(random.Random(number).choices(string.ascii_lowercase, k=SIZE))


class Entities(_Texts):
    """HTML entities, which the tokenizer's cleaning resolves."""

    name = "256 texts of &nbsp;"

    def text(self, number: int) -> str:
        return f"{number}" + "&nbsp;" * (SIZE // 6)


class CombiningCharacters(_Texts):
    """One letter under thousands of accents, two bytes each."""

    name = "256 texts of combining characters"

    def text(self, number: int) -> str:
        return f"{number}a" + "\u0301\u0300" * (SIZE // 4)
