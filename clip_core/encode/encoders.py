"""Items → unit vectors, one forward pass a modality for a whole batch; a bad item gets its own error."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from clip_core.encode.embedding_cache import EmbeddingCache, content_key
from clip_core.encode.encoded import Encoded
from clip_core.endpoint_config import EndpointConfig
from clip_core.errors import BadInput, BadText, BadVector, ClipServeError, InferenceFailed
from clip_core.inputs.decode_threads import Decoder
from clip_core.inputs.images import decode_unguarded, pil_warnings_ignored
from clip_core.inputs.request import Item, Part
from clip_core.inputs.tokens import Tokenizer, Tokens, stack
from clip_core.model_spec import ModelSpec
from clip_core.towers.devices import serving_device
from clip_core.towers.pass_counts import PassCounts
from clip_core.towers.text_batching import padded, plan
from clip_core.towers.towers import ImageTower, TextTower, load_towers
from clip_core.wire import FloatArray, unit

log = logging.getLogger("clipserve.encoders")
_MOMENT_NS = 50_000
_ROUNDING = 1e-6  # of the weights: a sum that is shorter is made of rounding errors
T = TypeVar("T")
R = TypeVar("R")


class Encoders:
    """The towers of one archive with what prepares their inputs, and a cache of their vectors if one is given."""

    def __init__(
        self,
        spec: ModelSpec,
        tokenizer: Tokenizer | None,
        text: TextTower | None,
        image: ImageTower | None,
        config: EndpointConfig,
        cache: EmbeddingCache | None = None,
    ) -> None:
        self.spec, self.tokenizer, self.text, self.image, self.config = spec, tokenizer, text, image, config
        self.cache = EmbeddingCache(0) if cache is None else cache
        self.decoder = Decoder(config.decode_threads or config.threads)
        self.tally = PassCounts()

    @classmethod
    def load(
        cls, model_dir: Path, config: EndpointConfig, gpu_id: int | None = None, *, cuda_graphs: bool = True
    ) -> Encoders:
        """On that GPU where it can be used, else on the CPU. Raises BadModel when the archive's parts don't fit.

        Without `cuda_graphs` none are captured, whatever the archive says.
        """
        torch.set_num_threads(config.threads)
        spec = ModelSpec.read(model_dir)
        spec = replace(spec, cuda_graphs=spec.cuda_graphs and cuda_graphs)
        text, image = load_towers(model_dir, spec, serving_device(gpu_id, spec.precision))
        return cls(spec, Tokenizer.load(model_dir) if text else None, text, image, config)

    def with_cache(self, cache: EmbeddingCache) -> Encoders:
        """The same towers behind a cache; without one, as `load` gives them, every call runs the towers."""
        return Encoders(self.spec, self.tokenizer, self.text, self.image, self.config, cache)

    def warm_up(self) -> None:
        if self.text and self.tokenizer:
            self.text.warm_up(stack([self.tokenizer("a red circle")]))
        if self.image:
            self.image.warm_up()

    def encode(
        self, items: Sequence[Item | ClipServeError], *, cut_long_texts: Sequence[bool]
    ) -> list[Encoded | ClipServeError]:
        """One result per item, in order. Texts share a forward pass, images another."""
        parts = [part for item in items if isinstance(item, Item) for part in item.parts]
        cuts = [
            cut for item, cut in zip(items, cut_long_texts, strict=True) if isinstance(item, Item) for _ in item.parts
        ]
        encoded = iter(self._encode_parts(parts, cuts))
        return [
            item if isinstance(item, ClipServeError) else _combine(item, [next(encoded) for _ in item.parts])
            for item in items
        ]

    def _encode_parts(self, parts: Sequence[Part], cuts: Sequence[bool]) -> list[Encoded | ClipServeError]:
        results: list[Encoded | ClipServeError] = [InferenceFailed("nothing encoded this item")] * len(parts)
        texts = [i for i, part in enumerate(parts) if part.kind == "text"]
        images = [i for i, part in enumerate(parts) if part.kind == "image"]
        for i, result in zip(texts, self._texts([parts[i] for i in texts], [cuts[i] for i in texts]), strict=True):
            results[i] = result
        for i, result in zip(
            images, self._computed_once([parts[i] for i in images], self._compute_images), strict=True
        ):
            results[i] = result
        for i, part in enumerate(parts):
            if part.kind == "vector":
                results[i] = self._vector(part.value)
        return results

    def _computed_once(
        self, parts: Sequence[Part], compute: Callable[[Sequence[Part]], list[Encoded | ClipServeError]]
    ) -> list[Encoded | ClipServeError]:
        """One result per part, in order: from the cache, or computed once for all equal parts. Errors aren't kept."""
        if not parts:
            return []
        with self.tally.timed("cache") as span:
            keys = [self.key(part) for part in parts]
            results: dict[bytes, Encoded | ClipServeError] = {**self.cache.get_many(keys)}
            if span is not None:
                span.attributes.update({"clipserve.parts": len(parts), "clipserve.found": len(results)})
        missing = {key: part for key, part in zip(keys, parts, strict=True) if key not in results}
        if not missing:
            return [results[key] for key in keys]
        computed = dict(zip(missing, compute(list(missing.values())), strict=True))
        self.cache.put_many({key: result for key, result in computed.items() if isinstance(result, Encoded)})
        results |= computed
        return [results[key] for key in keys]

    def key(self, part: Part) -> bytes:
        """Under which the cache keeps a part's vector."""
        draft = part.kind == "image" and self.config.jpeg_draft
        margin = "" if self.config.jpeg_draft_margin == 1 else str(self.config.jpeg_draft_margin)
        return content_key(part, self.spec, f"jpeg_draft{margin}" if draft else "")

    def _texts(self, parts: Sequence[Part], cuts: Sequence[bool]) -> list[Encoded | ClipServeError]:
        """A text that one request cuts and another refuses is computed for the one, and an error for the other."""
        cuttable = {part.value for part, cut in zip(parts, cuts, strict=True) if cut and isinstance(part.value, str)}
        results = self._computed_once(parts, lambda missing: self._compute_texts(missing, cuttable))
        return [result if cut else self._uncut(result) for result, cut in zip(results, cuts, strict=True)]

    def _uncut(self, result: Encoded | ClipServeError) -> Encoded | ClipServeError:
        return self._too_long() if isinstance(result, Encoded) and result.truncated else result

    def _compute_texts(self, parts: Sequence[Part], cuttable: Set[str]) -> list[Encoded | ClipServeError]:
        with self.tally.timed("tokenize"):
            prepared = [_attempt(self._tokenize, (part, part.value in cuttable)) for part in parts]
        good = [tokens for tokens in prepared if isinstance(tokens, Tokens)]
        vectors: Iterator[FloatArray] = iter(self._text_rows(good))
        return [
            tokens if isinstance(tokens, ClipServeError) else _encoded(next(vectors), tokens.count, tokens.truncated)
            for tokens in prepared
        ]

    def _text_rows(self, tokens: Sequence[Tokens]) -> list[FloatArray]:
        """A row for each text, in passes that `plan` finds cheapest for the lengths this tower can run."""
        buckets = (*getattr(self.text, "buckets", ()), self.spec.context_length)
        lengths = [text.count for text in tokens]
        rows: dict[int, FloatArray] = {}
        for group in plan(lengths, buckets, self.config.max_batch, self.config.pass_overhead_tokens):
            assert self.text is not None, "without a text tower nothing is tokenized"
            with self.tally.timed("text tower", attributes={"clipserve.items": len(group)}):
                rows.update(zip(group, self.text.forward(stack([tokens[i] for i in group])).numpy(), strict=True))
            computed = len(group) * padded(max(lengths[i] for i in group), buckets)
            padding = computed - sum(lengths[i] for i in group)
            self.tally.text.add(len(group), self.config.max_batch, tokens=computed, padding=padding)
        return [rows[i] for i in range(len(tokens))]

    def _tokenize(self, pair: tuple[Part, bool]) -> Tokens:
        part, cut = pair
        if self.tokenizer is None:
            raise BadInput("this archive holds no text tower", param="text")
        tokens = self.tokenizer(str(part.value), max_chars=self.config.max_text_chars)
        if tokens.truncated and not cut:
            raise self._too_long()
        return tokens

    def _too_long(self) -> BadText:
        return BadText(f"the text has more than {self.spec.context_length} tokens", param="text")

    def _compute_images(self, parts: Sequence[Part]) -> list[Encoded | ClipServeError]:
        """The next pass's pictures are decoded while the tower runs."""
        prepared: list[Tensor | ClipServeError] = []
        with pil_warnings_ignored():
            passes = -(-len(parts) // self.config.max_batch)
            pixels = self.decoder.map(lambda part: _attempt(self._pixels, part), parts, passes)
            vectors = iter([row for rows in self._image_passes(pixels, prepared) for row in rows])
        return [p if isinstance(p, ClipServeError) else _encoded(next(vectors)) for p in prepared]

    def _image_passes(
        self, pixels: Iterator[Tensor | ClipServeError], prepared: list[Tensor | ClipServeError]
    ) -> Iterator[FloatArray]:
        """The rows of each forward pass; everything that `pixels` gives is kept in `prepared`."""
        while chunk := self._decoded(pixels):
            prepared += chunk
            if self.image and (good := [each for each in chunk if isinstance(each, Tensor)]):
                self.tally.image.add(len(good), self.config.max_batch)
                with self.tally.timed("image tower", attributes={"clipserve.items": len(good)}):
                    rows = self.image.forward(torch.stack(good)).numpy()
                yield rows

    def _decoded(self, pixels: Iterator[Tensor | ClipServeError]) -> list[Tensor | ClipServeError]:
        """As many as a pass takes. What was decoded while the tower ran took no time here."""
        with self.tally.timed("decode", least_ns=_MOMENT_NS):
            return list(itertools.islice(pixels, self.config.max_batch))

    def _pixels(self, part: Part) -> Tensor:
        if self.image is None or not isinstance(part.value, bytes):
            raise BadInput("this archive holds no image tower", param="image")
        least = self.config.jpeg_draft_margin * max(self.image.size)
        draft = (least, least) if self.config.jpeg_draft else None
        pixels: Tensor = self.image.transform(decode_unguarded(part.value, self.config.max_image_pixels, draft))
        return pixels

    def _vector(self, value: object) -> Encoded | ClipServeError:
        if not isinstance(value, np.ndarray) or value.size != self.spec.dim:
            return BadVector(f"a vector for this model has {self.spec.dim} dimensions", param="vector")
        try:
            return Encoded(unit(value))
        except BadVector:
            return BadVector("a vector of zeros has no direction", param="vector")


def _attempt(prepare: Callable[[T], R], value: T) -> R | ClipServeError:
    """Whatever one input's preparation raises is that input's error."""
    try:
        return prepare(value)
    except ClipServeError as error:
        return error
    except Exception:
        log.exception("an input can't be prepared")
        return InferenceFailed("this input can't be prepared; see the worker's log")


def _encoded(vector: FloatArray, tokens: int | None = None, truncated: bool = False) -> Encoded | ClipServeError:
    try:
        return Encoded(unit(vector), tokens, truncated)
    except BadVector:
        return InferenceFailed("the model gave a vector that is zero, NaN or infinite")


def _combine(item: Item, parts: Sequence[Encoded | ClipServeError]) -> Encoded | ClipServeError:
    """The unit vector of Σ weight·unit(part); the first part's error if one has one."""
    good = [part for part in parts if isinstance(part, Encoded)]
    if len(good) != len(parts):
        return next(part for part in parts if isinstance(part, ClipServeError))
    if len(good) == 1 and item.parts[0].weight > 0:
        return good[0]
    wide = np.array([part.weight for part in item.parts])
    weights = (wide / np.abs(wide).max()).astype(np.float32)
    counts = [part.tokens for part in good if part.tokens is not None]
    total = weights @ np.stack([part.vector for part in good])
    if not np.linalg.norm(total) > _ROUNDING * np.abs(weights).sum():
        return BadInput("the weighted parts cancel each other out", param="query")
    return Encoded(unit(total), sum(counts) if counts else None, any(part.truncated for part in good))
