"""A loaded captioner: pictures → what its decoder needs of them, texts → how likely they are of a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from clip_core.caption_caches.cache import CacheShape, Past
from clip_core.captions import programs
from clip_core.captions.ask import CaptionAsk
from clip_core.captions.programs import Programs
from clip_core.captions.search import Ids
from clip_core.errors import BadModel, BadText, InvalidRequest
from clip_core.inputs.preprocessing import Preprocessing
from clip_core.inputs.tokens import Tokenizer, Tokens, stack
from clip_core.model_spec import CONFIG_FILE, SPEC_FILE, WEIGHTS_FILE, ModelSpec, canonical, digest, fingerprint
from clip_core.networks.causal_text import bucket
from clip_core.networks.coca_decoder import CachedBlock, CocaDecoder, CrossBlock
from clip_core.networks.coca_image import CocaImage
from clip_core.networks.coca_model import load_coca
from clip_core.networks.open_clip_model import build_coca, build_model

_ROWS_OF_LOGITS = 256  # positions whose scores of all ids are held at once
_POSITIONS_AT_ONCE = 4096  # of texts beside pictures


@dataclass(frozen=True)
class Memory:
    """One picture as the decoder needs it: keys and values of every layer, (M, 2, 1, H, S, D).

    Of an absorbed decoder its tokens, (1, 1, 1, 1, S, W).
    """

    cross: Tensor


@dataclass(frozen=True)
class ReadTexts:
    """Texts after the half of the model that knows of no picture: computed once for all pictures.

    `ids` (B, L) int64 from the start to the end, `counts` how many of them are not padding, `read` (B, L, W).
    """

    ids: Tensor
    counts: tuple[int, ...]
    read: Tensor


class Captioner:
    """open_clip's CoCa with its tokenizer and preprocessing, on the CPU."""

    def __init__(
        self,
        image: CocaImage,
        decoder: CocaDecoder,
        tokenizer: Tokenizer,
        preprocessing: Preprocessing,
        made: Programs,
        fingerprint: str,
        precision: str,
    ) -> None:
        self.image, self.decoder, self.tokenizer, self.preprocessing = image, decoder, tokenizer, preprocessing
        self.programs, self.fingerprint, self.precision = made, fingerprint, precision
        reference = tokenizer.reference
        self.ids = Ids(reference.sot_token_id, reference.eot_token_id, decoder.pad_mask.pad_id)
        self.context_length = decoder.context_length

    @classmethod
    def load(
        cls,
        model_dir: Path,
        *,
        precision: str = "fp32",
        compiled: bool = False,
        threads: int = 1,
        absorbed: bool = False,
    ) -> Captioner:
        """From a checkpoint of open_clip's or an archive that holds one. Raises BadModel.

        `compiled`: by the archive's packages, or compiled now, before the first request; now where it is `absorbed`,
        which keeps less of a picture (`coca_absorbed.py`).
        """
        torch.set_num_threads(threads)
        archived = (model_dir / SPEC_FILE).exists()
        model = build_coca(model_dir) if archived else build_model(model_dir)
        preprocessing = (
            Preprocessing.from_config(model_dir / CONFIG_FILE) if archived else Preprocessing.of_model(model)
        )
        tokenizer = Tokenizer.load(model_dir)
        if not hasattr(tokenizer.reference, "decoder"):
            raise BadModel("its tokenizer is not open_clip's own, whose start and end a caption needs")
        mean, std = preprocessing.mean, preprocessing.std
        image, decoder = load_coca(model, model_dir, mean, std, precision, absorbed=absorbed)
        made = programs.load(model_dir, image, decoder, preprocessing.size, compiled, packaged=not absorbed)
        return cls(image, decoder, tokenizer, preprocessing, made, _fingerprint(model_dir, tokenizer), precision)

    def write_packages(self, directory: Path) -> None:
        """Compile both passes into an archive's folder `compiled`. Raises BadModel."""
        programs.write(directory, self.image, self.decoder, self.preprocessing.size)

    def warm_up(self) -> None:
        """The passes that take different kernels, so that no request is the first to meet one."""
        for rows in (1, 2, 8):
            memories = self.remember(torch.zeros(rows, 3, *self.image_size, dtype=torch.uint8))
            ids = torch.full((rows, 1), self.ids.start)
            past = torch.zeros(8, self.decoder.layers, 2, rows, 1, self.decoder.width, dtype=self.decoder.cache_dtype)
            cross = torch.cat([memory.cross for memory in memories], dim=2)
            self.step(ids, torch.zeros_like(ids), past, torch.zeros(rows, 1, 8), torch.zeros(rows, 1), cross)
        self.score(memories[0], ["a"])

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width."""
        return self.preprocessing.size

    @property
    def image_tokens(self) -> int:
        """What the decoder sees of a picture."""
        pool = self.image.pool
        assert pool is not None, "a CoCa has a pooler"
        visual: Any = pool.visual
        return len(visual.attn_pool.query) - int(visual.pool_type == "tok")

    def transform(self, image: Image.Image) -> Tensor:
        """RGB image → (3, H, W) uint8: the pixels that `remember` takes."""
        return self.preprocessing.uint8(image)

    @torch.inference_mode()
    def remember(self, pixels: Tensor) -> list[Memory]:
        """(B, 3, H, W) uint8 → one memory a picture."""
        cross = self.programs.remember(pixels)
        return [Memory(cross[:, :, i : i + 1].contiguous()) for i in range(len(pixels))]

    @property
    def cache_shape(self) -> CacheShape:
        """Of its texts' keys and values."""
        decoder = self.decoder
        block = decoder.blocks[0]
        assert isinstance(block, CachedBlock)
        return CacheShape(decoder.layers, decoder.width, block.heads, decoder.cache_dtype, self.context_length)

    @property
    def picture_bytes(self) -> int:
        """Of one `Memory`."""
        decoder = self.decoder
        crosses = [block for block in decoder.cross if isinstance(block, CrossBlock)]
        layers = 1 if crosses[0].shared else 2 * len(crosses)
        return layers * self.image_tokens * decoder.width * decoder.cache_dtype.itemsize

    @torch.inference_mode()
    def step(
        self, ids: Tensor, places: Tensor, past: Past, shown: Tensor, own: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `CocaDecoder.step`. `past` (T, N, 2, R, W) or (T, N, 2, P, L, W)."""
        if self.programs.compiled and not isinstance(past, Tensor):
            past = past.whole()
        if isinstance(past, Tensor) and past.dim() == 5:
            past = past.view(*past.shape[:3], *ids.shape, past.shape[4])
        return self.programs.step(ids, places, past, shown, own, memory)

    @torch.inference_mode()
    def extend(
        self, ids: Tensor, places: Tensor, past: Tensor, text_bias: Tensor, bias: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `CocaDecoder.extend`."""
        return self.programs.extend(ids, places, past, text_bias, bias, memory)

    def draft(self, text: str) -> list[int]:
        """The ids of a text with its start and, where it is whole, its end."""
        tokens = self.tokenizer(text)
        ids: list[int] = tokens.ids.tolist()
        return ids[:-1] if tokens.truncated else ids[: tokens.count]

    def prefix(self, ask: CaptionAsk) -> list[int]:
        """The start and the prompt as ids. Raises BadText or InvalidRequest where they leave no room for a caption."""
        if ask.max_tokens > self.context_length:
            raise InvalidRequest(
                f"max_tokens is at most {self.context_length}, this model's context, not {ask.max_tokens}",
                param="max_tokens",
            )
        if not ask.prompt.strip():
            return [self.ids.start]
        tokens = self._tokens(ask.prompt, "prompt")
        ids: list[int] = tokens.ids[: tokens.count - 1].tolist()
        if not {self.ids.start, self.ids.end}.isdisjoint(ids[1:]):
            raise InvalidRequest("the prompt holds a word that stands for the start or end of a text", param="prompt")
        if tokens.truncated or len(ids) >= ask.max_tokens:
            raise InvalidRequest(
                f"the prompt leaves no room for a caption of at most {ask.max_tokens} tokens", param="prompt"
            )
        return ids

    def text(self, ids: Sequence[int]) -> str:
        """The text of `ids` without its start, end and padding, and without blanks around it."""
        special = (self.ids.start, self.ids.end)
        kept = [token for token in ids if token not in special]
        while kept and kept[-1] == self.ids.pad:
            kept.pop()
        decoder = self.tokenizer.reference.decoder
        said: str = self.tokenizer.reference.decode([token for token in kept if token in decoder])
        return said.strip()

    @torch.inference_mode()
    def read(self, texts: Sequence[str]) -> ReadTexts:
        """Texts → what `score` needs of them, the same for all pictures. Raises BadText for one that is too long."""
        tokens = [self._tokens(text, f"score[{i}]") for i, text in enumerate(texts)]
        counts = tuple(each.count for each in tokens)
        for i, each in enumerate(tokens):
            if each.truncated or each.count > self.context_length:
                raise BadText(f"the text has more than {self.context_length} tokens", param=f"score[{i}]")
        length = bucket(max(counts), self.context_length)
        ids = stack(tokens)[:, :length]
        return ReadTexts(ids, counts, self.decoder.read(ids))

    def _tokens(self, text: str, param: str) -> Tokens:
        """Raises BadText that names `param`."""
        try:
            return self.tokenizer(text)
        except BadText as error:
            error.param = param
            raise

    def score(self, memory: Memory, texts: ReadTexts | Sequence[str]) -> list[float]:
        """log P(text | picture) of each text, its end included, the start given: one pass for all of them."""
        return self.score_pictures([memory], texts)[0]

    @torch.inference_mode()
    def score_pictures(self, memories: Sequence[Memory], texts: ReadTexts | Sequence[str]) -> list[list[float]]:
        """Of each picture what `score` says, in passes over several pictures at once."""
        texts = texts if isinstance(texts, ReadTexts) else self.read(texts)
        at_once = max(1, _POSITIONS_AT_ONCE // (texts.ids.shape[0] * texts.ids.shape[1]))
        parts = (memories[first : first + at_once] for first in range(0, len(memories), at_once))
        return [scores for part in parts for scores in self._scored(part, texts)]

    def _scored(self, memories: Sequence[Memory], texts: ReadTexts) -> list[list[float]]:
        cross = torch.cat([memory.cross for memory in memories], dim=2)
        looked = self.decoder.look(texts.read, cross)[:, :, :-1]
        kept = torch.tensor([[i < count - 1 for i in range(looked.shape[2])] for count in texts.counts])
        told = looked[:, kept].flatten(0, 1)  # (P·N, W)
        ids = texts.ids[:, 1:][kept].repeat(len(memories))
        parts = zip(torch.split(told, _ROWS_OF_LOGITS), torch.split(ids, _ROWS_OF_LOGITS), strict=True)
        gained = [self._logprobs(*part) for part in parts]
        rows = torch.arange(len(texts.counts))[:, None].expand_as(kept)[kept]
        sums = torch.zeros(len(memories), len(texts.counts))
        sums.index_add_(1, rows, torch.cat(gained).view(len(memories), -1))
        scores: list[list[float]] = sums.tolist()
        return scores

    def _logprobs(self, looked: Tensor, ids: Tensor) -> Tensor:
        """(N, W) and the ids that follow (N,) → (N,)"""
        logits = self.decoder.logits(looked)
        return logits.gather(1, ids[:, None])[:, 0] - logits.logsumexp(dim=-1)


def _fingerprint(model_dir: Path, tokenizer: Tokenizer) -> str:
    if (model_dir / SPEC_FILE).exists():
        return ModelSpec.read(model_dir).fingerprint
    config = json.loads((model_dir / CONFIG_FILE).read_text(encoding="utf-8"))
    weights = digest((model_dir / WEIGHTS_FILE).read_bytes())
    return fingerprint(weights=weights, tokenizer=tokenizer.digest(), config={"captioner": canonical(config).decode()})
