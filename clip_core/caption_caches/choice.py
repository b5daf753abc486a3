"""Which cache a captioner uses, and how much memory it may take."""

from __future__ import annotations

from dataclasses import dataclass

KINDS = ("growing", "request", "static-rows", "static-tokens", "paged")
_MOST_BLOCK = 4096


@dataclass(frozen=True)
class CacheChoice:
    """`kind`: what holds the keys and values of texts.

    growing         one tensor as long as the longest text, 8 tokens at a time
    request         as long as the longest request may become
    static-rows     room for the whole context in each row, a row's tokens together
    static-tokens   the same, all rows of a token together: the kernel backs little more than what is written
    paged           blocks of `block` tokens from one pool; rows share blocks, and copy one when they write to it

    `shares` False: paged rows have blocks of their own. `absorbed`: a picture is its tokens, not keys and values of
    every layer. `budget` bytes for texts and pictures; 0 sets no bound. Raises ValueError that names what is wrong.
    """

    kind: str = "growing"
    block: int = 4
    shares: bool = True
    absorbed: bool = False
    budget: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"a caption cache is one of {', '.join(KINDS)}, not {self.kind!r}")
        if type(self.block) is not int or not 1 <= self.block <= _MOST_BLOCK:
            raise ValueError(f"a block of a caption cache has from 1 to {_MOST_BLOCK} tokens, not {self.block!r}")
        if type(self.budget) is not int or self.budget < 0:
            raise ValueError(f"a caption cache's bytes are a whole number of at least 0, not {self.budget!r}")

    def check(self, context: int) -> None:
        """Whether it suits a model. Raises ValueError."""
        if self.kind == "paged" and self.block > context:
            raise ValueError(
                f"caption_kv_cache_block_size: {self.block} tokens are more than the model's context of {context}"
            )
